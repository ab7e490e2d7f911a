"""Progress: how far a running job has come, as far as anybody has asked; nothing is decided by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.states import AttemptState, JobState

from .columns import SCHEMA, UNHURRIED
from .news import note
from .plans import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .processes import Owner


async def write_progress(
    connection: AsyncConnection, owner: Owner, told: Mapping[UUID, int]
) -> dict[UUID, int]:
    """Write the progress, in percent, of jobs whose attempts are under way and ours, by task UUID.

    Gives what is new, by job id. One statement that waits for nobody: a job that somebody
    is moving at this moment keeps the progress it has, and the next look tells another.
    A crash of the server may forget it. The caller commits.
    """
    rows = as_json([{"task_uuid": str(task), "progress": progress} for task, progress in told.items()])
    values = {"told": rows, "owner_id": owner.id, "epoch": owner.epoch}
    rows_written = await connection.execute(text(_WRITE), values)
    written = {row.id: row.progress for row in rows_written}
    note(connection, written)
    return written


_WRITE: Final = f"""
UPDATE {SCHEMA}.job SET progress = due.progress
FROM (
    SELECT job.id, told.progress
    FROM jsonb_to_recordset(CAST(:told AS jsonb)) AS told(task_uuid uuid, progress smallint)
    JOIN {SCHEMA}.attempt USING (task_uuid) JOIN {SCHEMA}.job ON job.id = attempt.job_id
    WHERE attempt.state = '{AttemptState.ACCEPTED}' AND owner_id = :owner_id AND epoch = :epoch
      AND job.state = '{JobState.RUNNING}' AND job.run = attempt.run AND job.attempts = attempt.number
      AND job.progress IS DISTINCT FROM told.progress
    FOR NO KEY UPDATE OF job SKIP LOCKED) AS due
WHERE job.id = due.id AND {UNHURRIED}
RETURNING job.id, job.progress
"""
