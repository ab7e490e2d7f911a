"""How the whole queue stands: the numbers behind `/metrics` and the dashboard.

Read-only. Counting finished jobs walks the table, so callers remember an answer for
a while (`web.remembering`); everything else goes through one of the partial indexes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.states import SCHEDULED, AttemptState, JobState

from .columns import CLAIMABLE, SPENT_TODAY
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxVitals:
    """What waits to leave through one sink; `lag_s` is how long the oldest due row has waited."""

    pending: int
    dead: int
    lag_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountVitals:
    """How one account stands against its limits; `daily_limit_usd` None: none is set."""

    in_flight: int
    max_in_flight: int
    held_usd: float
    spent_today_usd: float
    daily_limit_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One look at the installation.

    `heartbeat_age_s` is of the youngest worker, `oldest_heartbeat_s` of the one that was
    silent for longest; None: no worker is registered. `oldest_unpolled_s` is how late the
    latest poll of all workers was when it said so.
    """

    jobs: Mapping[str, int]
    attempts: Mapping[str, int]
    oldest_queued_s: float
    oldest_unclear_s: float
    oldest_unpolled_s: float
    following: int
    outbox: Mapping[str, OutboxVitals]
    workers: int
    heartbeat_age_s: float | None
    oldest_heartbeat_s: float | None
    accounts: Mapping[str, AccountVitals]
    open_accounts: int
    paused_accounts: int
    spent_today_usd: float


async def count_jobs(connection: AsyncConnection, *, tenant: str | None) -> dict[str, int]:
    """Count jobs by the state that users see, zeros included; `tenant` None counts all tenants'."""
    rows = await connection.execute(text(_JOBS), {"tenant": tenant})
    counts = dict.fromkeys((SCHEDULED, *(state.value for state in JobState)), 0)
    return counts | {row.shown_state: row.jobs for row in rows}


async def read_vitals(connection: AsyncConnection) -> Vitals:
    """Read how the installation stands, over all tenants."""
    jobs = await count_jobs(connection, tenant=None)
    attempts = {state.value: 0 for state in AttemptState if state is not AttemptState.ENDED}
    attempts |= {row.state: row.attempts for row in await connection.execute(text(_ATTEMPTS))}
    outbox = {
        row.sink: OutboxVitals(pending=row.pending, dead=row.dead, lag_s=row.lag_s)
        for row in await connection.execute(text(_OUTBOX))
    }
    accounts = {
        str(row["id"]): _account(row) for row in (await connection.execute(text(_ACCOUNTS))).mappings()
    }
    rest = (await connection.execute(text(_REST))).one()
    return Vitals(
        jobs=jobs,
        attempts=attempts,
        oldest_queued_s=rest.oldest_queued_s,
        oldest_unclear_s=rest.oldest_unclear_s,
        oldest_unpolled_s=rest.oldest_unpolled_s,
        following=rest.following,
        outbox=outbox,
        workers=rest.workers,
        heartbeat_age_s=rest.heartbeat_age_s,
        oldest_heartbeat_s=rest.oldest_heartbeat_s,
        accounts=accounts,
        open_accounts=rest.open_accounts,
        paused_accounts=rest.paused_accounts,
        spent_today_usd=float(rest.spent_today_usd),
    )


def _account(row: Any) -> AccountVitals:
    limit = row["daily_limit_usd"]
    return AccountVitals(
        in_flight=row["in_flight"],
        max_in_flight=row["max_in_flight"],
        held_usd=float(row["held_usd"]),
        spent_today_usd=float(row["spent_today_usd"]),
        daily_limit_usd=None if limit is None else float(limit),
    )


_JOBS: Final = f"""
SELECT CASE WHEN state = 'queued' AND run_at > now() AND times_busy = 0 AND attempts = 0
    THEN '{SCHEDULED}' ELSE state END AS shown_state, count(*) AS jobs
FROM {SCHEMA}.job WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant GROUP BY shown_state
"""

_ATTEMPTS: Final = f"""
SELECT state, count(*) AS attempts FROM {SCHEMA}.attempt WHERE state <> '{AttemptState.ENDED}' GROUP BY state
"""

_OUTBOX: Final = f"""
SELECT sink, count(*) FILTER (WHERE NOT is_dead) AS pending, count(*) FILTER (WHERE is_dead) AS dead,
    CAST(COALESCE(GREATEST(0, EXTRACT(EPOCH FROM now() - min(due_at) FILTER (WHERE NOT is_dead))), 0)
        AS double precision) AS lag_s
FROM {SCHEMA}.outbox GROUP BY sink
"""

_ACCOUNTS: Final = f"""
SELECT id, in_flight, max_in_flight, held_usd, daily_limit_usd,
    {SPENT_TODAY} AS spent_today_usd
FROM {SCHEMA}.account WHERE is_current OR in_flight > 0 OR held_usd > 0 ORDER BY id
"""

# The oldest due job is looked up bucket by bucket, each with one probe of
# job_claim_idx: half a million jobs of a paused batch cost nothing here, and are
# not called late either.
_REST: Final = f"""
SELECT
    COALESCE((SELECT CAST(max(EXTRACT(EPOCH FROM now() - oldest.run_at)) AS double precision)
        FROM {SCHEMA}.bucket CROSS JOIN LATERAL (
            SELECT run_at FROM {SCHEMA}.job WHERE bucket_id = bucket.id AND {CLAIMABLE}
            ORDER BY run_at LIMIT 1) AS oldest
        WHERE bucket.state = 'open' AND oldest.run_at <= now()), 0) AS oldest_queued_s,
    (SELECT count(*) FROM {SCHEMA}.process WHERE stopped_at IS NULL) AS workers,
    (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - max(heartbeat_at)) AS double precision)
        FROM {SCHEMA}.process WHERE stopped_at IS NULL) AS heartbeat_age_s,
    (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - min(heartbeat_at)) AS double precision)
        FROM {SCHEMA}.process WHERE stopped_at IS NULL) AS oldest_heartbeat_s,
    (SELECT CAST(COALESCE(sum(following), 0) AS bigint) FROM {SCHEMA}.process WHERE stopped_at IS NULL) AS following,
    (SELECT COALESCE(max(poll_lag_s), 0) FROM {SCHEMA}.process WHERE stopped_at IS NULL) AS oldest_unpolled_s,
    COALESCE((SELECT CAST(EXTRACT(EPOCH FROM now() - min(submitted_at)) AS double precision)
        FROM {SCHEMA}.attempt WHERE state = '{AttemptState.UNCLEAR}'), 0) AS oldest_unclear_s,
    (SELECT count(*) FROM {SCHEMA}.account WHERE state = 'open') AS open_accounts,
    (SELECT count(*) FROM {SCHEMA}.account WHERE state = 'paused') AS paused_accounts,
    (SELECT COALESCE(sum({SPENT_TODAY}), 0) FROM {SCHEMA}.account)
        AS spent_today_usd
"""
