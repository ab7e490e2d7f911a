"""Hints: somebody says that a task has news. They prove nothing and make a poll due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.states import AttemptState

from .tables import SCHEMA

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .processes import Owner


async def leave_hint(connection: AsyncConnection, task_uuid: UUID) -> None:
    """Mark an attempt as having news. Where that is marked already, or it has ended, nothing is written."""
    await connection.execute(text(_LEAVE), {"task_uuid": task_uuid})


async def take_hints(connection: AsyncConnection, owner: Owner) -> list[UUID]:
    """Name the followed attempts that have news, and take their marks away."""
    rows = await connection.execute(text(_TAKE), {"owner_id": owner.id, "epoch": owner.epoch})
    return list(rows.scalars())


# In words that no partial index knows: while few tasks are under way the planner would
# rather look through all of those than for this one, and go on so when they are many.
_LEAVE: Final = f"""
UPDATE {SCHEMA}.attempt SET hinted_at = now()
WHERE task_uuid = :task_uuid AND hinted_at IS NULL AND COALESCE(state, '') <> '{AttemptState.ENDED}'
"""

# A task that is still being sent keeps its mark until it is followed. Whoever is being
# written by somebody else meanwhile is looked at in the next round.
_TAKE: Final = f"""
UPDATE {SCHEMA}.attempt SET hinted_at = NULL
WHERE task_uuid IN (
    SELECT task_uuid FROM {SCHEMA}.attempt
    WHERE owner_id = :owner_id AND epoch = :epoch AND hinted_at IS NOT NULL
      AND state <> '{AttemptState.ENDED}' AND state IN ('{AttemptState.ACCEPTED}', '{AttemptState.UNCLEAR}')
    FOR UPDATE SKIP LOCKED)
RETURNING task_uuid
"""
