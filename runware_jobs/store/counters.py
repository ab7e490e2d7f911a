"""Counters: places and money that come back when attempts end or are handed back.

Places of the account, its flows and buckets; holds, and what was spent, of the account,
batches and tenants. Whatever the platform's outcomes say of a model changes its flow
in the same transaction (`core.limits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.answers import MOST_USD
from runware_jobs.core.limits import Flow, FlowState, Heard, feed_back, hear, is_ordinary
from runware_jobs.core.states import AttemptEnd, AttemptState, Lane

from .columns import SCHEMA, SPENT_TODAY
from .plans import as_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.moves import Move

_RELEASES: Final = frozenset({AttemptState.ENDED, AttemptState.PREPARED})


async def release(connection: AsyncConnection, moves: Iterable[Move]) -> None:
    """Free what the moves that end or hand back attempts have used; the last thing a transaction does.

    Their attempts are written already. From here to the commit the account is locked.
    """
    freed = [move for move in moves if move.attempt_to in _RELEASES]
    if not freed:
        return
    # Two statements: the second sees what those have committed whom the first waited for.
    # In one, each UPDATE would meet rows newer than itself and lock them anew, in the
    # queue behind those who wait for this very transaction.
    await connection.execute(text(_LOCK), {"ids": [str(move.live.task_uuid) for move in freed]})
    rows = await connection.execute(text(_RELEASE), {"moves": as_json([_row(move) for move in freed])})
    flows = [dict(row) for row in rows.mappings()]
    heard = hear(freed)
    changes = []
    for flow in flows:
        said = heard.get((Lane(flow["lane"]), flow["model"]), Heard())
        if not is_ordinary(flow, said):
            change = feed_back(_flow(flow), said)
            if change is not None:
                key = {name: flow[name] for name in ("account_id", "lane", "model")}
                changes.append({**key, **{name: getattr(change, name) for name in change.__slots__}})
    if changes:
        await connection.execute(text(_FEED_BACK), {"changes": as_json(changes)})


def _row(move: Move) -> dict[str, Any]:
    live, cost = move.live, move.cost_usd
    return {
        "task_uuid": str(live.task_uuid),
        "attempt_from": live.state,
        "cost_added_usd": None if cost is None else cost - (live.known_cost_usd or 0),
    }


def _flow(row: Any) -> Flow:
    return Flow(
        in_flight=row["in_flight"],
        limit=min(row["max_in_flight"] or row["account_max"], row["account_max"]),
        allowed=row["allowed"],
        since_cut_s=row["since_cut_s"],
        state=FlowState(row["state"]),
        by_hand=row["state"] == FlowState.PAUSED and row["probe_at"] is None,
        pause_reason=row["pause_reason"],
        failures=row["failures"],
        pauses=row["pauses"],
    )


_TODAY: Final = "CAST(clock_timestamp() AS date)"

# The account before anything else, as a claim does, then batches and tenants, which
# accounts may share; each waits for the one before, because the order of CTEs is
# nobody's promise.
_LOCK: Final = f"""
WITH freed AS (
    SELECT job.account_id, job.batch_id, job.tenant
    FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id
    WHERE task_uuid = ANY (CAST(:ids AS uuid[]))
),
locked AS (
    SELECT id FROM {SCHEMA}.account WHERE id IN (SELECT account_id FROM freed) ORDER BY id FOR NO KEY UPDATE
),
locked_batch AS (
    SELECT id FROM {SCHEMA}.batch WHERE id IN (SELECT batch_id FROM freed) AND (SELECT count(*) FROM locked) >= 0
    ORDER BY id FOR NO KEY UPDATE
),
locked_tenant AS (
    SELECT name FROM {SCHEMA}.tenant
    WHERE name IN (SELECT tenant FROM freed) AND (SELECT count(*) FROM locked_batch) >= 0
    ORDER BY name FOR NO KEY UPDATE
)
SELECT count(*) FROM locked_tenant
"""

# What ended with no cost told stays spent as it was held, unless it is known to have
# failed. One that was lost, and is put right by hand, had been freed. The day only goes
# forward: this transaction may be older than midnight.
_RELEASE: Final = f"""
WITH move AS (
    SELECT * FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS move(
        task_uuid uuid, attempt_from text, cost_added_usd numeric)
),
freed AS (
    SELECT job.account_id, job.bucket_id, job.batch_id, job.tenant, job.lane, job.model,
        attempt_from = '{AttemptState.ENDED}' AND attempt.finished_at < {_TODAY} AS is_of_the_past,
        CASE WHEN attempt_from = '{AttemptState.ENDED}' THEN 0 ELSE 1 END AS place,
        CASE WHEN attempt_from = '{AttemptState.ENDED}' THEN 0 ELSE COALESCE(hold_usd, 0) END AS held,
        COALESCE(CASE outcome
            WHEN '{AttemptEnd.LOST}' THEN GREATEST(attempt.cost_usd, hold_usd)
            WHEN '{AttemptEnd.SUCCEEDED}' THEN COALESCE(attempt.cost_usd, hold_usd)
            ELSE attempt.cost_usd END, 0)
        - CASE WHEN attempt_from = '{AttemptState.ENDED}'
            THEN COALESCE(GREATEST(attempt.cost_usd - COALESCE(cost_added_usd, 0), hold_usd), 0) ELSE 0 END AS spent
    FROM move JOIN {SCHEMA}.attempt USING (task_uuid) JOIN {SCHEMA}.job ON job.id = attempt.job_id
    WHERE attempt_from <> '{AttemptState.PREPARED}'
),
account AS (
    UPDATE {SCHEMA}.account SET in_flight = GREATEST(0, in_flight - total.places),
        held_usd = GREATEST(0, held_usd - total.held),
        spent_usd = LEAST({MOST_USD}, GREATEST(0, {SPENT_TODAY} + total.spent)),
        spend_day = GREATEST(spend_day, {_TODAY})
    FROM (SELECT account_id, sum(place) AS places, sum(held) AS held,
              -- What a correction gives back of another day was never counted in this one.
              sum(CASE WHEN is_of_the_past THEN GREATEST(0, spent) ELSE spent END) AS spent
          FROM freed GROUP BY account_id) AS total
    WHERE account.id = total.account_id
    RETURNING account.id, account.max_in_flight
),
bucket AS (
    UPDATE {SCHEMA}.bucket SET in_flight = GREATEST(0, in_flight - total.places)
    FROM (SELECT bucket_id, sum(place) AS places FROM freed GROUP BY bucket_id) AS total
    WHERE bucket.id = total.bucket_id AND total.places > 0
),
batch AS (
    UPDATE {SCHEMA}.batch SET held_usd = GREATEST(0, held_usd - total.held),
        spent_usd = LEAST({MOST_USD}, GREATEST(0, spent_usd + total.spent))
    FROM (SELECT batch_id, sum(held) AS held, sum(spent) AS spent FROM freed
          WHERE batch_id IS NOT NULL GROUP BY batch_id) AS total
    WHERE batch.id = total.batch_id AND (total.held <> 0 OR total.spent <> 0)
),
tenant AS (
    UPDATE {SCHEMA}.tenant SET held_usd = GREATEST(0, held_usd - total.held),
        spent_usd = LEAST({MOST_USD}, GREATEST(0, spent_usd + total.spent))
    FROM (SELECT tenant, sum(held) AS held, sum(spent) AS spent FROM freed GROUP BY tenant) AS total
    WHERE tenant.name = total.tenant AND (total.held <> 0 OR total.spent <> 0)
),
flow AS (
    UPDATE {SCHEMA}.flow SET in_flight = GREATEST(0, in_flight - total.places)
    FROM (SELECT account_id, lane, model, sum(place) AS places FROM freed GROUP BY account_id, lane, model) AS total
    WHERE (flow.account_id, flow.lane, flow.model) = (total.account_id, total.lane, total.model)
      AND total.places > 0
    RETURNING flow.*
)
SELECT flow.account_id, lane, model, flow.in_flight, flow.max_in_flight, account.max_in_flight AS account_max,
    allowed, state, pause_reason, probe_at, failures, pauses,
    CAST(EXTRACT(EPOCH FROM clock_timestamp() - cut_at) AS double precision) AS since_cut_s
FROM flow JOIN account ON account.id = flow.account_id
"""

_FEED_BACK: Final = f"""
UPDATE {SCHEMA}.flow SET allowed = change.allowed, state = change.state, pause_reason = change.pause_reason,
    failures = change.failures, pauses = change.pauses,
    cut_at = CASE WHEN change.cut THEN clock_timestamp() ELSE cut_at END,
    paused_at = CASE change.state WHEN '{FlowState.OPEN}' THEN NULL ELSE COALESCE(paused_at, clock_timestamp()) END,
    probe_at = CASE WHEN change.state = '{FlowState.OPEN}' THEN NULL
        WHEN change.probe_in_s IS NULL THEN probe_at
        ELSE clock_timestamp() + make_interval(secs => change.probe_in_s) END
FROM jsonb_to_recordset(CAST(:changes AS jsonb)) AS change(
    account_id bigint, lane text, model text, allowed double precision, state text, pause_reason text,
    failures integer, pauses integer, cut boolean, probe_in_s double precision)
WHERE (flow.account_id, flow.lane, flow.model) = (change.account_id, change.lane, change.model)
"""
