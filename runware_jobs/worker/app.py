"""The Celery app, configured at first use, and the life of a worker process.

The loop is started after any fork: in each child of a prefork pool, in the one
process of a threads or solo pool (where Celery sends no `worker_process_init`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click
import structlog
from celery import Celery, signals
from celery.exceptions import WorkerShutdown

from runware_jobs.assembly import celery_broker, check_schema, find_services, require_key
from runware_jobs.errors import RunwareJobsError, SettingsError
from runware_jobs.logs import configure_logs
from runware_jobs.settings import Settings
from runware_jobs.signals import SIGNALS, wanted_signals

from .loop import WorkerLoop

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = structlog.get_logger()
_THREADS: Final = 4
_REFUSED_POOLS: Final = ("gevent", "eventlet")

app = Celery("runware_jobs", include=["runware_jobs.worker.tasks"], set_as_current=False)


@app.add_defaults  # type: ignore[untyped-decorator]  # Celery is untyped
def _configuration() -> dict[str, Any]:
    """Read the settings when Celery first asks, so that importing this module costs nothing."""
    try:
        settings = Settings()
        services = find_services(settings)
    except RunwareJobsError as error:
        if click.get_current_context(silent=True) is not None:
            raise click.ClickException(error.message) from None  # one line on the command line
        raise
    return {
        **celery_broker(services.broker_url),
        "imports": settings.imports,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": settings.pool,
        # Tasks only nudge the loop or commit one row: a few threads are plenty.
        "worker_concurrency": _THREADS,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


class _Process:
    """The loop of this process, if it has one."""

    loop: WorkerLoop | None = None


def current_loop() -> WorkerLoop:
    """Give this process' loop; started here when Celery sent no signal that it could start at."""
    if _Process.loop is None:
        _start()
    assert _Process.loop is not None  # noqa: S101  _start made it
    return _Process.loop


def _start(**_: Any) -> None:
    settings = Settings()
    _Process.loop = WorkerLoop(
        settings,
        find_services(settings),
        signals=wanted_signals(),
        send_signal=_send_signal,
        publish_link=_publish_link,
        failed=_failed,
    )
    _Process.loop.start()


def _stop(**_: Any) -> None:
    loop, _Process.loop = _Process.loop, None
    if loop is not None:
        loop.stop()


@signals.worker_init.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _check(sender: Any, **_: Any) -> None:
    """Refuse to start what could not work, in one line."""
    configure_logs()
    pool = getattr(sender.pool_cls, "__module__", str(sender.pool_cls))
    settings = Settings()
    try:
        _refuse_pool(pool)
        check_schema(find_services(settings))
        require_key(settings)
    except RunwareJobsError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        raise WorkerShutdown(1) from None


def _refuse_pool(module: str) -> None:
    if any(name in module for name in _REFUSED_POOLS):
        raise SettingsError("gevent and eventlet pools cannot hold an asyncio loop: use -P threads")


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _started(sender: Any, **_: Any) -> None:
    if "prefork" not in getattr(sender.pool.__class__, "__module__", ""):
        _start()


signals.worker_process_init.connect(_start)
signals.worker_process_shutdown.connect(_stop)
signals.worker_shutdown.connect(_stop)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _drain(**_: Any) -> None:
    """Begin at the signal, while Celery is still finishing its own tasks."""
    if _Process.loop is not None:
        _Process.loop.drain()


def _failed(error: Exception) -> None:
    """End a process whose loop cannot run: its lease lapses, others go on with its work."""
    _log.critical("worker_failed", error=type(error).__name__, detail=str(error)[:300])
    os._exit(1)


def _send_signal(name: str, job: Mapping[str, Any] | None, event: Mapping[str, Any]) -> None:
    for receiver, answer in SIGNALS[name].send(sender=app, job=job, event=event):
        if isinstance(answer, Exception):
            _log.error(
                "receiver_failed", receiver=getattr(receiver, "__qualname__", "?"), error=repr(answer)[:200]
            )


def _publish_link(link: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Send a job's link: the signature is called with the job as it ended."""
    signature = app.signature(dict(link))
    signature.apply_async(args=[job["id"]] if not signature.immutable else None, retry=False)
