"""Jobs as users see them: one, a page of them, their results, attempts and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .estimates import LEARNED_AS
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    Row = dict[str, Any]


async def read_jobs(
    connection: AsyncConnection, job_ids: Iterable[UUID], *, tenant: str | None = None
) -> dict[UUID, Row]:
    """Read jobs with the results of their present run and all attempts.

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


async def read_sent(connection: AsyncConnection, task_uuids: Iterable[UUID]) -> list[Row]:
    """Read what was sent under these task UUIDs: `task_uuid`, `tenant`, `params`."""
    rows = await connection.execute(
        text(
            f"SELECT task_uuid, tenant, params FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id"
            " WHERE task_uuid = ANY (CAST(:ids AS uuid[]))"
        ),
        {"ids": [str(task) for task in task_uuids]},
    )
    return [dict(row) for row in rows.mappings()]


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
    await connection.execute(text(_END_PREPARED), values)
    return canceled


async def fail_late_jobs(connection: AsyncConnection, *, limit: int) -> list[UUID]:
    """Fail jobs whose deadline has passed; their attempts go on and what arrives still counts."""
    rows = await connection.execute(text(_LATE), {"limit": limit})
    late = [row.id for row in rows]
    if late:
        await connection.execute(text(_END_PREPARED), {"ids": [str(job_id) for job_id in late]})
    return late


async def requeue_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Start a new run of the locked jobs: queued, attempts counted from zero."""
    rows = await connection.execute(text(_REQUEUE), {"ids": [str(job_id) for job_id in job_ids]})
    return [row.id for row in rows]


async def readopt_jobs(connection: AsyncConnection, job_ids: Iterable[UUID]) -> list[UUID]:
    """Take those locked jobs whose attempt has not ended back to it, instead of paying again."""
    rows = await connection.execute(text(_READOPT), {"ids": [str(job_id) for job_id in job_ids]})
    return [row.id for row in rows]


_READ: Final = f"""
SELECT job.*, CASE WHEN job.state = 'queued' AND job.run_at > now() AND job.times_busy = 0 AND job.attempts = 0
        THEN 'scheduled' ELSE job.state END AS shown_state,
    COALESCE(results.rows, '[]') AS results, COALESCE(attempts.rows, '[]') AS attempts_made,
    CASE WHEN job.finished_at IS NOT NULL OR estimate.duration_s IS NULL THEN NULL
        ELSE GREATEST(now(), COALESCE(attempts.accepted_at, GREATEST(job.run_at, now()))
             + make_interval(secs => estimate.duration_s)) END AS expected_at
FROM {SCHEMA}.job
LEFT JOIN {SCHEMA}.estimate ON estimate.model = {LEARNED_AS} AND estimate.size = ''
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('item', item, 'state', result.state, 'error', result.error,
        'archived_url', archived_url) ORDER BY position, key) AS rows
    FROM {SCHEMA}.result WHERE result.job_id = job.id AND result.run = job.run) AS results ON true
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

_END_PREPARED: Final = f"""
UPDATE {SCHEMA}.attempt SET state = 'ended', outcome = 'not_sent', finished_at = now(), owner_id = NULL, epoch = NULL
WHERE job_id = ANY (CAST(:ids AS uuid[])) AND state = 'prepared'
"""

_LATE: Final = f"""
UPDATE {SCHEMA}.job SET state = 'failed', finished_at = now(), seq = seq + 1,
    error = jsonb_build_object('code', 'timeout', 'retryable', true, 'message',
        CASE WHEN job.deadline_at <= now() THEN 'The job''s deadline has passed.'
             ELSE 'The job was not started before its start deadline.' END),
    billing = CASE WHEN EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id
        AND attempt.state IN ('sending', 'accepted', 'unclear')) THEN 'detached' ELSE billing END
WHERE id IN (
    SELECT id FROM {SCHEMA}.job
    WHERE finished_at IS NULL AND (deadline_at IS NOT NULL OR start_deadline_at IS NOT NULL)
      AND LEAST(deadline_at, CASE WHEN state = 'queued' THEN start_deadline_at END) <= now()
      -- Queued again after a start is not late to start.
      AND (deadline_at <= now() OR submitted_at IS NULL)
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id
"""

_REQUEUE: Final = f"""
UPDATE {SCHEMA}.job SET state = 'queued', run = run + 1, attempts = 0, times_busy = 0, progress = NULL, error = NULL,
    billing = 'none', finished_at = NULL, submitted_at = NULL, run_at = now(), deadline_at = NULL,
    start_deadline_at = NULL, seq = seq + 1
WHERE id = ANY (CAST(:ids AS uuid[])) AND state IN ('failed', 'canceled')
  AND NOT EXISTS (SELECT FROM {SCHEMA}.attempt WHERE attempt.job_id = job.id AND attempt.state <> 'ended')
RETURNING id
"""

_READOPT: Final = f"""
UPDATE {SCHEMA}.job SET state = CASE WHEN attempt.state = 'accepted' THEN 'running' ELSE 'submitting' END,
    error = NULL, billing = 'none', finished_at = NULL, deadline_at = NULL, start_deadline_at = NULL, seq = seq + 1
FROM {SCHEMA}.attempt
WHERE job.id = ANY (CAST(:ids AS uuid[])) AND job.state IN ('failed', 'canceled')
  AND attempt.job_id = job.id AND attempt.run = job.run AND attempt.state IN ('sending', 'accepted', 'unclear')
RETURNING job.id
"""
