"""The utility tasks: one request, one answer, on either transport.

Questions are asked again when the line fails; what changes something (uploads, deletions) is
repeated only when the platform certainly did not take it.
"""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .config import RunOptions
from .error_codes import UNREADABLE_ANSWER
from .errors import RunwareError, create_runware_error, error_from_wire
from .exchange import Exchange, Kind
from .files import encode_local_files
from .grouping import TaskGroup, encode_task
from .parts import pause_before_retry, unless_cancelled
from .results import ItemState, item_state
from .telling import Teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .envelope import Item, Reply
    from .parts import Parts

UTILITY_TASK_TYPES = frozenset(
    {
        "accountManagement",
        "getResponse",
        "getTaskDetails",
        "imageUpload",
        "mediaStorage",
        "modelSearch",
        "modelUpload",
        "ping",
    }
)
# The platform itself keeps no request on a socket open for longer (PROTOCOL 2.2); a frame that is lost is asked again.
_SOCKET_ANSWER_S = 120.0
_ARCHIVE_S = 5.0
_QUESTIONS = frozenset({"accountManagement", "getTaskDetails", "modelSearch", "ping"})
_HOLDS_FILES = frozenset({"imageUpload", "mediaStorage"})


async def ask(
    parts: Parts,
    task_type: str,
    params: Mapping[str, Any],
    options: RunOptions | None = None,
    *,
    on_phase: Callable[[Item], object] | None = None,
) -> list[Item]:
    """Send one utility task and give its items.

    Errors:
        RunwareError: what the platform said, or that it could not be asked.
    """
    options = options or RunOptions()
    task = {"taskType": task_type, **params}
    if parts.config.encode_local_files and task_type in _HOLDS_FILES:
        task = await asyncio.to_thread(encode_local_files, task)
    if task_type != "ping":
        task.setdefault("taskUUID", str(uuid.uuid4()))
    return await unless_cancelled(_ask(parts, task, options, on_phase), options.cancel_event)


async def _ask(
    parts: Parts, task: dict[str, Any], options: RunOptions, on_phase: Callable[[Item], object] | None
) -> list[Item]:
    group = TaskGroup((encode_task(task),))
    task_type = task["taskType"]
    timeout_s = (options.timeout or parts.config.timeout) / 1_000
    attempt = 0
    while True:
        async with Teller(parts.log, on_phase) as teller:
            on_item = teller.tell if task_type == "modelUpload" else None
            reply = await _exchange(parts, group, timeout_s, on_item)
            items = _items(reply, group)
            if task_type == "modelUpload":
                for item in items[teller.told :]:  # HTTP answers at once, without a word before
                    teller.tell(item)
        error = _error(reply, items, group)
        if error is None:
            return items
        is_repeatable = task_type in _QUESTIONS or (reply.failure is not None and not reply.was_written)
        if not is_repeatable:
            raise error
        await pause_before_retry(parts, error, attempt)
        attempt += 1


async def _exchange(
    parts: Parts, group: TaskGroup, timeout_s: float, on_item: Callable[[Item], None] | None
) -> Reply:
    task = group.tasks[0]
    kind = Kind.PHASES if task.task_type == "modelUpload" else Kind.UTILITY
    if parts.poll_fallback is None or kind is Kind.PHASES:
        return await parts.transport.exchange(
            Exchange(group=group, kind=kind, timeout_s=timeout_s, on_item=on_item)
        )
    if task.task_type != "getTaskDetails":
        socket_s = min(timeout_s, _SOCKET_ANSWER_S)
        return await parts.transport.exchange(Exchange(group=group, kind=kind, timeout_s=socket_s))
    socket_s = min(timeout_s, _ARCHIVE_S)
    reply = await parts.transport.exchange(Exchange(group=group, kind=kind, timeout_s=socket_s))
    if reply.by_task or reply.unscoped:
        return reply
    # An empty answer on a socket names nobody; that the archive does not know a task must not look like a slow line.
    return await parts.poll_fallback.exchange(Exchange(group=group, kind=kind, timeout_s=timeout_s))


def _items(reply: Reply, group: TaskGroup) -> list[Item]:
    task = group.tasks[0]
    return [
        *reply.of(task.task_uuid).items,
        *(i for i in reply.loose_items if i.get("taskType") == task.task_type),
    ]


def _error(reply: Reply, items: list[Item], group: TaskGroup) -> RunwareError | None:
    task = group.tasks[0]
    scoped = reply.of(task.task_uuid)
    told = [*_item_errors(items, group), *scoped.errors]
    if not items:
        told += reply.unscoped
        if reply.failure is not None:
            told.append(reply.failure)
    if told or items:
        return told[0] if told else None
    if (
        reply.is_readable
        and reply.status_code in {None, HTTPStatus.OK}
        and task.task_type == "getTaskDetails"
    ):
        return None  # the archive answered, and does not know the task
    return create_runware_error(
        ""
        if reply.status_code is not None and reply.status_code >= HTTPStatus.BAD_REQUEST
        else UNREADABLE_ANSWER,
        f"The answer to {task.task_type} is empty or unreadable.",
        status_code=reply.status_code,
        task_type=task.task_type,
        retry_after_s=reply.retry_after_s,
    )


def upload_errors(phases: Iterable[Item], task_uuid: str) -> list[RunwareError]:
    """Read the failed phases of a model upload; the platform tells the reason in `message`."""
    return [
        create_runware_error(
            "uploadFailed",
            str(phase.get("message") or "The model could not be taken."),
            task_type="modelUpload",
            task_uuid=task_uuid,
        )
        for phase in phases
        if phase.get("status") == "failed"
    ]


def _item_errors(items: list[Item], group: TaskGroup) -> list[RunwareError]:
    task = group.tasks[0]
    if task.task_type == "modelUpload":
        return upload_errors(items, task.task_uuid)
    return [
        error_from_wire(
            item["error"] if isinstance(item.get("error"), dict) else item, task_uuid=task.task_uuid
        )
        for item in items
        if item_state(item) is ItemState.ERROR
    ]
