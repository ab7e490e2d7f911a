"""The claim: which queued jobs go out now, and their attempts, committed before a byte leaves.

One claim locks the account's row, walks its open buckets (priority, then in
turns, least recently served first, oldest job first), asks `core.money` what can
be paid, and debits rate, in-flight and holds in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.identity import task_uuid
from runware_jobs.core.money import Purse, Request, admit
from runware_jobs.core.states import AttemptState, JobState, Kind, Lane
from runware_jobs.core.task_types import size_of

from .estimates import LEARNED_AS
from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .processes import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that is to be sent now, under a task UUID that is written already."""

    job_id: UUID
    task_uuid: UUID
    kind: Kind
    lane: Lane
    model: str
    size: str
    tenant: str
    params: dict[str, Any]
    expected_s: float | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim took, and when to come back when a limit cut it short (None: when woken)."""

    jobs: tuple[Claimed, ...] = ()
    again_in_s: float | None = None


async def claim(
    connection: AsyncConnection, owner: Owner, *, secret: bytes, limit: int, send_window_s: float
) -> Claim:
    """Take at most `limit` due jobs of the owner's account and commit to sending them.

    Nothing is sent here, and nothing is taken by a process whose lease has lapsed. The attempts are `sending`, owned, and fenced:
    `send_before` lies `send_window_s` ahead on the database's clock.
    """
    values: dict[str, Any] = {"account_id": owner.account_id, "owner_id": owner.id, "epoch": owner.epoch}
    account = (await connection.execute(text(_ACCOUNT), values)).mappings().one()
    room = min(limit, account["max_in_flight"] - account["in_flight"])
    if account["state"] != "open" or room <= 0 or not account["has_lease"]:
        return Claim()
    if account["tokens"] < 1:
        return Claim(again_in_s=(1 - account["tokens"]) / account["max_requests_per_s"])
    candidates = (
        await connection.execute(text(_CANDIDATES), {"account_id": owner.account_id, "room": room})
    ).mappings()
    rows = {row["job_id"]: dict(row) for row in candidates}
    if not rows:
        return Claim()
    purses = await _purses(connection, account, rows.values())
    verdict = admit([_request(row) for row in rows.values()], purses)
    for batch_id in verdict.exhausted_batches:
        await connection.execute(text(_PAUSE_BATCH), {"batch_id": batch_id})
    claimed = [_claimed(secret, rows[job_id]) for job_id in verdict.admitted]
    if not claimed:
        return Claim()
    values |= {
        "rows": as_json(
            [
                {
                    "task_uuid": str(job.task_uuid),
                    "job_id": str(job.job_id),
                    "run": rows[job.job_id]["run"],
                    "number": rows[job.job_id]["number"],
                    "bucket_id": rows[job.job_id]["bucket_id"],
                    "batch_id": str(rows[job.job_id]["batch_id"]) if rows[job.job_id]["batch_id"] else None,
                    "size": job.size,
                    "hold_usd": verdict.holds.get(job.job_id),
                }
                for job in claimed
            ]
        ),
        "send_window_s": send_window_s,
        "tokens": account["tokens"] - 1,
    }
    taken = {row[0] for row in (await connection.execute(text(_TAKE), values)).all()}
    return Claim(tuple(job for job in claimed if job.task_uuid in taken), again_in_s=0.0)


def _claimed(secret: bytes, row: dict[str, Any]) -> Claimed:
    return Claimed(
        job_id=row["job_id"],
        task_uuid=task_uuid(secret, row["job_id"], row["run"], row["number"]),
        kind=Kind(row["kind"]),
        lane=Lane(row["lane"]),
        model=row["model"],
        size=size_of(row["params"]),
        tenant=row["tenant"],
        params=row["params"],
        expected_s=row["duration_s"],
    )


def _request(row: dict[str, Any]) -> Request:
    price = row["price_usd"]
    return Request(
        job_id=row["job_id"],
        batch_id=row["batch_id"],
        expected_usd=None if price is None else price * row["results_expected"],
    )


async def _purses(
    connection: AsyncConnection, account: Any, rows: Any
) -> tuple[Purse | None, dict[UUID, Purse]]:
    """Read what may still be spent: by the account today, and by each batch with a budget."""
    daily = account["daily_limit_usd"]
    brake = (
        None
        if daily is None
        else Purse(
            daily, account["spent_today_usd"], account["held_usd"], has_unpriced=account["has_unpriced"]
        )
    )
    ids = sorted({str(row["batch_id"]) for row in rows if row["batch_id"] is not None})
    if not ids:
        return brake, {}
    found = await connection.execute(text(_BATCHES), {"ids": ids})
    return brake, {
        row["id"]: Purse(
            row["budget_usd"], row["spent_usd"], row["held_usd"], has_unpriced=row["has_unpriced"]
        )
        for row in found.mappings()
    }


_ACCOUNT: Final = f"""
SELECT state, in_flight, max_in_flight, max_requests_per_s, daily_limit_usd, held_usd,
    CASE WHEN spend_day = CURRENT_DATE THEN spent_usd ELSE 0 END AS spent_today_usd,
    -- A twentieth of a second's worth may be saved up, so that no window of two
    -- seconds sees more than the rate allows and one request on top.
    LEAST(1 + max_requests_per_s / 20,
          tokens + max_requests_per_s * EXTRACT(EPOCH FROM clock_timestamp() - tokens_at)) AS tokens,
    EXISTS (SELECT FROM {SCHEMA}.process WHERE id = :owner_id AND epoch = :epoch AND stopped_at IS NULL)
        AS has_lease,
    CASE WHEN daily_limit_usd IS NULL THEN false ELSE EXISTS (
        SELECT FROM {SCHEMA}.attempt WHERE attempt.account_id = account.id AND hold_usd IS NULL
            AND attempt.state NOT IN ('{AttemptState.PREPARED}', '{AttemptState.ENDED}')) END AS has_unpriced
-- NO KEY: an open transaction that has enqueued holds a key share of this row, and
-- no claim waits for a caller.
FROM {SCHEMA}.account WHERE id = :account_id FOR NO KEY UPDATE
"""

_CANDIDATES: Final = f"""
SELECT job.id AS job_id, job.kind, job.lane, job.model, job.tenant, job.params, job.run, job.bucket_id,
    job.batch_id, job.results_expected, estimate.cost_usd AS price_usd,
    estimate.duration_s,
    job.attempts + CASE WHEN prepared.task_uuid IS NULL THEN 1 ELSE 0 END AS number
FROM (
    SELECT due.id, priority, turn, last_served_at FROM {SCHEMA}.bucket CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY run_at, id) AS turn FROM {SCHEMA}.job
        WHERE bucket_id = bucket.id AND state = '{JobState.QUEUED}' AND run_at <= now()
        ORDER BY run_at, id LIMIT :room) AS due
    WHERE bucket.account_id = :account_id AND bucket.state = 'open'
    ORDER BY priority DESC, turn, last_served_at NULLS FIRST LIMIT :room
) AS picked
JOIN {SCHEMA}.job ON job.id = picked.id
LEFT JOIN {SCHEMA}.attempt AS prepared ON prepared.job_id = job.id AND prepared.run = job.run
    AND prepared.state = '{AttemptState.PREPARED}'
LEFT JOIN {SCHEMA}.estimate ON estimate.model = {LEARNED_AS} AND estimate.size = ''
WHERE job.state = '{JobState.QUEUED}' AND (job.deadline_at IS NULL OR job.deadline_at > now())
  AND (job.start_deadline_at IS NULL OR job.start_deadline_at > now() OR job.submitted_at IS NOT NULL)
ORDER BY picked.priority DESC, turn, last_served_at NULLS FIRST
FOR UPDATE OF job SKIP LOCKED
"""

_BATCHES: Final = f"""
SELECT id, budget_usd, spent_usd, held_usd, EXISTS (
    SELECT FROM {SCHEMA}.job JOIN {SCHEMA}.attempt ON attempt.job_id = job.id
        -- One that was handed back is not out: counted, it would keep itself from going out again.
        AND attempt.state NOT IN ('{AttemptState.PREPARED}', '{AttemptState.ENDED}')
    WHERE job.batch_id = batch.id AND attempt.hold_usd IS NULL) AS has_unpriced
FROM {SCHEMA}.batch WHERE id = ANY (CAST(:ids AS uuid[])) AND budget_usd IS NOT NULL ORDER BY id
FOR NO KEY UPDATE
"""

_PAUSE_BATCH: Final = f"""
WITH paused AS (
    UPDATE {SCHEMA}.batch SET state = 'paused', pause_reason = 'budget'
    WHERE id = :batch_id AND state = 'open' RETURNING id)
UPDATE {SCHEMA}.bucket SET state = 'paused', pause_reason = 'budget', paused_at = now()
FROM paused WHERE bucket.batch_id = paused.id AND bucket.state = 'open'
"""

_TAKE: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        task_uuid uuid, job_id uuid, run smallint, number smallint, bucket_id bigint, batch_id uuid,
        size text, hold_usd numeric)
),
taken AS (
    INSERT INTO {SCHEMA}.attempt (task_uuid, job_id, run, number, account_id, state, owner_id, epoch, send_before,
        size, hold_usd, submitted_at)
    SELECT task_uuid, job_id, run, number, :account_id, '{AttemptState.SENDING}', :owner_id, :epoch,
        clock_timestamp() + make_interval(secs => :send_window_s), size, hold_usd, clock_timestamp()
    FROM item
    ON CONFLICT (task_uuid) DO UPDATE SET state = excluded.state, owner_id = excluded.owner_id,
        epoch = excluded.epoch, send_before = excluded.send_before, hold_usd = excluded.hold_usd,
        submitted_at = excluded.submitted_at
    WHERE attempt.state = '{AttemptState.PREPARED}'
    RETURNING task_uuid, job_id, number, hold_usd
),
moved AS (
    UPDATE {SCHEMA}.job SET state = '{JobState.SUBMITTING}', attempts = taken.number
    FROM taken WHERE job.id = taken.job_id AND job.state = '{JobState.QUEUED}'
),
account AS (
    UPDATE {SCHEMA}.account SET in_flight = in_flight + (SELECT count(*) FROM taken),
        held_usd = held_usd + COALESCE((SELECT sum(hold_usd) FROM taken), 0),
        tokens = :tokens, tokens_at = clock_timestamp()
    WHERE id = :account_id
),
bucket AS (
    UPDATE {SCHEMA}.bucket SET in_flight = in_flight + served.jobs, last_served_at = clock_timestamp()
    FROM (SELECT bucket_id, count(*) AS jobs FROM item JOIN taken USING (task_uuid) GROUP BY bucket_id) AS served
    WHERE bucket.id = served.bucket_id
),
batch AS (
    UPDATE {SCHEMA}.batch SET held_usd = held_usd + held.usd
    FROM (SELECT batch_id, COALESCE(sum(taken.hold_usd), 0) AS usd FROM item JOIN taken USING (task_uuid)
          WHERE batch_id IS NOT NULL GROUP BY batch_id) AS held
    WHERE batch.id = held.batch_id AND held.usd > 0
)
SELECT task_uuid FROM taken
"""
