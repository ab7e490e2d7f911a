"""Buckets follow: each is paused while its batch or its tenant is, whoever paused them, and open otherwise.

The rows of batch and tenant are the truth, and a claim reads them too; the bucket's own
state only spares it the look. So nobody has to remember whose pause came first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .columns import CLAIMABLE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


async def lock_accounts_of(
    connection: AsyncConnection, *, batch_id: UUID | None = None, tenant: str | None = None
) -> None:
    """Lock the accounts that a batch or a tenant has buckets with, as claims do: none is under way now.

    Pausing takes effect for every claim that comes after the commit.
    """
    values = {"batch_id": batch_id, "tenant": tenant}
    await connection.execute(text(_LOCK), values)


async def follow_batches(connection: AsyncConnection, batch_ids: Iterable[UUID]) -> None:
    """Put the buckets of batches right after their rows have changed."""
    ids = [str(batch_id) for batch_id in batch_ids]
    if ids:
        await _follow(connection, "bucket.batch_id = ANY (CAST(:ids AS uuid[]))", {"ids": ids})


async def follow_tenant(connection: AsyncConnection, name: str) -> None:
    """Put the buckets of a tenant right after its row has changed."""
    await _follow(connection, "bucket.tenant = :name", {"name": name})


async def follow_all(connection: AsyncConnection, account_id: int) -> int:
    """Put all buckets of an account right, and say how many were not.

    One that somebody made while its batch was paused or resumed may not have heard of it.
    """
    return await _follow(connection, "bucket.account_id = :account_id", {"account_id": account_id})


async def _follow(connection: AsyncConnection, where: str, values: dict[str, Any]) -> int:
    done = await connection.execute(text(_FOLLOW.format(where=where)), values)
    return int(done.rowcount)


_LOCK: Final = f"""
SELECT id FROM {SCHEMA}.account WHERE id IN (
    SELECT account_id FROM {SCHEMA}.bucket
    WHERE batch_id = CAST(:batch_id AS uuid) OR tenant = CAST(:tenant AS text))
ORDER BY id FOR NO KEY UPDATE
"""

# A batch that has ended takes no more jobs: its buckets rest, or claims would look into
# thousands of empty ones.
_FOLLOW: Final = f"""
UPDATE {SCHEMA}.bucket SET state = CASE WHEN due.reason IS NULL THEN 'open' ELSE 'paused' END,
    pause_reason = due.reason, paused_at = CASE WHEN due.reason IS NOT NULL THEN now() END
FROM (
    SELECT bucket.id, CASE
        WHEN batch.state = 'paused' THEN batch.pause_reason
        WHEN tenant.state = 'paused' THEN tenant.pause_reason
        WHEN batch.sealed_at IS NOT NULL AND batch.finished_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM {SCHEMA}.job WHERE bucket_id = bucket.id AND {CLAIMABLE}) THEN 'ended' END AS reason
    FROM {SCHEMA}.bucket LEFT JOIN {SCHEMA}.batch ON batch.id = bucket.batch_id
    LEFT JOIN {SCHEMA}.tenant ON tenant.name = bucket.tenant
    -- Locked in one order, or two who pause and resume could wait for each other.
    WHERE {{where}} ORDER BY bucket.id FOR NO KEY UPDATE OF bucket) AS due
WHERE bucket.id = due.id AND bucket.pause_reason IS DISTINCT FROM due.reason
"""
