"""Jobs into the queue: one statement for any number of them, in the caller's transaction.

Writes the account's placeholder and the buckets where they are missing, the jobs
and their `job.queued` events. A job whose id, key, external id or alias is known
already is not written again; `Enqueued` tells which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.errors import IdempotencyConflict, JobForgotten, RunwareJobsError

from .accounts import PRODUCERS_ACCOUNT
from .plans import Statement, as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from runware_jobs.core.request import NewJob

    from .plans import Rows

_ROUNDS: Final = 3
"""Somebody else may make the same account or key at the same moment: look, and try again."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """One job as it now stands in the queue.

    `replayed` when it was there before under its id or a key of its own; the two
    times are then None.
    """

    job_id: UUID
    replayed: bool
    created_at: datetime | None = None
    run_at: datetime | None = None


def enqueue(
    jobs: Sequence[NewJob], *, base_url: str | None, fallback_url: str, batch_id: UUID | None = None
) -> Generator[Statement, Rows, list[Enqueued]]:
    """Plan the insertion of `jobs`; the answers come in their order.

    `base_url` None means: whichever account this database's worker serves; the
    `fallback_url` names the placeholder when there is none yet.

    Raises:
        IdempotencyConflict: a key belongs to another request; nothing is kept if
            the caller rolls back.
        JobForgotten: a key's job was pruned.
    """
    answers: dict[UUID, Enqueued] = {}
    waiting = {job.id: job for job in jobs}
    for _ in range(_ROUNDS):
        values = {
            "rows": as_json([_row(job, batch_id) for job in waiting.values()]),
            "base_url": base_url,
            "fallback_url": fallback_url,
        }
        for row in (yield Statement(_INSERT, values)):
            answers[row["id"]] = Enqueued(
                row["id"], replayed=False, created_at=row["created_at"], run_at=row["run_at"]
            )
            waiting.pop(row["id"])
        if not waiting:
            break
        known = yield Statement(_KNOWN, {"rows": as_json([_keys(job) for job in waiting.values()])})
        for row in known:
            answers[row["asked_id"]] = _replay(waiting.pop(row["asked_id"]), row)
        if not waiting:
            break
    if waiting:
        raise RunwareJobsError(f"{len(waiting)} jobs could not be enqueued: their keys change while we look")
    return [answers[job.id] for job in jobs]


def _replay(job: NewJob, row: Mapping[str, Any]) -> Enqueued:
    if row["is_forgotten"]:
        raise JobForgotten(
            f"The job of this {row['key_kind']} was pruned after it had {row['final_state']}; it does not run again.",
            parameter=row["key_kind"],
            job_id=row["job_id"],
        )
    if row["key_kind"] != "id" and bytes(row["request_hash"]) != job.request_hash:
        raise IdempotencyConflict(
            f"This {row['key_kind']} was used for another request: job {row['job_id']}.",
            parameter=row["key_kind"],
            job_id=row["job_id"],
        )
    return Enqueued(row["job_id"], replayed=True)


def _row(job: NewJob, batch_id: UUID | None) -> dict[str, Any]:
    options = job.options
    return {
        "id": str(job.id),
        "kind": job.kind,
        "tenant": options.tenant,
        "batch_id": str(batch_id) if batch_id else None,
        "custom_id": options.custom_id,
        "lane": job.lane,
        "model": job.model,
        "size": job.size,
        "params": job.params,
        "priority": options.priority,
        "max_attempts": options.max_attempts,
        "results_expected": job.results_expected,
        "on_partial": options.on_partial,
        "idempotency_key": options.idempotency_key,
        "request_hash": job.request_hash.hex(),
        "external_id": options.external_id,
        "alias": job.alias,
        "metadata": options.metadata,
        "tags": list(options.tags),
        "webhook_url": options.webhook_url,
        "link": options.link,
        "link_error": options.link_error,
        "canvas": options.canvas,
        "delay_s": options.delay_s,
        "deadline_s": options.deadline_s,
        "start_deadline_s": options.start_deadline_s,
    }


def _keys(job: NewJob) -> dict[str, Any]:
    options = job.options
    return {
        "id": str(job.id),
        "tenant": options.tenant,
        "idempotency_key": options.idempotency_key,
        "external_id": options.external_id,
        "alias": job.alias,
    }


_INSERT: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        id uuid, kind text, tenant text, batch_id uuid, custom_id text, lane text, model text, size text, params jsonb,
        priority smallint, max_attempts smallint, results_expected smallint, on_partial text,
        idempotency_key text, request_hash text, external_id text, alias text, metadata jsonb, tags jsonb,
        webhook_url text, link jsonb, link_error jsonb, canvas jsonb,
        delay_s double precision, deadline_s double precision, start_deadline_s double precision)
),
{PRODUCERS_ACCOUNT},
wanted AS (
    SELECT DISTINCT account.id AS account_id, lane, model, tenant, batch_id, priority FROM item, account
),
known_bucket AS (
    SELECT bucket.id, wanted.* FROM wanted JOIN {SCHEMA}.bucket USING (account_id, lane, model, tenant, priority)
    WHERE bucket.batch_id IS NOT DISTINCT FROM wanted.batch_id
),
new_bucket AS (
    -- DO UPDATE, not DO NOTHING: a bucket made by somebody else at this moment must
    -- come back too. Known buckets are never written, so no claim waits for a caller.
    INSERT INTO {SCHEMA}.bucket (account_id, lane, model, tenant, batch_id, priority, state, pause_reason)
    SELECT account_id, lane, model, wanted.tenant, batch_id, priority,
           CASE WHEN batch.state = 'paused' THEN 'paused' ELSE 'open' END,
           CASE WHEN batch.state = 'paused' THEN batch.pause_reason END
    FROM wanted LEFT JOIN {SCHEMA}.batch ON batch.id = wanted.batch_id
    WHERE NOT EXISTS (
        SELECT FROM known_bucket AS known
        WHERE (known.lane, known.model, known.tenant, known.priority)
            = (wanted.lane, wanted.model, wanted.tenant, wanted.priority)
          AND known.batch_id IS NOT DISTINCT FROM wanted.batch_id)
    ON CONFLICT ON CONSTRAINT bucket_identity_key DO UPDATE SET lane = excluded.lane
    RETURNING id, account_id, lane, model, tenant, batch_id, priority
),
bucket AS (SELECT * FROM known_bucket UNION ALL SELECT * FROM new_bucket),
added AS (
    INSERT INTO {SCHEMA}.job (
        id, kind, tenant, account_id, bucket_id, batch_id, custom_id, lane, model, size, params, priority, seq,
        max_attempts, results_expected, results_asked, on_partial, idempotency_key, request_hash, external_id, alias,
        metadata, tags, webhook_url, link, link_error, canvas, run_at, deadline_at, start_deadline_at, paused_before_s)
    SELECT item.id, item.kind, item.tenant, bucket.account_id, bucket.id, item.batch_id, item.custom_id,
        item.lane, item.model, item.size, item.params, item.priority, 1, item.max_attempts, item.results_expected,
        item.results_expected, item.on_partial, item.idempotency_key, decode(item.request_hash, 'hex'), item.external_id, item.alias,
        item.metadata, ARRAY(SELECT jsonb_array_elements_text(item.tags)), item.webhook_url,
        NULLIF(item.link, 'null'), NULLIF(item.link_error, 'null'), NULLIF(item.canvas, 'null'),
        now() + make_interval(secs => item.delay_s),
        now() + make_interval(secs => item.deadline_s),
        now() + make_interval(secs => item.delay_s + item.start_deadline_s),
        -- An account that this statement makes has had no pause, and is not seen here.
        COALESCE((SELECT paused_s + CASE state WHEN 'paused' THEN EXTRACT(EPOCH FROM now() - paused_at) ELSE 0 END
                  FROM {SCHEMA}.account AS theirs WHERE theirs.id = bucket.account_id), 0)
    FROM item JOIN bucket USING (lane, model, tenant, priority)
    WHERE bucket.batch_id IS NOT DISTINCT FROM item.batch_id
      AND NOT EXISTS (
        SELECT FROM {SCHEMA}.tombstone
        WHERE tombstone.tenant = item.tenant
          AND (key_kind, key) IN (('idempotency_key', item.idempotency_key),
                                  ('external_id', item.external_id), ('alias', item.alias)))
    ON CONFLICT DO NOTHING
    RETURNING id, tenant, batch_id, created_at, run_at
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, job_id, batch_id, run, seq)
    SELECT gen_random_uuid(), 'job.queued', tenant, id, batch_id, 1, 1 FROM added
    RETURNING id, created_at, tenant, job_id
),
sent AS (
    INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, job_id, endpoint_id, url)
    SELECT 'webhook', told.id, told.created_at, told.job_id, endpoint.id, endpoint.url
    FROM told JOIN {SCHEMA}.endpoint ON endpoint.tenant = told.tenant
    WHERE endpoint.is_enabled AND endpoint.url IS NOT NULL AND 'job.queued' = ANY (endpoint.events)
    UNION ALL
    SELECT 'signal', told.id, told.created_at, told.job_id, NULL, NULL FROM told
    WHERE EXISTS (SELECT FROM {SCHEMA}.process WHERE stopped_at IS NULL AND 'on_state' = ANY (signals))
)
SELECT id, created_at, run_at FROM added
"""

_KNOWN: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        id uuid, tenant text, idempotency_key text, external_id text, alias text)
)
SELECT DISTINCT ON (asked_id) * FROM (
    SELECT item.id AS asked_id, job.id AS job_id, job.request_hash, NULL AS final_state, false AS is_forgotten,
        CASE WHEN job.id = item.id THEN 'id'
             WHEN job.idempotency_key = item.idempotency_key THEN 'idempotency_key'
             WHEN job.external_id = item.external_id THEN 'external_id' ELSE 'alias' END AS key_kind
    FROM item JOIN {SCHEMA}.job ON (job.id = item.id OR job.tenant = item.tenant AND (
        job.idempotency_key = item.idempotency_key OR job.external_id = item.external_id OR job.alias = item.alias))
    UNION ALL
    SELECT item.id, tombstone.job_id, tombstone.request_hash, tombstone.final_state, true, tombstone.key_kind
    FROM item JOIN {SCHEMA}.tombstone ON tombstone.tenant = item.tenant
      AND (key_kind, key) IN (('idempotency_key', item.idempotency_key),
                              ('external_id', item.external_id), ('alias', item.alias))
) AS found ORDER BY asked_id, is_forgotten
"""
