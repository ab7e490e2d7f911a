"""Processes and their leases: who is alive, and who follows an attempt.

A process owns attempts by (id, epoch). When its heartbeat lapses, others adopt
what it owned; when it wakes up again its epoch is past and it writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.states import AttemptState, Lane

from .estimates import LEARNED_AS
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .estimates import LearnedAs


@dataclass(frozen=True, slots=True)
class Owner:
    """One process as the database knows it; every guarded move names it."""

    id: int
    epoch: int
    account_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An attempt that this process follows from now on."""

    task_uuid: UUID
    lane: Lane
    learned_as: LearnedAs
    state: AttemptState
    accepted_s: float | None
    age_s: float


async def register(
    connection: AsyncConnection,
    *,
    account_id: int,
    host: str,
    pid: int,
    signals: Sequence[str],
    archives: bool = False,
) -> Owner:
    """Take a new lease; `signals` and `archives` say which outbox rows this process wants."""
    row = await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.process (account_id, host, pid, signals, archives)"
            " VALUES (:account_id, :host, :pid, CAST(:signals AS text[]), :archives) RETURNING id, epoch"
        ),
        {"account_id": account_id, "host": host, "pid": pid, "signals": list(signals), "archives": archives},
    )
    process_id, epoch = row.one()
    return Owner(process_id, epoch, account_id)


async def register_again(connection: AsyncConnection, owner: Owner) -> Owner:
    """Take a new lease for a process whose old one has lapsed."""
    row = await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.process (account_id, host, pid, signals, archives)"
            f" SELECT account_id, host, pid, signals, archives FROM {SCHEMA}.process WHERE id = :id RETURNING id, epoch"
        ),
        {"id": owner.id},
    )
    process_id, epoch = row.one()
    return Owner(process_id, epoch, owner.account_id)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process says of itself with its heartbeat."""

    following: int = 0
    poll_lag_s: float = 0.0


_IDLE: Final = Pulse()


async def heartbeat(
    connection: AsyncConnection, owner: Owner, *, clocks: int, pulse: Pulse = _IDLE
) -> bool | None:
    """Renew the lease; tell whether this process is one of the `clocks` that work.

    None: the lease had lapsed and others may have adopted everything. Nothing that
    this process remembers is its own; it must register anew.
    """
    # Two that see the same free seat must not both sit down.
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(:lock, CAST(:account_id % 2147483647 AS integer))"),
        {"lock": _SEATS_LOCK, "account_id": owner.account_id},
    )
    row = await connection.execute(
        text(
            f"""
            WITH seat AS (
                SELECT count(*) < :clocks AS is_free FROM {SCHEMA}.process
                WHERE account_id = :account_id AND is_clock AND stopped_at IS NULL AND id <> :id)
            UPDATE {SCHEMA}.process SET heartbeat_at = clock_timestamp(), is_clock = is_clock OR seat.is_free,
                following = :following, poll_lag_s = :poll_lag_s
            FROM seat WHERE id = :id AND epoch = :epoch AND stopped_at IS NULL RETURNING is_clock"""
        ),
        {
            "id": owner.id,
            "epoch": owner.epoch,
            "account_id": owner.account_id,
            "clocks": clocks,
            "following": pulse.following,
            "poll_lag_s": pulse.poll_lag_s,
        },
    )
    return row.scalar_one_or_none()


async def has_free_seat(connection: AsyncConnection, owner: Owner, *, clocks: int) -> bool:
    """Tell whether fewer than `clocks` processes work for the owner's account; writes nothing."""
    row = await connection.execute(
        text(
            f"SELECT count(*) < :clocks FROM {SCHEMA}.process"
            " WHERE account_id = :account_id AND is_clock AND stopped_at IS NULL"
        ),
        {"account_id": owner.account_id, "clocks": clocks},
    )
    return bool(row.scalar_one())


async def give_back(connection: AsyncConnection, owner: Owner) -> None:
    """End the lease; what this process followed is free for adoption at once."""
    await connection.execute(
        text(
            f"WITH stopped AS (UPDATE {SCHEMA}.process SET stopped_at = now(), is_clock = false"
            " WHERE id = :id AND epoch = :epoch)"
            f" UPDATE {SCHEMA}.attempt SET owner_id = NULL, epoch = NULL"
            f" WHERE owner_id = :id AND epoch = :epoch AND state IN ('{AttemptState.ACCEPTED}', '{AttemptState.UNCLEAR}')"
        ),
        {"id": owner.id, "epoch": owner.epoch},
    )


async def adopt(connection: AsyncConnection, owner: Owner, *, lease_s: float, limit: int) -> list[Adopted]:
    """Take over at most `limit` attempts that nobody alive follows.

    Those are: given back, left by a lapsed process, or `sending` for longer than
    any request takes, because a claim's own commit was lost on the way. One that was
    `sending` becomes `unclear`: its owner may have sent it. The fence of its send has
    passed: a process may have claimed in the last moment of its lease.
    """
    values = {
        "account_id": owner.account_id,
        "owner_id": owner.id,
        "epoch": owner.epoch,
        "lease_s": lease_s,
        "limit": limit,
    }
    await lapse(connection, lease_s=lease_s)
    rows = await connection.execute(text(_ADOPT), values)
    return [_adopted(row) for row in rows.mappings()]


async def lapse(connection: AsyncConnection, *, lease_s: float) -> None:
    """End the leases whose heartbeat is older than `lease_s`: their attempts and seats are free."""
    await connection.execute(text(_LAPSE), {"lease_s": lease_s})


async def owned(connection: AsyncConnection, owner: Owner) -> list[Adopted]:
    """List the attempts that this process is to follow, as its rows say."""
    rows = await connection.execute(text(_OWNED), {"owner_id": owner.id, "epoch": owner.epoch})
    return [_adopted(row) for row in rows.mappings()]


def _adopted(row: Any) -> Adopted:
    return Adopted(
        task_uuid=row["task_uuid"],
        lane=Lane(row["lane"]),
        learned_as=(row["learned_as"], row["size"]),
        state=AttemptState(row["state"]),
        accepted_s=row["accepted_s"],
        age_s=row["age_s"],
    )


_SEATS_LOCK: Final = 728_159_021

_LAPSE: Final = f"""
UPDATE {SCHEMA}.process SET epoch = epoch + 1, stopped_at = now(), is_clock = false
WHERE id IN (
    SELECT id FROM {SCHEMA}.process
    WHERE stopped_at IS NULL AND heartbeat_at < clock_timestamp() - make_interval(secs => :lease_s)
    FOR UPDATE SKIP LOCKED)
"""

_ADOPT: Final = f"""
WITH orphan AS (
    SELECT attempt.task_uuid FROM {SCHEMA}.attempt LEFT JOIN {SCHEMA}.process ON process.id = attempt.owner_id
    WHERE attempt.account_id = :account_id AND attempt.state NOT IN ('{AttemptState.PREPARED}', '{AttemptState.ENDED}')
      -- Whoever has lost its own lease, perhaps a statement ago, takes over nothing.
      AND EXISTS (SELECT FROM {SCHEMA}.process WHERE id = :owner_id AND epoch = :epoch AND stopped_at IS NULL)
      AND (attempt.owner_id IS NULL OR process.stopped_at IS NOT NULL
           OR (attempt.state = '{AttemptState.SENDING}'
               AND attempt.send_before < clock_timestamp() - make_interval(secs => :lease_s)))
      -- Settled any earlier, a resend could pass a first send that is still to leave.
      AND (attempt.state <> '{AttemptState.SENDING}' OR attempt.send_before < clock_timestamp())
    LIMIT :limit FOR UPDATE OF attempt SKIP LOCKED
)
UPDATE {SCHEMA}.attempt SET owner_id = :owner_id, epoch = :epoch,
    state = CASE WHEN attempt.state = '{AttemptState.SENDING}' THEN '{AttemptState.UNCLEAR}' ELSE attempt.state END,
    settlement = CASE WHEN attempt.state = '{AttemptState.SENDING}'
        THEN attempt.settlement || jsonb_build_array(
            jsonb_build_object('step', 'adopt', 'answer', 'unclear', 'at', now()))
        ELSE attempt.settlement END
FROM orphan, {SCHEMA}.job
WHERE attempt.task_uuid = orphan.task_uuid AND job.id = attempt.job_id
RETURNING attempt.task_uuid, job.lane, attempt.state, {LEARNED_AS} AS learned_as, attempt.size,
    CAST(EXTRACT(EPOCH FROM now() - attempt.accepted_at) AS double precision) AS accepted_s,
    CAST(EXTRACT(EPOCH FROM now() - attempt.submitted_at) AS double precision) AS age_s
"""

_OWNED: Final = f"""
SELECT attempt.task_uuid, job.lane, attempt.state, {LEARNED_AS} AS learned_as, attempt.size,
    CAST(EXTRACT(EPOCH FROM now() - attempt.accepted_at) AS double precision) AS accepted_s,
    CAST(EXTRACT(EPOCH FROM now() - attempt.submitted_at) AS double precision) AS age_s
FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id
WHERE owner_id = :owner_id AND epoch = :epoch AND attempt.state IN ('{AttemptState.ACCEPTED}', '{AttemptState.UNCLEAR}')
"""
