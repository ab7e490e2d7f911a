"""Forgetting: jobs that ended long ago, and what hung on them, in batches that hold no lock for long.

What must outlive a job is its keys: an idempotency key, an external id and an alias leave
a tombstone, so that a replay is told that its job was here and never runs, or pays, again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from .tables import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one batch removed."""

    jobs: int = 0
    tombstones: int = 0


async def count_prunable_jobs(connection: AsyncConnection, *, older_than_s: float) -> int:
    """Count the jobs that pruning would remove now."""
    found = await connection.execute(text(_COUNT), {"older_than_s": older_than_s})
    return int(found.scalar_one())


async def prune_jobs(connection: AsyncConnection, *, older_than_s: float, limit: int) -> Pruned:
    """Remove at most `limit` jobs that ended longer ago than that, the oldest first; the caller commits.

    A job stays while the platform may still be working for it (an attempt that has not ended, and with it
    its hold on a budget), while something about it has still to leave (but for an endpoint that is disabled), and
    while its batch goes on. Its attempts, results and events go with it. Done twice at once, each removes
    different jobs.
    """
    found = await connection.execute(text(_PRUNE), {"older_than_s": older_than_s, "limit": limit})
    row = found.one()
    return Pruned(jobs=row.jobs, tombstones=row.tombstones)


async def prune_deliveries(connection: AsyncConnection, *, older_than_s: float, limit: int) -> int:
    """Remove at most `limit` lines of the delivery log that are older than that; the caller commits."""
    removed = await connection.execute(
        text(_PRUNE_DELIVERIES), {"older_than_s": older_than_s, "limit": limit}
    )
    return removed.rowcount


async def prune_batches(connection: AsyncConnection, *, older_than_s: float, limit: int) -> int:
    """Remove at most `limit` batches that ended longer ago than that and have no job left; the caller commits.

    Their buckets go with them. A batch that somebody is enqueueing into stays.
    """
    values = {"older_than_s": older_than_s, "limit": limit}
    ids = (await connection.execute(text(_LOCK_BATCHES), values)).scalars().all()
    if not ids:
        return 0
    # A statement of its own: it sees the jobs that came before the locks.
    removed = await connection.execute(text(_PRUNE_BATCHES), {"ids": [str(id_) for id_ in ids]})
    return removed.rowcount


_PRUNABLE: Final = f"""
    job.finished_at < now() - make_interval(secs => :older_than_s)
    AND NOT EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id AND attempt.state <> 'ended')
    -- What stays for a disabled endpoint may stay for ever.
    AND NOT EXISTS (SELECT FROM {SCHEMA}.outbox WHERE outbox.job_id = job.id AND NOT outbox.is_dead
        AND NOT EXISTS (
            SELECT FROM {SCHEMA}.endpoint WHERE endpoint.id = outbox.endpoint_id AND NOT endpoint.is_enabled))
    -- A batch that nobody has sealed since then was abandoned by its producer.
    AND NOT EXISTS (SELECT FROM {SCHEMA}.batch WHERE batch.id = job.batch_id AND batch.finished_at IS NULL
        AND (batch.sealed_at IS NOT NULL OR batch.created_at >= now() - make_interval(secs => :older_than_s)))
"""

_COUNT: Final = f"SELECT count(*) FROM {SCHEMA}.job WHERE {_PRUNABLE}"

# The order of job_finished_idx. A retry locks its job first: whoever comes second finds it gone, or leaves it.
_PRUNE: Final = f"""
WITH old AS (
    SELECT id, tenant, state, request_hash, idempotency_key, external_id, alias FROM {SCHEMA}.job
    WHERE {_PRUNABLE} ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
), stone AS (
    INSERT INTO {SCHEMA}.tombstone (tenant, key_kind, key, request_hash, job_id, final_state)
    SELECT tenant, key_kind, key, request_hash, id, state FROM old CROSS JOIN LATERAL (VALUES
        ('idempotency_key', idempotency_key), ('external_id', external_id), ('alias', alias)
    ) AS named (key_kind, key) WHERE key IS NOT NULL
    ON CONFLICT (tenant, key_kind, key) DO NOTHING RETURNING 1
), told AS (
    DELETE FROM {SCHEMA}.event USING old WHERE event.job_id = old.id
), dead AS (
    DELETE FROM {SCHEMA}.outbox USING old WHERE outbox.job_id = old.id
), gone AS (
    DELETE FROM {SCHEMA}.job USING old WHERE job.id = old.id RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS jobs, (SELECT count(*) FROM stone) AS tombstones
"""

_PRUNE_DELIVERIES: Final = f"""
DELETE FROM {SCHEMA}.delivery WHERE id IN (
    SELECT id FROM {SCHEMA}.delivery WHERE created_at < now() - make_interval(secs => :older_than_s)
    LIMIT :limit FOR UPDATE SKIP LOCKED)
"""

_HAS_NO_JOB: Final = f"NOT EXISTS (SELECT FROM {SCHEMA}.job WHERE job.batch_id = batch.id)"

_LOCK_BATCHES: Final = f"""
SELECT id FROM {SCHEMA}.batch
WHERE COALESCE(finished_at, created_at) < now() - make_interval(secs => :older_than_s) AND {_HAS_NO_JOB}
ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
"""

_PRUNE_BATCHES: Final = f"DELETE FROM {SCHEMA}.batch WHERE id = ANY (CAST(:ids AS uuid[])) AND {_HAS_NO_JOB}"
