"""The claim: which queued jobs go out now, and their attempts, committed before a byte leaves.

One claim locks the account's row, lets `store.walk` say whose turn it is, asks
`core.money` what can be paid, and debits rate, places and holds in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.answers import MOST_USD
from runware_jobs.core.identity import task_uuid
from runware_jobs.core.limits import PROBE_PATIENCE_S, FlowState
from runware_jobs.core.money import Purse, Purses, Request, admit
from runware_jobs.core.states import AttemptState, JobState, Kind, Lane

from .columns import SPENT_TODAY
from .plans import as_json
from .rates import TOKENS, pay
from .tables import SCHEMA
from .walk import CANDIDATES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.money import Verdict

    from .estimates import LearnedAs
    from .processes import Owner

_LOOKS: Final = 8
"""So often one claim looks past those who cannot pay or are full, before it is content with what it has."""


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
    run: int
    results_expected: int

    @property
    def learned_as(self) -> LearnedAs:
        """Name what was learned of tasks like it."""
        return self.model or self.params["taskType"], self.size


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim took, and when to come back when a limit cut it short (None: when woken).

    `wants_turn`: nothing was taken, only because there was no token; come back with a turn.
    `owes_turn`: what was taken is not paid with one; wait for it before sending.
    """

    jobs: tuple[Claimed, ...] = ()
    again_in_s: float | None = None
    wants_turn: bool = False
    owes_turn: bool = False


async def claim(
    connection: AsyncConnection,
    owner: Owner,
    *,
    secret: bytes,
    limit: int,
    send_window_s: float,
    has_turn: bool = False,
) -> Claim:
    """Take at most `limit` due jobs of the owner's account and commit to sending them.

    Nothing is sent here, and nothing is taken by a process whose lease has lapsed. The attempts are `sending`, owned, and fenced:
    `send_before` lies `send_window_s` ahead on the database's clock. The one request that
    they go out in is paid here with a token, or was with the turn that the caller has.
    """
    values: dict[str, Any] = {
        "account_id": owner.account_id,
        "owner_id": owner.id,
        "epoch": owner.epoch,
        "send_window_s": send_window_s,
        "probe_patience_s": PROBE_PATIENCE_S,
    }
    account = (await connection.execute(text(_ACCOUNT), values)).mappings().one()
    room = min(limit, account["max_in_flight"] - account["in_flight"])
    if account["state"] != "open" or room <= 0 or not account["has_lease"]:
        return Claim()
    past = _Past()
    if not has_turn and account["tokens"] < 1:
        # It only looks whether there is anything to take: nobody waits for a turn that
        # would then be lost to others.
        return Claim(wants_turn=bool(await _candidates(connection, owner.account_id, 1, past, wide=False)))
    brake = _brake(account)
    taken: list[Claimed] = []
    for look in range(_LOOKS):
        rows = await _candidates(connection, owner.account_id, room - len(taken), past, wide=look > 0)
        if not rows:
            break
        purses = await _purses(connection, rows, brake)
        verdict = admit([_request(row) for row in rows], purses)
        await _pause_exhausted(connection, owner.account_id, verdict)
        if verdict.admitted:
            admitted = {row["job_id"]: row for row in rows}
            taken += await _take(
                connection, values, [admitted[one] for one in verdict.admitted], verdict, secret
            )
        # Whoever cannot pay now stands at the head of the turns until it can, and so does
        # what models had room for only in part: look past.
        may_have_more = past.add(verdict) or (rows[0]["is_cut"] and verdict.admitted)
        if len(taken) >= room or not may_have_more:
            break
    if not taken:
        return Claim()
    # A turn that was taken since we looked may have been the last for now.
    owes_turn = not has_turn and not await pay(connection, owner.account_id)
    return Claim(tuple(taken), again_in_s=0.0, owes_turn=owes_turn)


@dataclass(slots=True)
class _Past:
    """Batches and tenants that this claim looks past."""

    batches: set[UUID] = field(default_factory=set)
    tenants: set[str] = field(default_factory=set)

    def add(self, verdict: Verdict) -> bool:
        """Look past whom the money kept back; False when there is nobody new."""
        batches = verdict.short_batches | verdict.exhausted_batches
        tenants = verdict.short_tenants | verdict.exhausted_tenants
        is_new = not (batches <= self.batches and tenants <= self.tenants)
        self.batches |= batches
        self.tenants |= tenants
        return is_new


async def _candidates(
    connection: AsyncConnection, account_id: int, room: int, past: _Past, *, wide: bool
) -> list[dict[str, Any]]:
    values = {
        "account_id": account_id,
        "room": room,
        "wide": wide,
        "short_batches": [str(batch_id) for batch_id in past.batches],
        "short_tenants": list(past.tenants),
    }
    return [dict(row) for row in (await connection.execute(text(CANDIDATES), values)).mappings()]


async def _take(
    connection: AsyncConnection,
    values: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    verdict: Verdict,
    secret: bytes,
) -> list[Claimed]:
    claimed = {task_uuid(secret, row["job_id"], row["run"], row["number"]): row for row in rows}
    items = [
        {
            "task_uuid": str(task),
            "job_id": str(row["job_id"]),
            "batch_id": str(row["batch_id"]) if row["batch_id"] else None,
            "hold_usd": verdict.holds.get(row["job_id"]),
            **{name: row[name] for name in ("run", "number", "bucket_id", "tenant", "lane", "model", "size")},
        }
        for task, row in claimed.items()
    ]
    taken = await connection.execute(text(_TAKE), {**values, "rows": as_json(items)})
    mine = set(taken.scalars())
    return [_claimed(task, row) for task, row in claimed.items() if task in mine]


def _claimed(task: UUID, row: dict[str, Any]) -> Claimed:
    return Claimed(
        job_id=row["job_id"],
        task_uuid=task,
        kind=Kind(row["kind"]),
        lane=Lane(row["lane"]),
        model=row["model"],
        size=row["size"],
        tenant=row["tenant"],
        params=row["params"],
        run=row["run"],
        results_expected=row["results_expected"],
    )


def _request(row: dict[str, Any]) -> Request:
    # An upload is free, and its answers tell no cost that a price could be learned from.
    price = Decimal(0) if row["lane"] == Lane.UPLOAD else row["price_usd"]
    return Request(
        job_id=row["job_id"],
        batch_id=row["batch_id"],
        tenant=row["tenant"],
        expected_usd=None if price is None else price * row["results_expected"],
    )


def _brake(account: Any) -> Purse | None:
    if account["daily_limit_usd"] is None:
        return None
    return Purse(account["daily_limit_usd"], account["spent_today_usd"], account["held_usd"])


async def _purses(connection: AsyncConnection, rows: Sequence[dict[str, Any]], brake: Purse | None) -> Purses:
    """Lock the batches and tenants of these rows, and read what each may still spend."""
    ids = sorted({str(row["batch_id"]) for row in rows if row["batch_id"] is not None})
    names = sorted({row["tenant"] for row in rows})
    purses = Purses(brake)
    for found in (await connection.execute(text(_PURSES), {"ids": ids, "names": names})).mappings():
        if found["budget_usd"] is not None:
            purse = Purse(found["budget_usd"], found["spent_usd"], found["held_usd"])
            if found["batch_id"] is not None:
                purses.batches[found["batch_id"]] = purse
            else:
                purses.tenants[found["tenant"]] = purse
    if purses.are_limited() and any(row["price_usd"] is None for row in rows):
        for out in (
            await connection.execute(text(_UNPRICED), {"account_id": rows[0]["account_id"]})
        ).mappings():
            concerned = (
                purses.brake if out["is_ours"] else None,
                purses.batches.get(out["batch_id"]),
                purses.tenants.get(out["tenant"]),
            )
            for one in concerned:
                if one is not None:
                    one.has_unpriced = True
    return purses


async def _pause_exhausted(connection: AsyncConnection, account_id: int, verdict: Verdict) -> None:
    for ids, statement in (
        (sorted(map(str, verdict.exhausted_batches)), _PAUSE_BATCHES),
        (sorted(verdict.exhausted_tenants), _PAUSE_TENANTS),
    ):
        if ids:
            await connection.execute(text(statement), {"ids": ids, "account_id": account_id})


_ACCOUNT: Final = f"""
SELECT state, in_flight, max_in_flight, max_requests_per_s, daily_limit_usd, held_usd,
    {SPENT_TODAY} AS spent_today_usd,
    {TOKENS} AS tokens,
    EXISTS (SELECT FROM {SCHEMA}.process WHERE id = :owner_id AND epoch = :epoch AND stopped_at IS NULL)
        AS has_lease
-- NO KEY: an open transaction that has enqueued holds a key share of this row, and
-- no claim waits for a caller.
FROM {SCHEMA}.account WHERE id = :account_id FOR NO KEY UPDATE
"""

# Batches before tenants, each in order, as in `store.counters`: accounts may share them.
_PURSES: Final = f"""
WITH batch AS (
    SELECT id, budget_usd, spent_usd, held_usd FROM {SCHEMA}.batch WHERE id = ANY (CAST(:ids AS uuid[]))
    ORDER BY id FOR NO KEY UPDATE
),
tenant AS (
    SELECT name, budget_usd, spent_usd, held_usd FROM {SCHEMA}.tenant WHERE name = ANY (CAST(:names AS text[]))
      AND (SELECT count(*) FROM batch) >= 0
    ORDER BY name FOR NO KEY UPDATE
)
SELECT id AS batch_id, NULL AS tenant, budget_usd, spent_usd, held_usd FROM batch
UNION ALL SELECT NULL, name, budget_usd, spent_usd, held_usd FROM tenant
"""

# Of whom a job of unknown price is out. One that was handed back is not: counted, it
# would keep itself from going out again.
_UNPRICED: Final = f"""
SELECT DISTINCT job.batch_id, job.tenant, attempt.account_id = :account_id AS is_ours
FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id
WHERE attempt.state NOT IN ('{AttemptState.PREPARED}', '{AttemptState.ENDED}') AND attempt.hold_usd IS NULL
"""

# Buckets in one order, as `store.buckets` locks them: it follows batches that have ended
# without the account's lock. The rows of batches and tenants are locked by `_PURSES`.
_PAUSE_BATCHES: Final = f"""
WITH paused AS (
    UPDATE {SCHEMA}.batch SET state = 'paused', pause_reason = 'budget'
    WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'open')
UPDATE {SCHEMA}.bucket SET state = 'paused', pause_reason = 'budget', paused_at = now()
FROM (SELECT id FROM {SCHEMA}.bucket
      WHERE batch_id = ANY (CAST(:ids AS uuid[])) AND account_id = :account_id AND state = 'open'
      ORDER BY id FOR NO KEY UPDATE) AS spent
WHERE bucket.id = spent.id
"""

_PAUSE_TENANTS: Final = f"""
WITH paused AS (
    UPDATE {SCHEMA}.tenant SET state = 'paused', pause_reason = 'budget'
    WHERE name = ANY (CAST(:ids AS text[])) AND state = 'open')
UPDATE {SCHEMA}.bucket SET state = 'paused', pause_reason = 'budget', paused_at = now()
FROM (SELECT id FROM {SCHEMA}.bucket
      WHERE tenant = ANY (CAST(:ids AS text[])) AND account_id = :account_id AND state = 'open'
      ORDER BY id FOR NO KEY UPDATE) AS spent
WHERE bucket.id = spent.id
"""

_TAKE: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        task_uuid uuid, job_id uuid, run smallint, number smallint, bucket_id bigint, batch_id uuid,
        tenant text, lane text, model text, size text, hold_usd numeric)
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
    RETURNING attempt.task_uuid, attempt.job_id, attempt.number, attempt.hold_usd
),
moved AS (
    UPDATE {SCHEMA}.job SET state = '{JobState.SUBMITTING}', attempts = taken.number
    FROM taken WHERE job.id = taken.job_id AND job.state = '{JobState.QUEUED}'
),
account AS (
    UPDATE {SCHEMA}.account SET in_flight = in_flight + (SELECT count(*) FROM taken),
        held_usd = LEAST({MOST_USD}, held_usd + COALESCE((SELECT sum(hold_usd) FROM taken), 0))
    WHERE id = :account_id
),
bucket AS (
    UPDATE {SCHEMA}.bucket SET in_flight = in_flight + served.jobs, last_served_at = clock_timestamp()
    FROM (SELECT bucket_id, count(*) AS jobs FROM item JOIN taken USING (task_uuid) GROUP BY bucket_id) AS served
    WHERE bucket.id = served.bucket_id
),
batch AS (
    UPDATE {SCHEMA}.batch SET held_usd = LEAST({MOST_USD}, held_usd + held.usd)
    FROM (SELECT batch_id, COALESCE(sum(taken.hold_usd), 0) AS usd FROM item JOIN taken USING (task_uuid)
          WHERE batch_id IS NOT NULL GROUP BY batch_id) AS held
    WHERE batch.id = held.batch_id AND held.usd > 0
),
tenant AS (
    UPDATE {SCHEMA}.tenant SET held_usd = LEAST({MOST_USD}, held_usd + held.usd)
    FROM (SELECT tenant, COALESCE(sum(taken.hold_usd), 0) AS usd FROM item JOIN taken USING (task_uuid)
          GROUP BY tenant) AS held
    WHERE tenant.name = held.tenant AND held.usd > 0
),
flow AS (
    INSERT INTO {SCHEMA}.flow AS flow (account_id, lane, model, in_flight)
    SELECT :account_id, lane, model, count(*) FROM item JOIN taken USING (task_uuid) GROUP BY lane, model
    ON CONFLICT (account_id, lane, model) DO UPDATE SET in_flight = flow.in_flight + excluded.in_flight,
        -- Of a paused model the walk gives its probe only.
        state = CASE flow.state WHEN '{FlowState.PAUSED}' THEN '{FlowState.PROBING}' ELSE flow.state END,
        probe_at = CASE flow.state WHEN '{FlowState.OPEN}' THEN flow.probe_at
            ELSE clock_timestamp() + make_interval(secs => :probe_patience_s) END
)
SELECT task_uuid FROM taken
"""
