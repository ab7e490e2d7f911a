"""Which request of a shared socket an item or error belongs to, and when it is answered.

Pure. Several requests may speak of one task UUID at the same time (its submit, a poll, a look into
the archive); the task type tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_jobs.client.error_codes import ErrorCode
from runware_jobs.client.running.results import ItemState, item_state

from .exchange import Exchange, Kind

if TYPE_CHECKING:
    from runware_jobs.client.errors import RunwareError

    from .envelope import Item, Reply

# What is said of a request before any result of it exists.
REQUEST_CODES = frozenset(
    {ErrorCode.AUTH, ErrorCode.NOT_FOUND, ErrorCode.QUOTA, ErrorCode.RATE_LIMIT, ErrorCode.VALIDATION}
)
FINAL_PHASES = frozenset({"ready", "failed"})
_POLL = "getResponse"
_ARCHIVE = "getTaskDetails"


def accepts_item(kind: Kind, asked_type: str, item: Item) -> bool:
    """Say whether an item about a task of a request can be (part of) the answer to that request."""
    item_type: object = item.get("taskType")
    if item_type is None:
        return kind is not Kind.UTILITY
    if kind is Kind.POLL:
        # The answer names the original type or, of old, getResponse (PROTOCOL 15.3); never the archive's.
        return item_type != _ARCHIVE
    return item_type == asked_type


def accepts_error(kind: Kind, asked_type: str, error: RunwareError) -> bool:
    """Say whether an error about a task of a request can be the answer to that request."""
    if error.task_type is None or error.task_type == asked_type:
        return True
    if kind is Kind.POLL:
        return error.task_type != _ARCHIVE
    return kind is not Kind.UTILITY and error.task_type not in {_POLL, _ARCHIVE}


def has_answer(exchange: Exchange, reply: Reply) -> bool:
    """Say whether the exchange has all that it waits for."""
    if reply.unscoped:
        return True
    match exchange.kind:
        case Kind.SUBMIT | Kind.POLL:
            return all(task.task_uuid in reply.by_task for task in exchange.group.tasks)
        case Kind.UTILITY:
            return bool(reply.by_task or reply.loose_items)
        case Kind.PUSH:
            scoped = reply.of(exchange.group.tasks[0].task_uuid)
            final = sum(item_state(item) is not ItemState.PROCESSING for item in scoped.items)
            # An error of one result leaves the others on their way; one of the request leaves none.
            is_refused = any(error.code in REQUEST_CODES for error in scoped.errors)
            return is_refused or final + len(scoped.errors) >= exchange.expected
        case Kind.PHASES:
            scoped = reply.of(exchange.group.tasks[0].task_uuid)
            return bool(scoped.errors) or any(item.get("status") in FINAL_PHASES for item in scoped.items)
