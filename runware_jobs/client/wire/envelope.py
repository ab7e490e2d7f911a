"""The wire's envelope, read: items and errors of an answer by the task they belong to.

One of the two modules that know the platform's envelope (the other is `ws_session`). Pure, and
total: whatever the bytes are, the outcome is a `Reply`, never an exception. It does not judge
what an answer means for a task; that is `verdicts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from runware_jobs.client.errors import RunwareError, error_from_wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scoped:
    """What one answer says of one task. `error_items` are the raw entries behind `errors`."""

    items: tuple[Item, ...] = ()
    errors: tuple[RunwareError, ...] = ()
    error_items: tuple[Item, ...] = ()

    def plus(self, other: Scoped) -> Scoped:
        """Join two answers about the same task, in order of arrival."""
        return Scoped(
            self.items + other.items, self.errors + other.errors, self.error_items + other.error_items
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """All that is known after one request.

    `by_task` is keyed by task UUID; `unscoped` are errors that name no task; `loose_items` are items
    without a task UUID (ping, authentication). `is_readable` says that a Runware envelope was read.
    `failure` is set when the exchange broke before or without such an answer; then `was_written`
    says whether bytes may have left. `status_code` is None on a WebSocket.
    """

    by_task: Mapping[str, Scoped] = field(default_factory=dict)
    unscoped: tuple[RunwareError, ...] = ()
    loose_items: tuple[Item, ...] = ()
    is_readable: bool = False
    status_code: int | None = None
    retry_after_s: float | None = None
    failure: RunwareError | None = None
    was_written: bool = True

    def of(self, task_uuid: str) -> Scoped:
        """Give what the answer says of one task; empty when it says nothing."""
        return self.by_task.get(task_uuid, _NOTHING)

    def plus(self, other: Reply) -> Reply:
        """Join a later answer to the same request (frames of a WebSocket)."""
        by_task = dict(self.by_task)
        for task_uuid, scoped in other.by_task.items():
            by_task[task_uuid] = by_task.get(task_uuid, _NOTHING).plus(scoped)
        return replace(
            other,
            by_task=by_task,
            unscoped=self.unscoped + other.unscoped,
            loose_items=self.loose_items + other.loose_items,
            is_readable=self.is_readable or other.is_readable,
        )


_NOTHING = Scoped()


def failed(error: RunwareError, *, was_written: bool) -> Reply:
    """Make the reply of an exchange that broke."""
    return Reply(failure=error, was_written=was_written)


def read_envelope(
    body: bytes | str, *, status_code: int | None = None, retry_after_s: float | None = None
) -> Reply:
    """Read an answer of either transport, whatever its HTTP status."""
    unreadable = Reply(status_code=status_code, retry_after_s=retry_after_s)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return unreadable
    envelopes = content if isinstance(content, list) else [content]
    if not envelopes or not all(_is_envelope(envelope) for envelope in envelopes):
        return unreadable
    reply = replace(unreadable, is_readable=True)
    for envelope in envelopes:
        reply = reply.plus(_read_one(envelope, status_code=status_code, retry_after_s=retry_after_s))
    return reply


def _is_envelope(value: object) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint({"data", "errors", "error"})


def _read_one(envelope: Item, *, status_code: int | None, retry_after_s: float | None) -> Reply:
    by_task: dict[str, Scoped] = {}
    loose_items: list[Item] = []
    unscoped: list[RunwareError] = []
    for item in _objects(envelope.get("data")):
        task_uuid = item.get("taskUUID")
        if isinstance(task_uuid, str) and task_uuid:
            by_task[task_uuid] = by_task.get(task_uuid, _NOTHING).plus(Scoped(items=(item,)))
        else:
            loose_items.append(item)
    for entry in _error_entries(envelope):
        error = error_from_wire(
            entry,
            # In an answer that went well the status says nothing of the one task that did not.
            status_code=None if status_code is None or status_code < HTTPStatus.BAD_REQUEST else status_code,
            retry_after_s=retry_after_s,
            task_uuid=_text(envelope.get("taskUUID")),
            task_type=_text(envelope.get("taskType")),
        )
        if error.task_uuid is None:
            unscoped.append(error)
        else:
            scoped = Scoped(errors=(error,), error_items=(entry,))
            by_task[error.task_uuid] = by_task.get(error.task_uuid, _NOTHING).plus(scoped)
    return Reply(
        by_task=by_task,
        unscoped=tuple(unscoped),
        loose_items=tuple(loose_items),
        is_readable=True,
        status_code=status_code,
        retry_after_s=retry_after_s,
    )


def _error_entries(envelope: Item) -> Sequence[Item]:
    single = envelope.get("error")
    if single is True:  # the oldest form: the envelope itself is the error
        return [*_objects(envelope.get("errors")), envelope]
    if isinstance(single, str):
        return [*_objects(envelope.get("errors")), {"message": single, "code": envelope.get("code")}]
    return [*_objects(envelope.get("errors")), *_objects(single)]


def _objects(value: object) -> list[Item]:
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, dict)]
    return []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
