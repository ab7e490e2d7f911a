"""Batches: their own row, their buckets' pauses, and their jobs counted by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.states import FINAL, JobState

from .buckets import follow_batches, lock_accounts_of
from .tables import SCHEMA

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


async def create_batch(
    connection: AsyncConnection, batch_id: UUID, *, tenant: str, name: str, budget_usd: Decimal | None
) -> None:
    """Open a batch that jobs may hang on; creating it twice changes nothing."""
    await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.batch (id, tenant, name, budget_usd) VALUES (:id, :tenant, :name, :budget_usd)"
            " ON CONFLICT DO NOTHING"
        ),
        {"id": batch_id, "tenant": tenant, "name": name, "budget_usd": budget_usd},
    )


async def seal_batch(connection: AsyncConnection, batch_id: UUID) -> None:
    """Say that everything was enqueued: from now on the batch can complete."""
    await connection.execute(
        text(f"UPDATE {SCHEMA}.batch SET sealed_at = now() WHERE id = :id AND sealed_at IS NULL"),
        {"id": batch_id},
    )


async def read_batch(
    connection: AsyncConnection, batch_id: UUID, *, tenant: str | None
) -> dict[str, Any] | None:
    """Read a batch with `counts` (jobs by state) and `cost_usd`; None when it is not there."""
    row = await connection.execute(text(_READ), {"id": batch_id, "tenant": tenant})
    found = row.mappings().one_or_none()
    return None if found is None else dict(found)


async def list_batches(
    connection: AsyncConnection, *, tenant: str | None, limit: int
) -> list[dict[str, Any]]:
    """List batches, newest first, without their counts."""
    rows = await connection.execute(
        text(
            f"SELECT * FROM {SCHEMA}.batch WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant"
            " ORDER BY created_at DESC LIMIT :limit"
        ),
        {"tenant": tenant, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


async def pause_batch(connection: AsyncConnection, batch_id: UUID, *, reason: str) -> bool:
    """Stop claims of the batch's jobs; touches no job row. False when it was not open."""
    await lock_accounts_of(connection, batch_id=batch_id)
    row = await connection.execute(text(_PAUSE), {"id": batch_id, "reason": reason})
    await follow_batches(connection, [batch_id])
    return row.first() is not None


async def resume_batch(connection: AsyncConnection, batch_id: UUID, *, budget_usd: Decimal | None) -> bool:
    """Let a paused batch go on, with a new budget when one is given; unless its tenant is paused, too."""
    await lock_accounts_of(connection, batch_id=batch_id)
    row = await connection.execute(text(_RESUME), {"id": batch_id, "budget_usd": budget_usd})
    await follow_batches(connection, [batch_id])
    return row.first() is not None


async def cancel_batch(connection: AsyncConnection, batch_id: UUID) -> None:
    """Let nobody add to the batch any more; its jobs are canceled one by one, by the caller.

    Waits for whoever is adding at this moment: their jobs are seen afterwards.
    """
    await connection.execute(
        text(f"SELECT id FROM {SCHEMA}.batch WHERE id = :id FOR UPDATE"), {"id": batch_id}
    )
    await connection.execute(
        text(f"UPDATE {SCHEMA}.batch SET state = 'canceled', pause_reason = NULL WHERE id = :id"),
        {"id": batch_id},
    )
    await follow_batches(connection, [batch_id])


async def open_jobs_of(connection: AsyncConnection, batch_id: UUID, *, limit: int) -> list[UUID]:
    """Name jobs of the batch that are not final, at most `limit`."""
    rows = await connection.execute(
        text(
            f"SELECT id FROM {SCHEMA}.job WHERE batch_id = :id AND finished_at IS NULL ORDER BY id LIMIT :limit"
        ),
        {"id": batch_id, "limit": limit},
    )
    return [row.id for row in rows]


async def failed_jobs_of(
    connection: AsyncConnection, batch_id: UUID, *, after: UUID | None, limit: int
) -> list[tuple[UUID, str]]:
    """Name failed jobs of the batch with their billing, in the order of their ids."""
    rows = await connection.execute(
        text(
            f"SELECT id, billing FROM {SCHEMA}.job WHERE batch_id = :id AND state = 'failed'"
            " AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit"
        ),
        {"id": batch_id, "after": after, "limit": limit},
    )
    return [(row.id, row.billing) for row in rows]


async def complete_batches(connection: AsyncConnection) -> list[UUID]:
    """Finish sealed batches all of whose jobs are final, and tell so (`batch.completed`)."""
    ready = (await connection.execute(text(_READY))).scalars().all()
    if not ready:
        return []
    # Looked at again under the lock: a job that was added meanwhile is seen now, and none is added any more.
    rows = await connection.execute(text(_COMPLETE), {"ids": [str(batch_id) for batch_id in ready]})
    completed = [row.id for row in rows]
    await follow_batches(connection, completed)
    return completed


async def reopen_batches(connection: AsyncConnection, batch_ids: list[UUID]) -> None:
    """Let batches complete again, because jobs of theirs run again."""
    await connection.execute(
        text(f"UPDATE {SCHEMA}.batch SET finished_at = NULL WHERE id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": [str(batch_id) for batch_id in batch_ids]},
    )
    await follow_batches(connection, batch_ids)


_OPEN: Final = ", ".join(f"'{state}'" for state in JobState if state not in FINAL)

_READ: Final = f"""
SELECT batch.*, COALESCE(counted.counts, '{{}}') AS counts, counted.cost_usd, COALESCE(counted.total, 0) AS total
FROM {SCHEMA}.batch LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(state, jobs) AS counts, sum(cost_usd) AS cost_usd, sum(jobs) AS total FROM (
        SELECT state, count(*) AS jobs, sum(cost_usd) AS cost_usd
        FROM {SCHEMA}.job WHERE batch_id = batch.id GROUP BY state) AS by_state) AS counted ON true
WHERE batch.id = :id AND (CAST(:tenant AS text) IS NULL OR batch.tenant = :tenant)
"""

_PAUSE: Final = f"""
UPDATE {SCHEMA}.batch SET state = 'paused', pause_reason = :reason WHERE id = :id AND state = 'open' RETURNING id
"""

_RESUME: Final = f"""
UPDATE {SCHEMA}.batch SET state = 'open', pause_reason = NULL,
    budget_usd = COALESCE(CAST(:budget_usd AS numeric), budget_usd)
WHERE id = :id AND state = 'paused' RETURNING id
"""

_HAS_ENDED: Final = f"""sealed_at IS NOT NULL AND finished_at IS NULL AND NOT EXISTS (
        -- By state: job_batch_idx answers it, however many of the batch have ended.
        SELECT FROM {SCHEMA}.job WHERE job.batch_id = batch.id AND job.state IN ({_OPEN}))"""

# Whoever adds a job holds a key share of the batch until its commit: left for the next look.
_READY: Final = f"SELECT id FROM {SCHEMA}.batch WHERE {_HAS_ENDED} ORDER BY id FOR UPDATE SKIP LOCKED"

_COMPLETE: Final = f"""
WITH done AS (
    UPDATE {SCHEMA}.batch SET finished_at = now()
    WHERE id = ANY (CAST(:ids AS uuid[])) AND {_HAS_ENDED} RETURNING id, tenant
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, batch_id, seq, data)
    SELECT gen_random_uuid(), 'batch.completed', tenant, id, 1, COALESCE((
        SELECT jsonb_object_agg(state, jobs) FROM (
            SELECT state, count(*) AS jobs FROM {SCHEMA}.job WHERE batch_id = done.id GROUP BY state) AS counted),
        '{{}}')
    FROM done RETURNING id, created_at, tenant
),
sent AS (
    INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, endpoint_id, url)
    SELECT 'webhook', told.id, told.created_at, endpoint.id, endpoint.url
    FROM told JOIN {SCHEMA}.endpoint ON endpoint.tenant = told.tenant
    WHERE endpoint.is_enabled AND endpoint.url IS NOT NULL
      AND (endpoint.events = '{{}}' OR 'batch.completed' = ANY (endpoint.events))
)
SELECT id FROM done
"""
