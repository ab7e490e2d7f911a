"""Tenants that something is set for: a budget, a pause. A job may name any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .buckets import follow_tenant, lock_accounts_of
from .columns import CLAIMABLE, SCHEMA
from .flows import QUEUED_SHOWN

if TYPE_CHECKING:
    from decimal import Decimal

    from sqlalchemy.ext.asyncio import AsyncConnection


async def read_tenants(connection: AsyncConnection) -> list[dict[str, Any]]:
    """List tenants that have jobs in the queue or under way, or that something is set for.

    `queued` counts up to `store.flows.QUEUED_SHOWN` jobs of each bucket.
    """
    rows = await connection.execute(text(_READ), {"more_than": QUEUED_SHOWN})
    return [dict(row) for row in rows.mappings()]


async def set_tenant_budget(
    connection: AsyncConnection, name: str, budget_usd: Decimal | None, *, from_zero: bool = False
) -> None:
    """Let a tenant spend so much over all its jobs; None lifts the budget.

    Spend counts from the first time something was set for the tenant, or from now
    (`from_zero`). A pause because the last budget was used up ends.
    """
    await lock_accounts_of(connection, tenant=name)
    await connection.execute(text(_BUDGET), {"name": name, "budget_usd": budget_usd, "from_zero": from_zero})
    await follow_tenant(connection, name)


async def pause_tenant(connection: AsyncConnection, name: str, *, reason: str) -> bool:
    """Take no more jobs of a tenant; False when it was paused already. Takes over a pause for its budget."""
    await lock_accounts_of(connection, tenant=name)
    row = await connection.execute(text(_PAUSE), {"name": name, "reason": reason})
    await follow_tenant(connection, name)
    return row.first() is not None


async def resume_tenant(connection: AsyncConnection, name: str) -> bool:
    """Let a tenant go on, but for batches that are paused themselves; False when it was open."""
    await lock_accounts_of(connection, tenant=name)
    row = await connection.execute(text(_RESUME), {"name": name})
    await follow_tenant(connection, name)
    return row.first() is not None


_READ: Final = f"""
WITH used AS (
    SELECT tenant AS name, sum(in_flight) AS in_flight, sum(counted.jobs) AS queued
    FROM {SCHEMA}.bucket CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM {SCHEMA}.job WHERE bucket_id = bucket.id AND {CLAIMABLE} LIMIT :more_than) AS first
    ) AS counted GROUP BY tenant
)
SELECT name, COALESCE(state, 'open') AS state, pause_reason, budget_usd, COALESCE(spent_usd, 0) AS spent_usd,
    COALESCE(held_usd, 0) AS held_usd, CAST(COALESCE(in_flight, 0) AS integer) AS in_flight,
    CAST(COALESCE(queued, 0) AS integer) AS queued
FROM {SCHEMA}.tenant FULL JOIN used USING (name)
WHERE tenant.created_at IS NOT NULL OR in_flight > 0 OR queued > 0 ORDER BY name
"""

_BUDGET: Final = f"""
INSERT INTO {SCHEMA}.tenant AS tenant (name, budget_usd) VALUES (:name, :budget_usd)
ON CONFLICT (name) DO UPDATE SET budget_usd = excluded.budget_usd,
    spent_usd = CASE WHEN :from_zero THEN 0 ELSE tenant.spent_usd END,
    state = CASE tenant.pause_reason WHEN 'budget' THEN 'open' ELSE tenant.state END,
    pause_reason = NULLIF(tenant.pause_reason, 'budget')
"""

_PAUSE: Final = f"""
INSERT INTO {SCHEMA}.tenant AS tenant (name, state, pause_reason) VALUES (:name, 'paused', :reason)
ON CONFLICT (name) DO UPDATE SET state = 'paused', pause_reason = excluded.pause_reason
WHERE tenant.state = 'open' OR tenant.pause_reason = 'budget'
RETURNING name
"""

_RESUME: Final = f"""
UPDATE {SCHEMA}.tenant SET state = 'open', pause_reason = NULL WHERE name = :name AND state = 'paused' RETURNING name
"""
