"""Lanes and models as a person sets them: limits and pauses by hand, and how they stand.

A lane's limits live on the account's row, a model's on its flow. Each change locks the
account as a claim does: once it is committed, no claim goes by the old limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.limits import FlowState

from .columns import CLAIMABLE, SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.states import Lane


async def read_flows(connection: AsyncConnection, account_id: int) -> list[dict[str, Any]]:
    """List lanes and models that have a limit, a pause, or work: a row per lane (`model` None), then its models.

    Each has `in_flight`, `max_in_flight` (None: the account's alone), `allowed` by feedback
    (None: no limit), `state`, `pause_reason`, `probe_at` and `queued`, which counts up to
    `more_than` jobs of each bucket: beyond that `queued` is what it is at least.
    """
    rows = await connection.execute(text(_READ), {"account_id": account_id, "more_than": QUEUED_SHOWN})
    return [dict(row) for row in rows.mappings()]


async def pause_flow(
    connection: AsyncConnection, account_id: int, lane: Lane, model: str | None, *, reason: str
) -> bool:
    """Take no more jobs of a lane (`model` None) or of one model until a person resumes it.

    Takes over a pause that feedback made. False when a person had paused it already.
    """
    await _lock_account(connection, account_id)
    values = {"account_id": account_id, "lane": lane, "model": model, "reason": reason}
    row = await connection.execute(text(_PAUSE_LANE if model is None else _PAUSE_MODEL), values)
    return row.first() is not None


async def resume_flow(connection: AsyncConnection, account_id: int, lane: Lane, model: str | None) -> bool:
    """Let a lane or model go on, whoever paused it; what feedback had cut is forgotten. False: it was open."""
    await _lock_account(connection, account_id)
    values = {"account_id": account_id, "lane": lane, "model": model}
    row = await connection.execute(text(_RESUME_LANE if model is None else _RESUME_MODEL), values)
    return row.first() is not None


async def limit_flow(
    connection: AsyncConnection, account_id: int, lane: Lane, model: str | None, *, max_in_flight: int | None
) -> None:
    """Let a lane or model have so many tasks in flight at most; None lifts the limit.

    What is in flight above it goes on to its end.
    """
    await _lock_account(connection, account_id)
    values = {"account_id": account_id, "lane": lane, "model": model, "max_in_flight": max_in_flight}
    await connection.execute(text(_LIMIT_LANE if model is None else _LIMIT_MODEL), values)


async def _lock_account(connection: AsyncConnection, account_id: int) -> None:
    await connection.execute(
        text(f"SELECT id FROM {SCHEMA}.account WHERE id = :id FOR NO KEY UPDATE"), {"id": account_id}
    )


QUEUED_SHOWN: Final = 10_000
"""Counting half a million queued jobs takes a second; nobody needs the last digit."""

_READ: Final = f"""
WITH waiting AS (
    SELECT lane, model, sum(counted.jobs) AS queued FROM {SCHEMA}.bucket CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM {SCHEMA}.job WHERE bucket_id = bucket.id AND {CLAIMABLE} LIMIT :more_than) AS first
    ) AS counted
    WHERE account_id = :account_id GROUP BY lane, model
),
flow AS (SELECT * FROM {SCHEMA}.flow WHERE account_id = :account_id),
model AS (
    SELECT lane, model, COALESCE(flow.in_flight, 0) AS in_flight, flow.max_in_flight,
        floor(flow.allowed) AS allowed, COALESCE(flow.state, '{FlowState.OPEN}') AS state, flow.pause_reason,
        flow.probe_at, COALESCE(waiting.queued, 0) AS queued
    FROM flow FULL JOIN waiting USING (lane, model)
),
limited AS (
    SELECT lane.name AS lane, CAST(lane.limits ->> 'max_in_flight' AS integer) AS max_in_flight,
        lane.limits ->> 'pause_reason' AS pause_reason
    FROM {SCHEMA}.account CROSS JOIN LATERAL jsonb_each(lane_limits) AS lane(name, limits)
    WHERE account.id = :account_id
),
lane AS (
    SELECT lane, NULL AS model, COALESCE(sum(model.in_flight), 0) AS in_flight,
        limited.max_in_flight, CAST(NULL AS double precision) AS allowed,
        CASE WHEN limited.pause_reason IS NULL THEN '{FlowState.OPEN}' ELSE '{FlowState.PAUSED}' END AS state,
        limited.pause_reason, CAST(NULL AS timestamptz) AS probe_at, COALESCE(sum(model.queued), 0) AS queued
    FROM model FULL JOIN limited USING (lane)
    GROUP BY lane, limited.max_in_flight, limited.pause_reason
)
SELECT lane, model, CAST(in_flight AS integer), max_in_flight, CAST(allowed AS integer), state, pause_reason,
    probe_at, CAST(queued AS integer)
FROM (
    SELECT * FROM lane
    UNION ALL
    SELECT lane, model, in_flight, max_in_flight, allowed, state, pause_reason, probe_at, queued FROM model
    WHERE in_flight > 0 OR queued > 0 OR max_in_flight IS NOT NULL OR allowed IS NOT NULL
       OR state <> '{FlowState.OPEN}'
) AS shown ORDER BY lane, model NULLS FIRST
"""

_SET_LANE: Final = f"""
UPDATE {SCHEMA}.account SET lane_limits = CASE WHEN new.limits = '{{{{}}}}' THEN lane_limits - new.lane
    ELSE jsonb_set(lane_limits, ARRAY[new.lane], new.limits) END
FROM (SELECT id, CAST(:lane AS text) AS lane, {{limits}} AS limits
      FROM (SELECT id, COALESCE(lane_limits -> CAST(:lane AS text), '{{{{}}}}') AS old FROM {SCHEMA}.account
            WHERE id = :account_id) AS account) AS new
WHERE account.id = new.id AND {{where}}
RETURNING account.id
"""

_PAUSE_LANE: Final = _SET_LANE.format(
    limits="old || jsonb_build_object('pause_reason', CAST(:reason AS text))",
    where="lane_limits -> new.lane ->> 'pause_reason' IS NULL",
)
_RESUME_LANE: Final = _SET_LANE.format(
    limits="old - 'pause_reason'", where="lane_limits -> new.lane ->> 'pause_reason' IS NOT NULL"
)
_LIMIT_LANE: Final = _SET_LANE.format(
    limits="""CASE WHEN CAST(:max_in_flight AS integer) IS NULL THEN old - 'max_in_flight'
        ELSE old || jsonb_build_object('max_in_flight', CAST(:max_in_flight AS integer)) END""",
    where="true",
)

_PAUSE_MODEL: Final = f"""
INSERT INTO {SCHEMA}.flow AS flow (account_id, lane, model, state, pause_reason, paused_at)
VALUES (:account_id, :lane, :model, '{FlowState.PAUSED}', :reason, now())
ON CONFLICT (account_id, lane, model) DO UPDATE SET state = excluded.state, pause_reason = excluded.pause_reason,
    paused_at = excluded.paused_at, probe_at = NULL
WHERE flow.state <> '{FlowState.PAUSED}' OR flow.probe_at IS NOT NULL
RETURNING flow.model
"""

_RESUME_MODEL: Final = f"""
UPDATE {SCHEMA}.flow SET state = '{FlowState.OPEN}', pause_reason = NULL, paused_at = NULL, probe_at = NULL,
    failures = 0, pauses = 0, allowed = NULL
WHERE account_id = :account_id AND lane = :lane AND model = :model AND state <> '{FlowState.OPEN}'
RETURNING model
"""

_LIMIT_MODEL: Final = f"""
INSERT INTO {SCHEMA}.flow AS flow (account_id, lane, model, max_in_flight)
VALUES (:account_id, :lane, :model, :max_in_flight)
ON CONFLICT (account_id, lane, model) DO UPDATE SET max_in_flight = excluded.max_in_flight
"""
