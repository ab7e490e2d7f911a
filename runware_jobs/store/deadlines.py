"""Deadlines that have passed: the job ends, its task goes on, and what arrives still counts.

Two kinds: for the whole, which runs always, and to start, which stands still while the
account is paused (DESIGN 6). A paused account is not looked at for the latter, so that
half a million late starters of one cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.states import AttemptState, Billing, JobState, OnPartial

from .jobs import END_PREPARED
from .tables import SCHEMA

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


async def end_late_jobs(connection: AsyncConnection, *, limit: int) -> dict[UUID, JobState]:
    """End at most `limit` jobs of each kind whose deadline has passed, and say as what; nothing is announced.

    They have failed; but where some results are there and `on_partial` lets those do, the
    job has succeeded. A task that may be with the platform goes on: `billing` becomes
    `detached`, and its results and cost are added when they come. A prepared attempt ends
    here, unsent.
    """
    late: dict[UUID, JobState] = {}
    for find, message in ((_LATE, _TOO_LATE), (_LATE_TO_START, _TOO_LATE_TO_START)):
        ids = [str(job_id) for job_id in (await connection.execute(text(find), {"limit": limit})).scalars()]
        if ids:
            # A statement of its own: it sees what was recorded before these rows were locked.
            rows = await connection.execute(text(_END), {"ids": ids, "message": message})
            late |= {row.id: JobState(row.state) for row in rows}
    if late:
        await connection.execute(text(END_PREPARED), {"ids": [str(job_id) for job_id in late]})
    return late


_SUFFICES: Final = f"""(job.on_partial = '{OnPartial.SUCCEED}' AND EXISTS (
    SELECT FROM {SCHEMA}.result WHERE result.job_id = job.id AND result.state = 'success'))"""

_END: Final = f"""
UPDATE {SCHEMA}.job SET finished_at = now(), seq = seq + 1,
    state = CASE WHEN {_SUFFICES} THEN '{JobState.SUCCEEDED}' ELSE '{JobState.FAILED}' END,
    error = CASE WHEN NOT {_SUFFICES} THEN
        jsonb_build_object('code', 'timeout', 'retryable', true, 'message', CAST(:message AS text)) END,
    billing = CASE WHEN EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id AND attempt.state IN
        ('{AttemptState.SENDING}', '{AttemptState.ACCEPTED}', '{AttemptState.UNCLEAR}'))
        THEN '{Billing.DETACHED}' ELSE billing END
WHERE id = ANY (CAST(:ids AS uuid[])) RETURNING id, state
"""

_TOO_LATE: Final = "The job's deadline has passed."
_TOO_LATE_TO_START: Final = "The job was not started before its start deadline."

# The one that has waited longest first, so that nobody waits for ever behind a crowd.
_LATE: Final = f"""
SELECT id FROM {SCHEMA}.job WHERE finished_at IS NULL AND deadline_at <= now()
ORDER BY deadline_at LIMIT :limit FOR UPDATE SKIP LOCKED
"""

# On the account's own clock, which stands still in a pause: what is compared is the
# deadline less the pauses before the job came, and now less all of them. So it stands in
# job_start_deadline_idx, and jobs that a long pause has given more time are not walked.
_LATE_TO_START: Final = f"""
SELECT late.id FROM {SCHEMA}.account CROSS JOIN LATERAL (
    SELECT id FROM {SCHEMA}.job
    -- Queued again after a start is not late to start.
    WHERE job.account_id = account.id AND job.state = '{JobState.QUEUED}' AND submitted_at IS NULL
      AND start_deadline_at IS NOT NULL
      AND (start_deadline_at AT TIME ZONE 'UTC') - make_interval(secs => paused_before_s)
          <= (now() AT TIME ZONE 'UTC') - make_interval(secs => account.paused_s)
    ORDER BY (start_deadline_at AT TIME ZONE 'UTC') - make_interval(secs => paused_before_s)
    LIMIT :limit FOR UPDATE SKIP LOCKED) AS late
WHERE account.state = 'open'
"""
