"""What is read again and again, or by the hundred thousand: live streams and a batch's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.states import FINAL, JobState

from .jobs import StoredEvent
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a job has come: the number of its newest event, its state and its progress."""

    seq: int
    state: str
    progress: int | None


async def read_marks(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, Mark]:
    """Read the marks of jobs; those that are not there are left out."""
    rows = await connection.execute(
        text(f"SELECT id, seq, state, progress FROM {SCHEMA}.job WHERE id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": [str(job_id) for job_id in job_ids]},
    )
    return {row.id: Mark(row.seq, row.state, row.progress) for row in rows}


async def read_newest_events(
    connection: AsyncConnection, after: Mapping[UUID, int], *, most: int
) -> dict[UUID, list[StoredEvent]]:
    """Read the events of many jobs, each after a `seq` of its own, at most `most` of each, in order."""
    rows = await connection.execute(
        text(_NEWEST_EVENTS),
        {"ids": [str(job_id) for job_id in after], "seqs": list(after.values()), "most": most},
    )
    found: dict[UUID, list[StoredEvent]] = {}
    for row in rows:
        found.setdefault(row.job_id, []).append(StoredEvent(*row))
    return found


async def read_open_batches(connection: AsyncConnection, batch_ids: Iterable[UUID]) -> dict[UUID, bool]:
    """Tell of batches whether a job of theirs has still to end; those that are not there are left out."""
    rows = await connection.execute(text(_OPEN_BATCHES), {"ids": [str(batch_id) for batch_id in batch_ids]})
    return {row.id: row.is_open for row in rows}


async def ended_jobs_of(
    connection: AsyncConnection,
    batch_id: UUID,
    *,
    states: Sequence[str],
    after: UUID | None,
    limit: int,
) -> list[UUID]:
    """Name jobs of a batch in these states, in the order of their ids (the order of enqueueing)."""
    rows = await connection.execute(
        text(
            f"SELECT id FROM {SCHEMA}.job WHERE batch_id = :id AND state = ANY (CAST(:states AS text[]))"
            " AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit"
        ),
        {"id": batch_id, "states": list(states), "after": after, "limit": limit},
    )
    return [row.id for row in rows]


_NEWEST_EVENTS: Final = f"""
SELECT newest.* FROM unnest(CAST(:ids AS uuid[]), CAST(:seqs AS integer[])) AS known (job_id, seq)
CROSS JOIN LATERAL (
    SELECT event.id, event.created_at, event.type, event.job_id, event.batch_id, event.run, event.seq,
        event.data, result.item
    FROM {SCHEMA}.event LEFT JOIN {SCHEMA}.result
        ON event.type = 'job.result' AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid)
        AND result.key = event.data ->> 'key'
    WHERE event.job_id = known.job_id AND event.seq > known.seq ORDER BY event.seq LIMIT :most) AS newest
ORDER BY newest.job_id, newest.seq
"""

# By state: job_batch_idx answers it, however many of the batch have ended.
_OPEN_BATCHES: Final = f"""
SELECT batch.id, EXISTS (SELECT FROM {SCHEMA}.job WHERE job.batch_id = batch.id AND job.state IN (
    {", ".join(f"'{state}'" for state in JobState if state not in FINAL)})) AS is_open
FROM {SCHEMA}.batch WHERE id = ANY (CAST(:ids AS uuid[]))
"""
