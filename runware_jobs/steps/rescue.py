"""Rescue: what is due without anybody asking, each in a bounded batch.

Leases that lapsed and what they left behind, deadlines that have passed, batches
whose last job has ended, partitions of the months to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.core.events import EventType
from runware_jobs.core.states import JobState
from runware_jobs.store import batches, deadlines, processes
from runware_jobs.store.database import ensure_event_partitions
from runware_jobs.store.moves import announce

from .watch import watch_adopted

if TYPE_CHECKING:
    from .context import Context
    from .watch import Watch

_log = structlog.get_logger()
_ADOPT_AT_ONCE: Final = 1_000
_LATE_AT_ONCE: Final = 500
_ENDS: Final = {JobState.SUCCEEDED: EventType.JOB_SUCCEEDED, JobState.FAILED: EventType.JOB_FAILED}


async def adopt(context: Context) -> list[Watch]:
    """Take over attempts that nobody alive follows; give them to be followed."""
    async with context.engine.begin() as connection:
        adopted = await processes.adopt(
            connection, context.owner, lease_s=context.tempo.lease_s, limit=_ADOPT_AT_ONCE
        )
    if adopted:
        _log.info("attempts_adopted", attempts=len(adopted))
    return [watch_adopted(context, attempt) for attempt in adopted]


async def catch_up(context: Context) -> list[Watch]:
    """Give everything this process is to follow, also what it may have lost sight of.

    Its memory comes from answers; an answer that was lost on the way back (a commit
    whose connection dropped) leaves an attempt that is ours and that nobody follows.
    """
    async with context.engine.connect() as connection:
        return [
            watch_adopted(context, attempt) for attempt in await processes.owned(connection, context.owner)
        ]


async def pass_deadlines(context: Context) -> int:
    """End jobs that are too late; their attempts are followed to their end all the same."""
    async with context.engine.begin() as connection:
        late = await deadlines.end_late_jobs(connection, limit=_LATE_AT_ONCE)
        await announce(
            connection,
            [
                {"job_id": str(job_id), "type": _ENDS[state], "data": {"deadline": True}, "back": 0}
                for job_id, state in late.items()
            ],
        )
    return len(late)


async def complete_batches(context: Context) -> int:
    """Finish batches whose jobs are all final, and tell so."""
    async with context.engine.begin() as connection:
        return len(await batches.complete_batches(connection))


async def prepare_partitions(context: Context) -> None:
    """Make the event partitions of the coming months."""
    async with context.engine.begin() as connection:
        await connection.run_sync(ensure_event_partitions)
