"""The Celery app, configured at first use, and the life of a worker process.

The loop is started after any fork: in each child of a prefork pool, else in the one
process there is, before its broker is reached: jobs do not wait for a broker.

The first SIGTERM or SIGINT drains, within `STOPS_WITHIN_S` whatever hangs; the second,
and SIGQUIT, stop at once. Celery's own handlers would wait for a silent broker, and
cannot stop a threads pool at all.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final

import click
import structlog
from billiard.process import active_children  # type: ignore[import-untyped]  # Celery's own
from celery import Celery, bootsteps, signals
from celery.exceptions import WorkerShutdown
from celery.worker import state
from click.core import ParameterSource

from runware_jobs.assembly import celery_broker, check_schema, find_services
from runware_jobs.errors import RunwareJobsError, SettingsError
from runware_jobs.logs import configure_logs
from runware_jobs.platform_access import check_key
from runware_jobs.settings import Settings
from runware_jobs.signals import SIGNALS, lost_receivers, wanted_signals

from .celery_links import CeleryLinks
from .loop import WorkerLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runware_jobs.steps.context import Receiver

_log = structlog.get_logger()
_THREADS: Final = 4
_REFUSED_POOLS: Final = ("gevent", "eventlet")
STOPS_WITHIN_S: Final = 6.0
"""A drain may take this long, Celery's own part included; then the process ends all the same."""

QUEUE: Final = "runware_jobs"
_OURS: Final = "runware_jobs."
_OTHERS_QUEUE: Final = "celery"

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
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": settings.pool,
        # Jobs of our own database; as a class, so that no URL of it is shown with the configuration.
        "result_backend": "runware_jobs.worker.celery_results:ResultBackend",
        "result_backend_thread_safe": True,
        "task_routes": (_route,),
        # Tasks only nudge the loop or commit one row: a few threads are plenty.
        "worker_concurrency": _THREADS,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # For ever: jobs go on without a broker, and must not end with its hundredth refusal.
        "broker_connection_max_retries": None,
    }


def _route(name: str, *_: Any, **__: Any) -> dict[str, str] | None:
    """Keep what follows a job off our own queue: its task is another application's, on Celery's queue if none is named."""
    return None if name.startswith(_OURS) else {"queue": _OTHERS_QUEUE}


class _Process:
    """The loop of this process, if it has one, and whether it was asked to end; `main_pid` is Celery's first.

    `hostname` None: this process is no worker of ours. One of another application may
    import this module for its tasks, and Celery's signals are for all of a process.
    """

    hostname: str | None = None
    main_pid: int | None = None
    loop: WorkerLoop | None = None
    is_ending = False


def current_loop() -> WorkerLoop:
    """Give this process' loop; started here when Celery sent no signal that it could start at."""
    if _Process.loop is None:
        _start()
    assert _Process.loop is not None  # noqa: S101  _start made it
    return _Process.loop


def _start(**_: Any) -> None:
    settings = Settings()
    for name, count in lost_receivers().items():
        # Celery keeps weak references: a lambda or a local function is gone at once.
        _log.warning("receivers_gone", signal=name, receivers=count, remedy="connect them with weak=False")
    _Process.loop = WorkerLoop(
        settings,
        find_services(settings),
        signals=wanted_signals(),
        receivers=_receivers_of,
        publish_link=_LINKS.publish_link,
        celery=_LINKS,
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
    if sender.app is not app:
        return
    configure_logs()
    _Process.main_pid = os.getpid()
    pool = getattr(sender.pool_cls, "__module__", str(sender.pool_cls))
    try:
        _refuse_pool(pool)
        settings = Settings()
        check_schema(find_services(settings))
        check_key(settings)
    except RunwareJobsError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        raise WorkerShutdown(1) from None


@signals.import_modules.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _import_receivers(sender: Any, **_: Any) -> None:
    """Import the modules of IMPORTS as Celery would, and refuse to start without one of them, in one line.

    In a prefork pool this is before the fork: every child has the receivers.
    """
    if sender is not app:
        return
    for module in Settings().imports:
        try:
            sender.loader.import_task_module(module)
        except Exception as error:  # noqa: BLE001  whatever a user's module raises
            place = traceback.extract_tb(error.__traceback__)[-1]
            detail = " ".join(str(error).split())[:300]
            sys.stderr.write(
                f"Error: RUNWARE_JOBS_IMPORTS names {module!r}, which cannot be imported:"
                f" {type(error).__name__}: {detail} ({place.filename}:{place.lineno});"
                " correct the name, its code, or PYTHONPATH\n"
            )
            raise WorkerShutdown(1) from None


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _name_apart(instance: Any, **_: Any) -> None:
    """Give a node that nobody has named a name of its own: Celery would call all of one host the same.

    RabbitMQ lets only one process of a name have a control queue.
    """
    if instance.app is not app:
        return
    context = click.get_current_context(silent=True)
    source = None if context is None else context.get_parameter_source("hostname")
    if source is not ParameterSource.COMMANDLINE:
        name, _at, host = instance.hostname.partition("@")
        instance.hostname = f"{name}-{os.getpid()}@{host}"
    _Process.hostname = instance.hostname


def _refuse_pool(module: str) -> None:
    if any(name in module for name in _REFUSED_POOLS):
        raise SettingsError("gevent and eventlet pools cannot hold an asyncio loop: use -P threads")


class _Begin(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Begin between the pool and the consumer: all children are forked, and no broker was asked yet."""

    requires: Final = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        """Take the signals from Celery, and start the loop where no child has it."""
        _take_signals()
        if "prefork" not in worker.pool.__class__.__module__:
            _start()


app.steps["worker"].add(_Begin)


def survive_loss(channel: Any) -> None:
    """Let a channel be closed whatever became of its connection.

    Closing one, kombu gives back what was not acknowledged. Where the broker was lost
    while a message was in hand, it may try so with a connection that is no more
    (AttributeError, kombu 5.7), which would end the worker. The broker hands such a
    message out again by itself.
    """
    qos: Any = getattr(channel, "qos", None)
    give_back = getattr(qos, "restore_unacked_once", None)
    if give_back is None:
        return  # of AMQP: there the broker does it all

    def try_to_give_back(stderr: Any = None) -> None:
        try:
            give_back(stderr)
        except Exception as error:  # noqa: BLE001  whatever it was, the message is not lost by it
            _log.info("messages_not_given_back", error=type(error).__name__)

    qos.restore_unacked_once = try_to_give_back


class _SurviveLoss(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Do so with each channel that tasks come by, after each connecting."""

    requires: Final = {"celery.worker.consumer.tasks:Tasks"}

    def start(self, consumer: Any) -> None:
        """Begin when the consumer of tasks is there."""
        survive_loss(consumer.task_consumer.channel)


app.steps["consumer"].add(_SurviveLoss)


# A prefork pool is started for seconds: its first child works before `_Begin` comes.
@signals.worker_before_create_process.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _take_signals(**_: Any) -> None:
    if _Process.hostname is None:
        return
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    signal.signal(signal.SIGQUIT, _end_now)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]  # Celery is untyped
def _start_child(**_: Any) -> None:
    if _Process.hostname is None or os.getpid() == _Process.main_pid:
        return  # the solo pool says this of the one process there is, which `_Begin` starts
    # A service manager signals the whole group. The parent's own way would let the
    # child's requests be cut; this one drains, and the parent finds it ended.
    signal.signal(signal.SIGTERM, _end_child)
    _start()


signals.worker_process_shutdown.connect(_stop)
signals.worker_shutdown.connect(_stop)


def _end(number: int, frame: Any) -> None:
    """Drain at the first signal: our loop at once, beside Celery that finishes its own tasks."""
    if _Process.is_ending:
        _end_now(number, frame)
    _Process.is_ending = True
    # Not through the log: this may have interrupted somebody who holds its lock.
    os.write(2, b"Draining: what is on the wire is finished. A second signal stops at once.\n")
    signals.worker_shutting_down.send(sender=app, sig=signal.Signals(number).name, how="Warm", exitcode=0)
    if _Process.loop is not None:
        _Process.loop.drain()
    state.should_stop = 0
    last = threading.Timer(STOPS_WITHIN_S, _end_late)
    last.daemon = True
    last.start()


def _end_late() -> None:
    """End a process that something holds: a broker that is silent, a task that hangs."""
    _log.warning("worker_held", after_s=STOPS_WITHIN_S)
    _kill_children()
    os._exit(0 if _Process.loop is None or _Process.loop.is_drained else 1)


def _end_now(_number: int, _frame: Any) -> None:
    """End without draining: the lease lapses, and others settle what was on the wire."""
    _kill_children()
    os._exit(1)


def _end_child(_number: int, _frame: Any) -> None:
    def end() -> None:
        _stop()
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()


def _kill_children() -> None:
    for child in active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)


def _failed(error: Exception) -> None:
    """End a process whose loop cannot run: its lease lapses, others go on with its work."""
    if isinstance(error, RunwareJobsError):
        sys.stderr.write(f"Error: {error.message}\n")
    else:
        _log.critical("worker_failed", error=type(error).__name__, detail=str(error)[:300])
    os._exit(1)


def _receivers_of(name: str) -> Sequence[Receiver]:
    return SIGNALS[name].calls(app)


_LINKS: Final = CeleryLinks(app, hostname=lambda: _Process.hostname)
