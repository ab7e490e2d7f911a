"""What may have been sent and is not known: for people who settle it, and after a database restore.

A restored copy has forgotten claims. Their task UUIDs are derived, so each is made
again from the job and asked about; `attach` writes the attempt that the copy has lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.identity import task_uuid
from runware_jobs.core.states import AttemptEnd, AttemptState, Billing, JobState, Lane

from .columns import SCHEMA
from .estimates import LEARNED_AS
from .plans import as_json
from .processes import Adopted
from .recount import recount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .processes import Owner

ATTACHED: Final = "recover"
"""The step that begins the record of an attempt which `attach` has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """An attempt of which nobody knows whether the platform took it, or what became of it.

    `is_lost`: it was given up, and its job has ended. `is_followed`: a process that is
    alive settles it. `steps` are what was asked, in order, and what came back.
    """

    account_id: int
    job_id: UUID
    task_uuid: UUID
    tenant: str
    model: str
    run: int
    number: int
    age_s: float
    is_lost: bool
    is_followed: bool
    steps: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued job, with the task UUID that its next send would have, or has had since the copy."""

    job_id: UUID
    run: int
    number: int
    task_uuid: UUID


async def read_unclear(
    connection: AsyncConnection, *, job_ids: Sequence[UUID] = (), limit: int
) -> list[Unclear]:
    """List unclear attempts, and lost ones of jobs whose billing is unclear, the oldest first.

    `job_ids` empty: of all jobs.
    """
    rows = await connection.execute(
        text(_UNCLEAR), {"ids": [str(job_id) for job_id in job_ids], "limit": limit}
    )
    return [Unclear(**row) for row in rows.mappings()]


async def take_over(
    connection: AsyncConnection, owner: Owner, task_uuids: Iterable[UUID], *, also_from_the_living: bool
) -> list[Adopted]:
    """Own unclear attempts of this account from now on; give those that are ours.

    Without `also_from_the_living` only what no living process follows. From then on a
    former owner writes nothing: its moves name an owner that is not there any more.
    """
    rows = await connection.execute(
        text(_TAKE_OVER),
        {
            "ids": [str(task) for task in task_uuids],
            "account_id": owner.account_id,
            "owner_id": owner.id,
            "epoch": owner.epoch,
            "also_from_the_living": also_from_the_living,
        },
    )
    return [_adopted(row) for row in rows.mappings()]


async def read_candidates(
    connection: AsyncConnection,
    account_id: int,
    *,
    secret: bytes,
    created_before: datetime,
    after: UUID | None,
    limit: int,
) -> list[Candidate]:
    """Read a page of queued jobs that may have been sent, in the order of their ids, from behind `after`."""
    rows = await connection.execute(
        text(_CANDIDATES),
        {"account_id": account_id, "created_before": created_before, "after": after, "limit": limit},
    )
    return [
        Candidate(row.job_id, row.run, row.number, task_uuid(secret, row.job_id, row.run, row.number))
        for row in rows
    ]


async def count_candidates(connection: AsyncConnection, account_id: int, *, created_before: datetime) -> int:
    """Count what `read_candidates` would give."""
    row = await connection.execute(
        text(f"SELECT count(*) {_OF_THE_QUEUE}"), {"account_id": account_id, "created_before": created_before}
    )
    return int(row.scalar_one())


async def attach(
    connection: AsyncConnection, owner: Owner, candidates: Sequence[Candidate], *, sent_after: datetime
) -> list[Adopted]:
    """Write the attempts that the copy has lost, as unclear and ours; give those that were written.

    A job that is no longer queued, or that somebody else holds, is passed over. What is
    counted as being under way is counted anew.
    """
    # The account before anything else, as a claim does; jobs that a move holds are
    # passed over, because that one waits for the account.
    values = {
        "account_id": owner.account_id,
        "owner_id": owner.id,
        "epoch": owner.epoch,
        "sent_after": sent_after,
        "rows": as_json(
            [
                {
                    "task_uuid": str(one.task_uuid),
                    "job_id": str(one.job_id),
                    "run": one.run,
                    "number": one.number,
                }
                for one in candidates
            ]
        ),
    }
    await connection.execute(
        text(f"SELECT FROM {SCHEMA}.account WHERE id = :account_id FOR NO KEY UPDATE"), values
    )
    rows = (await connection.execute(text(_ATTACH), values)).mappings().all()
    if rows:
        await recount(connection, owner.account_id)
    return [_adopted(row) for row in rows]


async def database_time(connection: AsyncConnection) -> datetime:
    """Read the database's clock."""
    found: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return found


async def count_living(connection: AsyncConnection, owner: Owner) -> int:
    """Count the other processes of the owner's account whose lease has not lapsed."""
    row = await connection.execute(
        text(
            f"SELECT count(*) FROM {SCHEMA}.process"
            " WHERE account_id = :account_id AND stopped_at IS NULL AND id <> :id"
        ),
        {"account_id": owner.account_id, "id": owner.id},
    )
    return int(row.scalar_one())


async def is_paused_for(connection: AsyncConnection, account_id: int, *, reason: str) -> bool:
    """Tell whether an account is paused, and for this reason; its row is locked."""
    row = await connection.execute(
        text(f"SELECT pause_reason = :reason FROM {SCHEMA}.account WHERE id = :id FOR NO KEY UPDATE"),
        {"id": account_id, "reason": reason},
    )
    return bool(row.scalar_one())


def _adopted(row: Any) -> Adopted:
    return Adopted(
        task_uuid=row["task_uuid"],
        lane=Lane(row["lane"]),
        state=AttemptState(row["state"]),
        learned_as=(row["learned_as"], row["size"]),
        accepted_s=row["accepted_s"],
        age_s=row["age_s"],
    )


_FOLLOWED: Final = f"""EXISTS (
    SELECT FROM {SCHEMA}.process WHERE process.id = attempt.owner_id AND process.epoch = attempt.epoch
        AND process.stopped_at IS NULL)"""

_UNCLEAR: Final = f"""
SELECT attempt.account_id, job.id AS job_id, attempt.task_uuid, job.tenant, {LEARNED_AS} AS model,
    attempt.run, attempt.number,
    CAST(EXTRACT(EPOCH FROM now() - COALESCE(attempt.submitted_at, attempt.created_at)) AS double precision) AS age_s,
    attempt.state = '{AttemptState.ENDED}' AS is_lost, {_FOLLOWED} AS is_followed, attempt.settlement AS steps
FROM (
    SELECT task_uuid FROM {SCHEMA}.attempt WHERE state = '{AttemptState.UNCLEAR}'
    UNION ALL
    SELECT attempt.task_uuid FROM {SCHEMA}.job JOIN {SCHEMA}.attempt ON attempt.job_id = job.id AND attempt.run = job.run
    WHERE job.billing = '{Billing.UNCLEAR}' AND attempt.outcome = '{AttemptEnd.LOST}') AS doubtful
JOIN {SCHEMA}.attempt USING (task_uuid) JOIN {SCHEMA}.job ON job.id = attempt.job_id
WHERE (cardinality(CAST(:ids AS uuid[])) = 0 OR job.id = ANY (CAST(:ids AS uuid[])))
ORDER BY attempt.created_at, attempt.task_uuid LIMIT :limit
"""

_RETURNED: Final = f"""attempt.task_uuid, job.lane, attempt.state, {LEARNED_AS} AS learned_as, attempt.size,
    CAST(EXTRACT(EPOCH FROM now() - attempt.accepted_at) AS double precision) AS accepted_s,
    CAST(EXTRACT(EPOCH FROM now() - attempt.submitted_at) AS double precision) AS age_s"""

_TAKE_OVER: Final = f"""
UPDATE {SCHEMA}.attempt SET owner_id = :owner_id, epoch = :epoch
FROM {SCHEMA}.job
WHERE attempt.task_uuid = ANY (CAST(:ids AS uuid[])) AND job.id = attempt.job_id
  AND attempt.account_id = :account_id AND attempt.state = '{AttemptState.UNCLEAR}'
  AND (CAST(:also_from_the_living AS boolean) OR NOT {_FOLLOWED})
RETURNING {_RETURNED}
"""

# A first send whose time has not come was not sent since the copy either. The time of a
# later one says nothing: the recovery itself may just have put the job back.
_OF_THE_QUEUE: Final = f"""
FROM {SCHEMA}.job WHERE job.account_id = :account_id AND job.state = '{JobState.QUEUED}'
  AND job.created_at < :created_before AND (job.run_at <= :created_before OR job.attempts > 0)
"""

_CANDIDATES: Final = f"""
SELECT id AS job_id, run, attempts + CASE WHEN EXISTS (
        SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id AND attempt.run = job.run
            AND attempt.state = '{AttemptState.PREPARED}') THEN 0 ELSE 1 END AS number
{_OF_THE_QUEUE} AND (CAST(:after AS uuid) IS NULL OR job.id > :after)
ORDER BY job.id LIMIT :limit
"""

_ATTACH: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        task_uuid uuid, job_id uuid, run smallint, number smallint)
),
held AS (
    SELECT job.id, job.size, item.task_uuid, item.run, item.number
    FROM item JOIN {SCHEMA}.job ON job.id = item.job_id AND job.run = item.run
    WHERE job.account_id = :account_id AND job.state = '{JobState.QUEUED}'
    ORDER BY job.id FOR UPDATE OF job SKIP LOCKED
),
attempt AS (
    INSERT INTO {SCHEMA}.attempt AS attempt (task_uuid, job_id, run, number, account_id, state, owner_id, epoch,
        size, submitted_at, settlement)
    SELECT task_uuid, id, run, number, :account_id, '{AttemptState.UNCLEAR}', :owner_id, :epoch, size,
        CAST(:sent_after AS timestamptz), jsonb_build_array(jsonb_build_object(
            'step', '{ATTACHED}', 'answer', 'may have been sent', 'at', now()))
    FROM held
    ON CONFLICT (task_uuid) DO UPDATE SET state = excluded.state, owner_id = excluded.owner_id,
        epoch = excluded.epoch, submitted_at = excluded.submitted_at,
        settlement = attempt.settlement || excluded.settlement
    WHERE attempt.state = '{AttemptState.PREPARED}'
    RETURNING task_uuid, job_id, number, state, size, accepted_at, submitted_at
)
UPDATE {SCHEMA}.job SET state = '{JobState.SUBMITTING}', attempts = attempt.number
FROM attempt WHERE job.id = attempt.job_id
RETURNING {_RETURNED}
"""
