"""The utility tasks: one request, one answer, on either transport.

Questions are asked again when the line fails; what changes something (uploads, deletions) is
repeated only when the platform certainly did not take it.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from runware_jobs.client.error_codes import UNREADABLE_ANSWER, ErrorCode
from runware_jobs.client.errors import RunwareError, create_runware_error, error_from_wire, with_others
from runware_jobs.client.parts import pause_before_retry, unless_cancelled
from runware_jobs.client.services.validating import validate_params
from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup, encode_task

from .results import ItemState, item_state
from .runs import with_local_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.client.backoff import Asked
    from runware_jobs.client.config import RunOptions
    from runware_jobs.client.parts import Parts
    from runware_jobs.client.wire.envelope import Item, Reply

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
_DEFAULTS: dict[str, dict[str, Any]] = {"mediaStorage": {"operation": "upload"}, "ping": {"ping": True}}
_QUESTIONS = frozenset({"accountManagement", "getTaskDetails", "modelSearch", "ping"})


async def ask(
    parts: Parts,
    task_type: str,
    params: Mapping[str, Any],
    options: RunOptions,
    *,
    on_item: Callable[[Item], None] | None = None,
) -> list[Item]:
    """Send one utility task and give its items; `on_item` hears the phases of an upload while they arrive, and
    all of the answer at its end; without it the first answer is the only one.

    Errors:
        RunwareError: what the platform said, or that it could not be asked.
    """
    task = {**_DEFAULTS.get(task_type, {}), **params, "taskType": task_type}
    if task_type != "ping":
        task["taskUUID"] = str(task.get("taskUUID") or uuid.uuid4())
    work = _ask(parts, task, options, on_item)
    try:
        return await unless_cancelled(work, options.cancel_event, parts.closing)
    except RunwareError as error:
        told = error.about(task)
        raise told from told.__cause__


async def _ask(
    parts: Parts, params: dict[str, Any], options: RunOptions, on_item: Callable[[Item], None] | None
) -> list[Item]:
    task = await with_local_files(parts, params)
    task_type = task["taskType"]
    if parts.config.validate if options.validate is None else options.validate:
        await validate_params(parts.session, parts.config.schemas_base_url, task, parts.log)
    group = TaskGroup((encode_task(task),))
    timeout_s = (options.timeout or parts.config.timeout) / 1_000
    attempt = 0
    while True:
        reply = await _exchange(parts, group, timeout_s, on_item)
        items = _items(reply, group)
        if on_item is not None:  # HTTP tells nothing before its answer
            for item in items:
                on_item(item)
        error = _error(reply, items, group)
        if error is None:
            return items
        is_taken = reply.was_written and error.code is not ErrorCode.RATE_LIMIT
        asked: Asked = "question" if task_type in _QUESTIONS else "change"
        await pause_before_retry(parts, error, attempt, asked=asked, may_be_taken=is_taken)
        attempt += 1


async def _exchange(
    parts: Parts, group: TaskGroup, timeout_s: float, on_item: Callable[[Item], None] | None
) -> Reply:
    task = group.tasks[0]
    kind = Kind.UTILITY if on_item is None else Kind.PHASES
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
        return with_others(told) if told else None
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


def upload_error(phase: Item) -> RunwareError | None:
    """Read a failed phase of a model upload; the platform tells the reason in `message`."""
    if phase.get("status") != "failed":
        return None
    return create_runware_error(
        "uploadFailed",
        str(phase.get("message") or "The model could not be taken."),
        task_type="modelUpload",
        task_uuid=phase.get("taskUUID"),
    )


def _item_errors(items: list[Item], group: TaskGroup) -> list[RunwareError]:
    task = group.tasks[0]
    if task.task_type == "modelUpload":
        return [error for error in map(upload_error, items) if error is not None]
    return [
        error_from_wire(
            item["error"] if isinstance(item.get("error"), dict) else item, task_uuid=task.task_uuid
        )
        for item in items
        if item_state(item) is ItemState.ERROR
    ]
