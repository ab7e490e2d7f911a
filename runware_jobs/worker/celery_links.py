"""What follows a job, published: chains, callbacks, errbacks, bodies of chords, and the event for monitors.

Everything here blocks, and runs in threads of the worker with the pool of producers that
its app has: one connection, as long as one thread publishes at a time.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import structlog
from celery.app.task import Context as Request
from celery.canvas import maybe_signature
from celery.exceptions import OperationalError

from .celery_results import finish_chord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celery import Celery

    from runware_jobs.core.canvas import Ended, Message
    from runware_jobs.store.celery_chords import Chord

_log = structlog.get_logger()
# Once, on a new connection: that of the pool may be from before the broker's restart.
_AGAIN = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
_EVENTS = {"SUCCESS": "task-succeeded", "FAILURE": "task-failed", "REVOKED": "task-revoked"}


class CeleryLinks:
    """Publishes through `app`; `hostname` gives the name under which monitors know this worker."""

    def __init__(self, app: Celery, *, hostname: Callable[[], str | None]) -> None:
        self._app = app
        self._hostname = hostname

    def go_on(self, message: Message, ended: Ended) -> None:
        """Publish one thing that follows a job which came as a Celery task.

        Raises:
            OSError: the broker is away.
        """
        with self._broker_errors():
            if message.kind == "event":
                self._tell(ended)
            elif message.kind == "errback":
                self._call_errback(message, ended)
            else:
                self._apply(message, ended)

    def end_chord(self, chord: Chord) -> None:
        """Publish the body of a complete chord, or fail it.

        Raises:
            OSError: the broker is away.
        """
        with self._broker_errors():
            finish_chord(self._app, self._app.backend, chord)

    def publish_link(self, link: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        """Publish a `link` of `enqueue`: it is called with the job's id, under a task id that derives from it.

        Raises:
            OSError: the broker is away.
        """
        signature = self._app.signature(dict(link))
        options: dict[str, Any] = {"retry": True, "retry_policy": _AGAIN}
        if "task_id" not in signature.options:
            options["task_id"] = str(uuid5(NAMESPACE_URL, f"{job['id']}/1/link/{signature.task}"))
        with self._broker_errors():
            signature.apply_async(args=None if signature.immutable else [job["id"]], **options)

    def _apply(self, message: Message, ended: Ended) -> None:
        signature = maybe_signature(self._restored(message.signature), app=self._app)
        options = {"parent_id": ended.task_id, "root_id": _root(ended)}
        if message.kind == "next":
            options["chain"] = self._restored(list(message.rest))
        signature.apply_async((list(ended.results),), **options)

    def _call_errback(self, message: Message, ended: Ended) -> None:
        canvas = ended.canvas or {}
        backend = self._app.backend
        request = Request(
            {
                "id": ended.task_id,
                "task": canvas.get("task"),
                "errbacks": [self._restored(message.signature)],
                "root_id": _root(ended),
                "parent_id": canvas.get("parent_id"),
                "group": canvas.get("group"),
                "delivery_info": {},
            }
        )
        # An errback that this process does not know is sent, with the task's id alone.
        backend._call_task_errbacks(request, backend.exception_to_python(ended.exception), None)  # noqa: SLF001  Celery's own way, which has no public name

    def _restored(self, kept: Any) -> Any:
        """Read a signature as its message carried it: what JSON has no word for, times say, is marked in Celery's."""
        return self._app.backend.decode(json.dumps(kept))

    def _tell(self, ended: Ended) -> None:
        """Tell monitors that the task is over: to them alone it matters, and only a broker that is away is waited for."""
        status = ended.status
        told: dict[str, dict[str, Any]] = {
            "SUCCESS": {"result": f"{len(ended.results)} results", "runtime": ended.took_s},
            "FAILURE": {"exception": str((ended.error or {}).get("message", "failed")), "traceback": None},
            "REVOKED": {"terminated": False, "signum": None, "expired": False},
        }
        try:
            with self._app.events.default_dispatcher(hostname=self._hostname()) as dispatcher:
                dispatcher.send(
                    _EVENTS[status], uuid=ended.task_id, retry=True, retry_policy=_AGAIN, **told[status]
                )
        except self._away():
            raise
        except Exception as error:  # noqa: BLE001  a broker that takes no events, say: the link itself has left
            _log.info("event_not_sent", job_id=str(ended.job_id), error=type(error).__name__)

    @contextmanager
    def _broker_errors(self) -> Iterator[None]:
        try:
            yield
        except self._away() as error:
            raise ConnectionError(str(error)) from error

    def _away(self) -> tuple[type[Exception], ...]:
        """Name what is raised while the broker is away, by Celery and by the transport beneath it."""
        beneath: tuple[type[Exception], ...] = self._app.connection_for_write().recoverable_connection_errors
        return (OperationalError, OSError, *beneath)


def _root(ended: Ended) -> str:
    return str((ended.canvas or {}).get("root_id") or ended.task_id)
