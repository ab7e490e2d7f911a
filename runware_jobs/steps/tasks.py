"""What goes over the wire for one attempt: the job's params, its media, its task UUID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runware_jobs.core.inputs import data_uri, referenced_inputs, restore_inputs
from runware_jobs.store.inputs import take_inputs
from runware_jobs.store.plans import run_async

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


async def make_task(
    connection: AsyncConnection, *, account_id: int, tenant: str, task_uuid: UUID, params: dict[str, Any]
) -> dict[str, Any] | None:
    """Make the task object of an attempt, large inputs put back in as data URIs.

    None when one of its inputs is no longer stored: it cannot be sent.
    """
    references = referenced_inputs(params)
    if references:
        media = await run_async(connection, take_inputs(references, account_id=account_id, tenant=tenant))
        if references - media.keys():
            return None
        params = restore_inputs(params, lambda name: data_uri(*media[name]))
    return {**params, "taskUUID": str(task_uuid)}
