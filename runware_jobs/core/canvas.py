"""What follows a job in a Celery canvas: decided from dicts, as the messages of Celery carry them.

A task that becomes a job is over for Celery before anything was made. What it should go
on to (the next of a chain, callbacks, errbacks, the part of a chord) is kept on the job
as its *canvas* and carried out when the job ends: as Celery's own worker does when a
task returns, but each message under an id that is the same if it has to be sent twice.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from .events import EventType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KEPT: Final = ("root_id", "parent_id", "group", "group_index", "callbacks", "errbacks", "chain")
_NEXT: Final = "next"

# A broker that is away is asked again for as long as it takes; what fails for another
# reason will hardly ever pass, and is a row that somebody should look at.
_SOONEST_S: Final = 1.0
_LATEST_S: Final = 30.0
_BROKEN_LATEST_S: Final = 600.0
_BROKEN_GIVEN_UP_AFTER_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job as it ended, for what follows it. `task_id` is Celery's spelling of its id.

    `canvas` None: it did not come as a Celery task. `ended_at` is ISO 8601, `took_s` seconds
    since it was enqueued. `error` is the job's, None unless it failed.
    """

    job_id: UUID
    event: EventType
    results: Sequence[Mapping[str, Any]]
    error: Mapping[str, Any] | None
    link: Mapping[str, Any] | None
    link_error: Mapping[str, Any] | None
    canvas: Mapping[str, Any] | None
    ended_at: str
    took_s: float

    @property
    def succeeded(self) -> bool:
        return self.event == EventType.JOB_SUCCEEDED

    @property
    def task_id(self) -> str:
        return self.canvas["id"] if self.canvas is not None else str(self.job_id)

    @property
    def status(self) -> str:
        """What Celery calls this end."""
        if self.succeeded:
            return "SUCCESS"
        return "FAILURE" if self.event == EventType.JOB_FAILED else "REVOKED"

    @property
    def exception(self) -> dict[str, Any]:
        """Why it did not succeed, as Celery keeps an exception in JSON."""
        if self.event == EventType.JOB_FAILED:
            return failure(self.error or {}, str(self.job_id))
        return {
            "exc_type": "TaskRevokedError",
            "exc_message": ["canceled"],
            "exc_module": "celery.exceptions",
        }


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to publish. `key` names it among those of its job; `kind` says how the signature is called.

    `link`: with the job's id; `callback` and `next`: with the results; `errback`: as Celery
    calls errbacks; `event`: no task, an event for Flower and other monitors. `rest` is what
    of a chain comes after `next`.
    """

    key: str
    kind: str
    signature: Mapping[str, Any] | None = None
    rest: Sequence[Mapping[str, Any]] = ()


def canvas_of(task_id: str, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a Celery request what is needed to go on after the job."""
    kept = {name: request[name] for name in _KEPT if request.get(name) is not None}
    if request.get("chord"):
        kept["is_chord_part"] = True  # its body stands with the chord, once
    return {"id": task_id, "task": task, **kept}


def chords_of(request: Mapping[str, Any]) -> set[str]:
    """Name the chords that a task, or the end of the chain after it, is a part of; '' for one without a group."""
    groups = {str(request.get("group") or "")} if request.get("chord") else set()
    for _, options in _members(request.get("chain") or ()):
        if options.get("chord"):
            groups.add(str(options.get("group_id") or ""))
    return groups


def goes_on(request: Mapping[str, Any]) -> bool:
    """Tell whether anything should follow a task."""
    return any(request.get(name) for name in ("callbacks", "errbacks", "chain", "chord"))


def what_follows(ended: Ended) -> list[Message]:
    """List what is to be published because of a job's end; what a canvas has, with its ids."""
    messages = []
    link = ended.link if ended.succeeded else ended.link_error
    if link is not None:
        messages.append(Message("link", "link", link))
    canvas = ended.canvas
    if canvas is None:
        return messages
    many, kind = ("callbacks", "callback") if ended.succeeded else ("errbacks", "errback")
    for number, signature in enumerate(canvas.get(many, ())):
        key = f"{kind}-{number}"
        messages.append(Message(key, kind, with_ids(signature, f"{ended.job_id}/1/{key}")))
    chain = canvas.get("chain")
    if chain and ended.succeeded:
        # Celery keeps a chain reversed: what comes next stands last.
        messages.append(
            Message(_NEXT, _NEXT, with_ids(chain[-1], f"{ended.job_id}/1/{_NEXT}"), rest=chain[:-1])
        )
    # Told last: who watches for it finds that the rest has left.
    messages.append(Message("event", "event"))
    return messages


def chord_parts(ended: Ended) -> list[dict[str, Any]]:
    """List the parts of chords that end with a job: its own, and after a failure those of its chain."""
    canvas = ended.canvas
    if canvas is None:
        return []
    result: Any = list(ended.results) if ended.succeeded else ended.exception
    found: list[tuple[Any, Any, Any]] = []
    if canvas.get("is_chord_part"):
        found.append((canvas.get("group"), ended.task_id, canvas.get("group_index")))
    if not ended.succeeded:
        found += [
            (options.get("group_id"), options.get("task_id"), options.get("group_index"))
            for _, options in _members(canvas.get("chain", ()))
            if options.get("chord")
        ]
    return [
        {
            "group_id": group_id,
            "task_id": task_id,
            "position": position,
            "status": ended.status,
            "result": result,
        }
        for group_id, task_id, position in found
        if group_id and task_id
    ]


def failed_results(ended: Ended) -> list[dict[str, Any]]:
    """List the results of tasks that will never run, because the job before them did not succeed."""
    if ended.succeeded or ended.canvas is None:
        return []
    return [
        {
            "status": ended.status,
            "result": ended.exception,
            "traceback": None,
            "children": [],
            "date_done": ended.ended_at,
            "task_id": options["task_id"],
        }
        for _, options in _members(ended.canvas.get("chain", ()))
        if options.get("task_id")
    ]


def failure(error: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    """Give a job's error as Celery keeps an exception in JSON; `errors.TaskFailed` is made from it again."""
    return {
        "exc_type": "TaskFailed",
        "exc_message": [
            error.get("message") or f"Job {job_id} failed.",
            error.get("code") or "unknown",
            bool(error.get("retryable", False)),
            error.get("parameter"),
            job_id,
        ],
        "exc_module": "runware_jobs.errors",
    }


def with_ids(signature: Mapping[str, Any], seed: str) -> dict[str, Any]:
    """Copy a signature, with an id wherever Celery would make a random one: the same for the same `seed`."""
    copy: dict[str, Any] = deepcopy(dict(signature))
    _name(copy, seed)
    return copy


def next_try(tries: int, *, passes: bool, age_s: float) -> float | None:
    """Wait this many seconds before a link is tried again; None: it is given up, and kept.

    `passes`: the broker or the database was away, which no link is given up for. `age_s`
    is the time since the job ended.
    """
    wait_s = _SOONEST_S * 2.0 ** min(tries, 20)
    if passes:
        return min(wait_s, _LATEST_S)
    return None if age_s > _BROKEN_GIVEN_UP_AFTER_S else min(wait_s, _BROKEN_LATEST_S)


def _name(signature: Any, seed: str) -> None:
    if not isinstance(signature, dict):
        return
    kwargs = signature.get("kwargs") or {}
    options = signature.setdefault("options", {})
    if options is None:
        options = signature["options"] = {}
    inner = signature.get("subtask_type")
    if inner == "chord":
        # The id of a chord is its header's; its body answers for it.
        _name(kwargs.get("body"), f"{seed}/body")
        header = kwargs.get("header")
        if isinstance(header, dict):
            _name(header, f"{seed}/header")
        else:
            options.setdefault("task_id", str(uuid5(NAMESPACE_URL, f"{seed}/header")))
            _name_all(header, f"{seed}/header")
        return
    if inner in {"chain", "group"}:
        _name_all(kwargs.get("tasks"), seed)
    if inner != "chain":
        options.setdefault("task_id", str(uuid5(NAMESPACE_URL, seed)))
    _name_all(options.get("link_error"), f"{seed}/link_error")


def _name_all(signatures: Any, seed: str) -> None:
    if isinstance(signatures, list | tuple):
        for number, signature in enumerate(signatures):
            _name(signature, f"{seed}/{number}")
    else:
        _name(signatures, seed)


def _members(chain: Sequence[Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the steps of a chain with their options; a chord's end is that of its body (Celery issue 9674)."""
    steps = list(chain)
    while steps:
        step = steps.pop()
        if not isinstance(step, dict):
            continue
        yield step, step.get("options") or {}
        body = (step.get("kwargs") or {}).get("body")
        if step.get("subtask_type") == "chord" and body is not None:
            steps.append(body)
