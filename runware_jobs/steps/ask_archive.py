"""Ask the archive (`getTaskDetails`) what it has of one task: the platform's second memory.

What it says is read with suspicion: it keeps the answer to the last request under a
UUID, which may be a rejected duplicate's, and a gateway's 404 is no answer of it at all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.client import RunwareError
from runware_jobs.core.answers import Answer

from .words import is_conflict, is_unknown_task, item_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from .context import Context

_ON_THE_WIRE: Final = 8


async def ask_archive(context: Context, task_uuid: UUID) -> Answer | None:
    """Ask once; an empty answer means that the archive does not know the task, None that it did not answer."""
    await context.pace.turn()
    try:
        # Once: the client's own tries would leave without a turn, and the next round asks again.
        details = await context.client.get_task_details({"taskUUID": str(task_uuid), "retry": 1})
    except RunwareError as error:
        return Answer() if is_unknown_task(error) else None
    return read_details(details, task_uuid)


async def ask_archive_about(context: Context, tasks: Sequence[UUID]) -> dict[UUID, Answer | None]:
    """Ask about several, a few at a time: there is no grouped form."""
    gate = asyncio.Semaphore(_ON_THE_WIRE)

    async def ask(task: UUID) -> Answer | None:
        async with gate:
            return await ask_archive(context, task)

    return dict(zip(tasks, await asyncio.gather(*(ask(task) for task in tasks)), strict=True))


def read_details(details: Any, task_uuid: UUID) -> Answer | None:
    """Read the archived envelope: `{"response": {"data": [...]}}` or `{"errors": [...]}` (PROTOCOL 6.2)."""
    entry = details[0] if isinstance(details, list) and details else details
    if not isinstance(entry, dict):
        return Answer()
    if entry.get("taskUUID") not in {None, str(task_uuid)}:
        return None  # another question's answer on the same socket
    response = entry.get("response")
    if not isinstance(response, dict):
        return Answer()
    items = tuple(_objects(response.get("data")))
    told = [error for error in _objects(response.get("errors")) if not is_unknown_task(error)]
    # A duplicate is refused only where a first one was taken.
    errors = tuple(item_error({"error": error}) for error in told if not is_conflict(error))
    return Answer(items, errors, is_known=bool(items) or any(is_conflict(error) for error in told))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
