"""Our result backend: Celery's view of jobs, and the results and chords of tasks beside them.

An application uses it as `result_backend = "runware_jobs+postgresql://…"`, the database
of the jobs. What a job is, `AsyncResult` reads from its row; the results of the
application's own tasks are kept in a table of ours, so that groups and chords may mix
both. Waiting asks the database, at Celery's interval.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import states
from celery.backends.base import BaseBackend, _create_chord_error_with_cause, _create_fake_task_request
from celery.canvas import Signature, _chain, _chord, group, maybe_signature
from celery.exceptions import ChordError, OperationalError, TaskRevokedError, TimeoutError  # noqa: A004  Celery's own name
from celery.result import ResultSet, result_from_tuple

from runware_jobs.assembly import find_services
from runware_jobs.core.canvas import failure, with_ids
from runware_jobs.core.states import JobState
from runware_jobs.core.views import moment
from runware_jobs.errors import TaskFailed
from runware_jobs.settings import Settings
from runware_jobs.store import celery_chords
from runware_jobs.store import celery_results as store
from runware_jobs.store.database import is_unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from celery import Celery

    from runware_jobs.store.celery_chords import Chord

_log = structlog.get_logger()
SCHEME: Final = "runware_jobs"
PROGRESS: Final = "PROGRESS"
# The body is sent by whoever brings the last part; should he die, by a worker of ours after this.
_HOLD_S: Final = 60.0
_AGAIN_S: Final = 5.0
_SHORTEST_NAP_S: Final = 0.02

REMEDY: Final = (
    'set result_backend = "runware_jobs+postgresql://…", the database of the jobs,'
    " in the application that starts the chord and in every one that works for it"
)


class ResultBackend(BaseBackend):  # type: ignore[misc]  # Celery is untyped
    """States and results by task id, from the database of the jobs.

    Without a database in its URL it uses that of the settings (RUNWARE_JOBS_DATABASE_URL,
    or the embedded one). Everything is kept as JSON, whatever `result_serializer` says:
    processes of several applications read each other's results.
    """

    supports_native_join = True
    supports_autoexpire = True  # `runware-jobs prune` does

    def __init__(self, app: Celery, url: str | None = None, **options: Any) -> None:
        super().__init__(app, **{**options, "serializer": "json", "accept": ["json"], "url": url})
        self._opened: store.CelerySession | None = None

    @property
    def _session(self) -> store.CelerySession:
        if self._opened is None:
            self._opened = store.CelerySession(self._database_url())
        return self._opened

    def _database_url(self) -> str:
        if self.url and self.url.partition("://")[2] and not self.url.startswith(f"{SCHEME}://"):
            return str(self.url)
        return find_services(Settings()).database_url

    def as_uri(self, include_password: bool = False) -> str:
        """Show where results are, for banners; without a database in the URL that of the settings is meant."""
        return str(super().as_uri(include_password)) if self.url else f"{SCHEME}://"

    def __reduce__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url})

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Retry, where the application asks Celery for it, while the database is away."""
        return is_unreachable(exc)

    # Results

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        return self._read([task_id])[task_id]

    def _read(self, task_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        rows = self._session.run(store.read_results([str(task_id) for task_id in task_ids]))
        return {row["task_id"]: self._meta(row) for row in rows}

    def _meta(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if row["state"] is not None:
            return _job_meta(row)
        if row["meta"] is not None:
            return dict(self.decode_result(row["meta"]))
        return {"status": states.PENDING, "result": None, "task_id": row["task_id"]}

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,  # noqa: ARG002  Celery's names
        on_message: Callable[[Any], None] | None = None,
        on_interval: Callable[[], None] | None = None,
        max_iterations: int | None = None,
        READY_STATES: frozenset[str] = states.READY_STATES,  # noqa: N803  Celery's name
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (id, meta) of tasks as they become ready, all asked about at once.

        Raises:
            celery.exceptions.TimeoutError: some are not ready after `timeout` seconds.
        """
        self._ensure_not_eager()
        left = {str(task_id) for task_id in task_ids}
        ends_at = None if timeout is None else time.monotonic() + timeout
        looks = 0
        while left:
            for task_id, meta in self._read(left).items():
                if meta["status"] in READY_STATES:
                    left.discard(task_id)
                    if on_message is not None:
                        on_message(meta)
                    yield task_id, meta
            looks += 1
            if not left or (max_iterations and looks >= max_iterations):
                return
            rest_s = None if ends_at is None else ends_at - time.monotonic()
            if rest_s is not None and rest_s <= 0:
                raise TimeoutError(f"Operation timed out ({timeout})")
            if on_interval is not None:
                on_interval()
            nap_s = max(interval, _SHORTEST_NAP_S)
            time.sleep(nap_s if rest_s is None else min(nap_s, rest_s))

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **_: Any,
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        row = {
            "task_id": str(task_id),
            "status": state,
            "meta": self.encode({**meta, "task_id": str(task_id)}),
        }
        self._session.run(store.store_results([row]))
        return result

    def _forget(self, task_id: str) -> None:
        self._session.run(store.forget_result(str(task_id)))

    # Groups

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._session.run(store.save_group(group_id, self.encode({"result": result.as_tuple()})))
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        meta = self._session.run(store.read_group(group_id))
        if meta is None:
            return None
        return {"result": result_from_tuple(self.decode(meta)["result"], self.app)}

    def _delete_group(self, group_id: str) -> None:
        self._session.run(store.forget_group(group_id))

    # Chords

    def apply_chord(self, header_result_args: tuple[str, Iterable[Any]], body: Any, **_: Any) -> None:
        """Register a chord; its header is published afterwards."""
        group_id, results = header_result_args
        address(body, self.app)
        header = list(_leaves(results))
        self._session.run(celery_chords.register_chord(group_id, header, self.encode(body)))

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Say how many parts Celery has counted."""
        self._session.run(celery_chords.resize_chord(group_id, size=chord_size))

    def add_to_chord(self, chord_id: str, result: Any) -> None:
        """Let a task of a header add another to it."""
        self._session.run(celery_chords.grow_chord(chord_id, result.id))

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:
        """Record a part that has ended; the last one sends the body."""
        group_id = request.group
        if not group_id or not request.chord:
            return
        if self._session.run(celery_chords.unregistered_chords([group_id])):
            self._refuse_chord(group_id, request)
            return
        part = {
            "group_id": group_id,
            "task_id": request.id,
            "position": request.group_index,
            "status": state,
            "result": self.encode(self.encode_result(result, state)),
        }
        for complete in self._session.run(celery_chords.add_parts([part], hold_s=_HOLD_S)):
            self._end_chord(complete)

    def _end_chord(self, group_id: str) -> None:
        chord = self._session.run(celery_chords.read_chord(group_id))
        if chord is None:
            return
        try:
            finish_chord(self.app, self, chord)
        except Exception as error:  # noqa: BLE001  the part has ended all the same; a worker of ours tries again
            _log.warning("chord_not_ended", group_id=group_id, error=type(error).__name__)
            self._session.run(celery_chords.put_off_chord(group_id, delay_s=_AGAIN_S))
        else:
            self._session.run(celery_chords.end_chord(group_id))

    def _refuse_chord(self, group_id: str, request: Any) -> None:
        """Fail the body, once, of a chord that cannot be kept."""
        _log.error("chord_not_registered", group_id=group_id, remedy=REMEDY)
        if self._session.run(celery_chords.refuse_chord(group_id)):
            body = maybe_signature(with_ids(request.chord, f"{group_id}/body"), app=self.app)
            self.fail_chord(
                body, ChordError(f"Chord {group_id} is not registered in this database: {REMEDY}")
            )

    def fail_chord(self, body: Any, error: ChordError) -> None:
        """Fail a chord's body as Celery does: its errbacks are called, its result is the error.

        Raises:
            OSError: the broker is away, where Celery's own way loses the errbacks; nothing was stored.
        """
        try:
            raise error
        except ChordError as raised:
            if isinstance(body, group):
                self.chord_error_from_stack(callback=body, exc=raised)
                return
            errbacks = body.options.get("link_error") or []
            request = _create_fake_task_request(body.id, errbacks, **body)
            try:
                self._call_task_errbacks(request, raised, None)
            except (OperationalError, OSError) as away:
                raise ConnectionError(str(away)) from away
            except Exception as broken:  # noqa: BLE001  whatever it is, the body has failed
                _log.exception("errback_not_called", task_id=body.id, error=type(broken).__name__)
            self.fail_from_current_stack(body.id, exc=raised)
            self._fail_chain(body.options.get("chain"), raised)


def finish_chord(app: Celery, backend: ResultBackend, chord: Chord) -> None:
    """Publish the body of a complete chord with the results of its header; or fail it, when a part has failed.

    Done twice it is the same message, with the same task id.

    Raises:
        OSError: the broker is away; nothing was sent.
    """
    body = maybe_signature(with_ids(backend.decode(chord.body), f"{chord.group_id}/body"), app=app)
    failed = [part for part in chord.parts if part[1] in states.PROPAGATE_STATES]
    if failed:
        task_id, _, result = failed[0]
        cause = backend.exception_to_python(backend.decode(result))
        reason = f"Dependency {task_id} raised {cause!r}"
        backend.fail_chord(body, _create_chord_error_with_cause(reason, cause))
        return
    try:
        body.delay([backend.decode(result) for _, _, result in chord.parts])
    except (OperationalError, OSError) as error:
        raise ConnectionError(str(error)) from error
    except Exception as error:
        if is_unreachable(error):
            raise
        _log.exception("chord_body_not_sent", group_id=chord.group_id)
        backend.fail_chord(body, _create_chord_error_with_cause(f"Callback error: {error!r}", error))


def address(signature: Any, app: Celery) -> None:
    """Name the queue of every task in a signature, as its own application routes it.

    What follows a job is published by a worker of ours, which knows nothing of the
    routes of the application that the task belongs to.
    """
    if isinstance(signature, list | tuple):
        for one in signature:
            address(one, app)
        return
    if not isinstance(signature, Signature):
        return
    address(signature.options.get("link"), app)
    address(signature.options.get("link_error"), app)
    if isinstance(signature, _chord):
        address(signature.tasks, app)
        address(signature.body, app)
    elif isinstance(signature, _chain | group):
        address(list(signature.tasks), app)
    elif not {"queue", "exchange", "routing_key"} & set(signature.options):
        its_app = signature._app or app  # noqa: SLF001  `app` would guess where none was given
        own = getattr(signature._type, "queue", None)  # noqa: SLF001  the same for its task
        route = its_app.amqp.router.route({"queue": own} if own else {}, signature.task, (), {})
        if "queue" in route:
            signature.options["queue"] = route["queue"].name


def _leaves(results: Iterable[Any]) -> Iterator[str]:
    for result in results:
        if isinstance(result, ResultSet):
            yield from _leaves(result.results)
        else:
            yield result.id


def _job_meta(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a job as Celery shows a task."""
    status, result = _status(row)
    meta = {
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": moment(row["finished_at"]),
        "task_id": row["task_id"],
    }
    return meta | {name: row[name] for name in ("group_id", "parent_id") if row[name] is not None}


def _status(row: Mapping[str, Any]) -> tuple[str, Any]:
    job_id: UUID = row["job_id"]
    match JobState(row["state"]):
        case JobState.QUEUED:
            return states.PENDING, None
        case JobState.RUNNING if row["progress"] is not None:
            return PROGRESS, {"progress": row["progress"]}
        case JobState.SUBMITTING | JobState.RUNNING:
            return states.STARTED, None
        case JobState.SUCCEEDED:
            return states.SUCCESS, _list(row["results"])
        case JobState.FAILED:
            return states.FAILURE, TaskFailed(*failure(row["error"] or {}, str(job_id))["exc_message"])
        case JobState.CANCELED:
            return states.REVOKED, TaskRevokedError("canceled")


def _list(results: Sequence[Any] | None) -> list[Any]:
    return list(results or ())
