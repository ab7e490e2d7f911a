"""Jobs as users see them: one, a page of them, their results, attempts and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.states import Inputs

from .columns import WAITING_FOR_INPUTS
from .estimates import LEARNED_AS
from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    Row = dict[str, Any]


async def read_jobs(
    connection: AsyncConnection, job_ids: Iterable[UUID], *, tenant: str | None = None
) -> dict[UUID, Row]:
    """Read jobs with what has arrived in all runs, what has failed in the present one, and all attempts.

    Jobs of other tenants than `tenant` (None: any) are left out, like unknown ones.
    """
    values = {"ids": [str(job_id) for job_id in job_ids], "tenant": tenant}
    where = "job.id = ANY (CAST(:ids AS uuid[])) AND (CAST(:tenant AS text) IS NULL OR job.tenant = :tenant)"
    rows = await connection.execute(text(_READ.format(where=where, rest="")), values)
    return {row["id"]: dict(row) for row in rows.mappings()}


async def read_states(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Read nothing but states: what a wait asks again and again."""
    rows = await connection.execute(
        text(f"SELECT id, state FROM {SCHEMA}.job WHERE id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": [str(job_id) for job_id in job_ids]},
    )
    return {row.id: row.state for row in rows}


async def list_jobs(
    connection: AsyncConnection,
    *,
    tenant: str | None,
    states: Sequence[str] = (),
    kind: str | None = None,
    batch_id: UUID | None = None,
    tag: str | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Row]:
    """List jobs, newest first, from just before the place `before` (created_at, id)."""
    conditions = ["true"]
    values: dict[str, Any] = {"limit": limit}
    for name, value, condition in (
        ("tenant", tenant, "job.tenant = :tenant"),
        ("states", list(states) or None, "job.state = ANY (CAST(:states AS text[]))"),
        ("kind", kind, "job.kind = :kind"),
        ("batch_id", batch_id, "job.batch_id = :batch_id"),
        ("tag", tag, "job.tags @> ARRAY[CAST(:tag AS text)]"),
        ("created_at", before and before[0], "(job.created_at, job.id) < (:created_at, :before_id)"),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    if before is not None:
        values["before_id"] = before[1]
    rows = await connection.execute(
        text(
            _READ.format(
                where=" AND ".join(conditions), rest="ORDER BY job.created_at DESC, job.id DESC LIMIT :limit"
            )
        ),
        values,
    )
    return [dict(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTask:
    """What was sent under a task UUID."""

    job_id: UUID
    task_uuid: UUID
    tenant: str
    run: int
    results_expected: int
    params: dict[str, Any]


async def read_sent(connection: AsyncConnection, task_uuids: Iterable[UUID]) -> list[SentTask]:
    """Read what was sent under these task UUIDs."""
    rows = await connection.execute(
        text(
            f"SELECT job.id AS job_id, task_uuid, tenant, attempt.run, results_expected, params FROM {SCHEMA}.attempt"
            f" JOIN {SCHEMA}.job ON job.id = attempt.job_id WHERE task_uuid = ANY (CAST(:ids AS uuid[]))"
        ),
        {"ids": [str(task) for task in task_uuids]},
    )
    return [SentTask(**row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a job as it stands in the log; `item` is the result that it tells of."""

    event_id: UUID
    event_created_at: datetime
    type: str
    job_id: UUID | None
    batch_id: UUID | None
    run: int | None
    seq: int
    data: dict[str, Any]
    item: dict[str, Any] | None


async def read_events(
    connection: AsyncConnection, job_id: UUID, *, after: int, limit: int = 1000
) -> list[StoredEvent]:
    """Read a job's events with `seq` above `after`, in order."""
    rows = await connection.execute(text(_EVENTS), {"job_id": job_id, "after": after, "limit": limit})
    return [StoredEvent(*row) for row in rows]


async def lock_jobs(connection: AsyncConnection, job_ids: Iterable[UUID], *, tenant: str | None) -> list[Row]:
    """Lock jobs in the order of their ids, for a decision of a person (cancel, retry)."""
    rows = await connection.execute(
        text(
            f"SELECT id, state, run, attempts, billing, seq, batch_id FROM {SCHEMA}.job WHERE id = ANY (CAST(:ids AS uuid[]))"
            " AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) ORDER BY id FOR UPDATE"
        ),
        {"ids": [str(job_id) for job_id in job_ids], "tenant": tenant},
    )
    return [dict(row) for row in rows.mappings()]


async def cancel_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Cancel those of the locked jobs that are not final; say which.

    A task that may be with the platform goes on: `billing` becomes `detached`
    (DESIGN 4, Cancel). A prepared attempt ends here, unsent.
    """
    values = {"ids": [str(job_id) for job_id in job_ids]}
    rows = await connection.execute(text(_CANCEL), values)
    canceled = [row.id for row in rows]
    await connection.execute(text(END_PREPARED), values)
    return canceled


async def requeue_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Start a new run of those locked jobs that lack results: queued, attempts counted from zero.

    It asks for the missing ones only: what the producer wanted less what has arrived,
    in whichever run. Counted by a statement of its own, after the lock is held.
    """
    rows = await connection.execute(text(_REQUEUE), {"ids": [str(job_id) for job_id in job_ids]})
    return [row.id for row in rows]


async def complete_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Call those locked jobs succeeded that lack nothing, as a run that asks for nothing.

    Raises `seq` by two: the run begins, and ends.
    """
    rows = await connection.execute(text(_LACKS_NOTHING), {"ids": [str(job_id) for job_id in job_ids]})
    return [row.id for row in rows]


async def fail_waiting_jobs(
    connection: AsyncConnection, told: Iterable[tuple[UUID, Mapping[str, Any]]]
) -> list[UUID]:
    """Fail jobs that wait for their inputs, each with its error; say which still waited.

    Nothing of them is with the platform: a prepared attempt ends here, unsent.
    """
    rows = as_json([{"job_id": str(job_id), "error": dict(error)} for job_id, error in told])
    failed = [row.id for row in await connection.execute(text(_FAIL_WAITING), {"rows": rows})]
    if failed:
        await connection.execute(text(END_PREPARED), {"ids": [str(job_id) for job_id in failed]})
    return failed


async def readopt_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Take those locked jobs whose attempt has not ended back to it, instead of paying again."""
    rows = await connection.execute(text(_READOPT), {"ids": [str(job_id) for job_id in job_ids]})
    return [row.id for row in rows]


# How many due jobs go before this one, as the walk of a claim takes them: higher
# priorities, then buckets in turns. Counted no further than a thousand on each side.
_QUEUE_POSITION: Final = f"""
CASE WHEN job.state = 'queued' AND job.run_at <= now() THEN (
    SELECT own.jobs + (
        SELECT count(*) FROM (
            SELECT FROM {SCHEMA}.bucket AS other CROSS JOIN LATERAL (
                SELECT FROM {SCHEMA}.job AS before WHERE before.bucket_id = other.id
                    AND before.state = 'queued' AND before.run_at <= now()
                LIMIT CASE WHEN other.priority > mine.priority THEN 1000 ELSE own.jobs END) AS due
            WHERE other.account_id = mine.account_id AND other.state = 'open' AND other.id <> mine.id
              AND other.priority >= mine.priority
            LIMIT 1000) AS elsewhere)
    FROM {SCHEMA}.bucket AS mine CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM (
            SELECT FROM {SCHEMA}.job AS before WHERE before.bucket_id = mine.id AND before.state = 'queued'
                AND before.run_at <= now() AND (before.run_at, before.id) < (job.run_at, job.id)
            LIMIT 1000) AS earlier) AS own
    WHERE mine.id = job.bucket_id) END
"""

_READ: Final = f"""
SELECT job.*, CASE WHEN job.state = 'queued' AND job.run_at > now() AND job.times_busy = 0 AND job.attempts = 0
        THEN 'scheduled' ELSE job.state END AS shown_state,
    COALESCE(results.rows, '[]') AS results, COALESCE(attempts.rows, '[]') AS attempts_made,
    CASE WHEN job.finished_at IS NOT NULL OR estimate.duration_s IS NULL THEN NULL
        -- Past its usual time it is taken for one of the late ones, and then for due any moment.
        ELSE COALESCE(
            (SELECT min(at) FROM (VALUES (estimate.duration_s), (estimate.late_s)) AS ends (after_s),
                LATERAL (SELECT COALESCE(attempts.accepted_at, GREATEST(job.run_at, now()))
                    + make_interval(secs => after_s) AS at) AS expected WHERE at > now()),
            now()) END AS expected_at,
    {_QUEUE_POSITION} AS queue_position
FROM {SCHEMA}.job
LEFT JOIN LATERAL (
    SELECT duration_s, late_s FROM {SCHEMA}.estimate
    WHERE estimate.model = {LEARNED_AS} AND estimate.size IN (job.size, '') ORDER BY size DESC LIMIT 1
) AS estimate ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('item', item, 'state', result.state, 'error', result.error,
        'archived_url', archived_url) ORDER BY run, position, key) AS rows
    FROM {SCHEMA}.result WHERE result.job_id = job.id
        AND (result.run = job.run OR result.state = 'success')) AS results ON true
LEFT JOIN LATERAL (
    SELECT max(accepted_at) FILTER (WHERE attempt.state = 'accepted') AS accepted_at,
        jsonb_agg(jsonb_build_object('run', run, 'number', number, 'task_uuid', task_uuid,
        'state', attempt.state, 'outcome', outcome, 'error', attempt.error, 'cost_usd', attempt.cost_usd,
        'submitted_at', attempt.submitted_at, 'finished_at', attempt.finished_at, 'settlement', settlement)
        ORDER BY run, number) AS rows
    FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id) AS attempts ON true
WHERE {{where}} {{rest}}
"""

_EVENTS: Final = f"""
SELECT event.id, event.created_at, event.type, event.job_id, event.batch_id, event.run, event.seq, event.data, result.item
FROM {SCHEMA}.event LEFT JOIN {SCHEMA}.result
    ON event.type = 'job.result' AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid)
    AND result.key = event.data ->> 'key'
WHERE event.job_id = :job_id AND event.seq > :after ORDER BY event.seq LIMIT :limit
"""

_CANCEL: Final = f"""
UPDATE {SCHEMA}.job SET state = 'canceled', finished_at = now(), seq = seq + 1,
    billing = CASE WHEN EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id
        AND attempt.state IN ('sending', 'accepted', 'unclear')) THEN 'detached' ELSE billing END
WHERE id = ANY (CAST(:ids AS uuid[])) AND finished_at IS NULL RETURNING id
"""

END_PREPARED: Final = f"""
UPDATE {SCHEMA}.attempt SET state = 'ended', outcome = 'not_sent', finished_at = now(), owner_id = NULL, epoch = NULL
WHERE job_id = ANY (CAST(:ids AS uuid[])) AND state = 'prepared'
"""

_FAIL_WAITING: Final = f"""
UPDATE {SCHEMA}.job SET state = 'failed', finished_at = now(), seq = seq + 1, error = told.error
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS told(job_id uuid, error jsonb)
WHERE job.id = told.job_id AND {WAITING_FOR_INPUTS} RETURNING job.id
"""

_ARRIVED: Final = f"""
(SELECT count(*) FROM {SCHEMA}.result WHERE result.job_id = job.id AND result.state = 'success')
"""

# What earlier runs have cost stays billed.
_RUNS_AGAIN: Final = f"""
UPDATE {SCHEMA}.job SET run = run + 1, attempts = 0, times_busy = 0, error = NULL, seq = seq + {{events}},
    billing = CASE WHEN cost_usd > 0 THEN 'billed' ELSE 'none' END, deadline_at = NULL, start_deadline_at = NULL,
    {{changes}}
WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('failed', 'canceled')
  AND NOT EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id AND attempt.state <> 'ended')
  AND {{condition}}
RETURNING id
"""

_REQUEUE: Final = _RUNS_AGAIN.format(
    events=1,
    changes=f"""state = 'queued', progress = NULL, finished_at = NULL, submitted_at = NULL, run_at = now(),
    results_expected = results_asked - {_ARRIVED},
    inputs = CASE WHEN inputs IS NULL THEN NULL ELSE '{Inputs.AWAITED}' END""",
    condition=f"results_asked > {_ARRIVED}",
)

_LACKS_NOTHING: Final = _RUNS_AGAIN.format(
    events=2,
    changes="state = 'succeeded', progress = 100, finished_at = now()",
    condition=f"results_asked <= {_ARRIVED}",
)

_READOPT: Final = f"""
UPDATE {SCHEMA}.job SET state = CASE WHEN attempt.state = 'accepted' THEN 'running' ELSE 'submitting' END,
    error = NULL, billing = CASE WHEN job.cost_usd > 0 THEN 'billed' ELSE 'none' END, finished_at = NULL, deadline_at = NULL, start_deadline_at = NULL, seq = seq + 1
FROM {SCHEMA}.attempt
WHERE job.id = ANY (CAST(:ids AS uuid[])) AND job.state IN ('failed', 'canceled')
  AND attempt.job_id = job.id AND attempt.run = job.run AND attempt.state IN ('sending', 'accepted', 'unclear')
RETURNING job.id
"""
