"""Waiting for sync tasks: what finished, as one envelope, when all of them have ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .errors import Refusal, error_entry
from .wording import worded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .messages import Answer
    from .protocol import Platform
    from .tasks import Task

_TIMEOUT = Refusal(
    "timeout", "The request timed out while waiting for the result. The task continues; use async delivery."
)


async def wait_for_all(platform: Platform, answer: Answer) -> None:
    """Move the results of `answer.waiting` into the answer once all have ended.

    Tasks still running after the sync window get a timeout error and go on running.
    """
    await _all_ended(answer.waiting, platform.switches.sync_window_s)
    for task in answer.waiting:
        if task.settled < len(task.finish_at):
            answer.errors.append(timeout_entry(task))
            continue
        data, errors = pushed(platform, task, range(len(task.finish_at)))
        answer.data.extend(data if task.kind.shape != "phases" else data[-1:])
        answer.errors.extend(errors)
    answer.waiting = []


async def _all_ended(tasks: Sequence[Task], limit_s: float) -> None:
    """Return when every task has ended, or after `limit_s` real seconds."""
    remaining = {task.uuid for task in tasks if task.settled < len(task.finish_at)}
    if not remaining:
        return
    all_done = asyncio.Event()

    def note(task: Task, _fresh: Sequence[int]) -> None:
        if task.settled == len(task.finish_at):
            remaining.discard(task.uuid)
            if not remaining:
                all_done.set()

    for task in tasks:
        task.listeners.append(note)
    try:
        async with asyncio.timeout(limit_s):
            await all_done.wait()
    except TimeoutError:
        pass  # the caller sees which are still open
    finally:
        for task in tasks:
            if note in task.listeners:
                task.listeners.remove(note)


def pushed(
    platform: Platform, task: Task, indexes: Iterable[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Finished items as sync delivery shows them: successes for `data`, failures for `errors`."""
    data: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for index in indexes:
        if task.failure is not None and task.failure.hits(index) and task.kind.shape != "phases":
            errors.append(platform.results.failure_entry(task))
        else:
            data.append(worded(platform.results.item(task, index), task, platform.switches))
    return data, errors


def timeout_entry(task: Task) -> dict[str, Any]:
    """The error of a sync task that outlasts the window."""
    return error_entry(_TIMEOUT, task_type=task.task_type, task_uuid=task.uuid)
