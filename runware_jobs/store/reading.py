"""What is read again and again, or by the hundred thousand: live streams and a batch's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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
