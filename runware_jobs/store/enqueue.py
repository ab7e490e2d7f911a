"""Jobs into the queue: one statement for any number of them, in the caller's transaction.

Writes the account's placeholder and the buckets where they are missing, the jobs
and their `job.queued` events. A job whose id, key, external id or alias is known
already is not written again; `Enqueued` tells which.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.errors import IdempotencyConflict, JobForgotten, JobNotFound, NotPossible, RunwareJobsError

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
        IdempotencyConflict: a key belongs to another request, two keys to two jobs, or
            an id to another tenant; nothing is kept if the caller rolls back.
        JobForgotten: a key's job was pruned.
        NotPossible: the batch was canceled, or was sealed and has ended.
        JobNotFound: there is no such batch.
    """
    answers: dict[UUID, Enqueued] = {}
    asked = {job.id: job for job in jobs}
    waiting = asked
    for _ in range(_ROUNDS):
        values: dict[str, Any] = {
            "rows": as_json([_row(job) for job in waiting.values()]),
            "base_url": base_url,
            "fallback_url": fallback_url,
        }
        sql = _INSERT
        if batch_id is not None:
            sql = _INSERT_INTO_BATCH
            values["batch_id"] = batch_id
        for row in (yield Statement(sql, values)):
            answers[row["id"]] = Enqueued(
                row["id"], replayed=False, created_at=row["created_at"], run_at=row["run_at"]
            )
        waiting = (
            {}
            if len(answers) == len(asked)
            else {id_: job for id_, job in waiting.items() if id_ not in answers}
        )
        if not waiting:
            break
        known = yield Statement(_KNOWN, {"rows": as_json([_keys(job) for job in waiting.values()])})
        for asked_id, rows in groupby(known, key=itemgetter("asked_id")):
            answers[asked_id] = _replay(waiting.pop(asked_id), list(rows))
        if not waiting:
            break
        if batch_id is not None:
            _require_open(batch_id, (yield Statement(_BATCH, {"batch_id": batch_id})))
    if waiting:
        raise RunwareJobsError(f"{len(waiting)} jobs could not be enqueued: their keys change while we look")
    return [answers[job.id] for job in jobs]


def find_account(*, base_url: str | None, fallback_url: str) -> Generator[Statement, Rows, None]:
    """Plan that the account which `enqueue` would take is there, for statements that come before it."""
    for _ in range(_ROUNDS):
        # None while somebody else makes the same placeholder: this has waited for them.
        if (yield Statement(_ACCOUNT, {"base_url": base_url, "fallback_url": fallback_url})):
            return


def _replay(job: NewJob, rows: Sequence[Mapping[str, Any]]) -> Enqueued:
    """Read what is known under a job's id and keys, the strongest first."""
    row = rows[0]
    kind = row["key_kind"]
    if row["tenant"] != job.options.tenant:
        # Of the other job nothing is told, not even that its request was the same.
        raise IdempotencyConflict(f"The id {job.id} is taken: choose another.", parameter="id", job_id=job.id)
    if row["is_forgotten"]:
        raise JobForgotten(
            f"The job of this {kind} was pruned after it had {row['final_state']}; it does not run again.",
            parameter=kind,
            job_id=row["job_id"],
        )
    if kind == "id":
        return Enqueued(row["job_id"], replayed=True)
    if bytes(row["request_hash"]) != job.request_hash:
        raise IdempotencyConflict(
            f"This {kind} was used for another request: job {row['job_id']}.",
            parameter=kind,
            job_id=row["job_id"],
        )
    for other in rows:
        if other["job_id"] != row["job_id"]:
            raise IdempotencyConflict(
                f"This {kind} is that of job {row['job_id']}, and this {other['key_kind']} that of job {other['job_id']}.",
                parameter=other["key_kind"],
                job_id=row["job_id"],
            )
    return Enqueued(row["job_id"], replayed=True)


def _require_open(batch_id: UUID, rows: Rows) -> None:
    if not rows:
        raise JobNotFound(f"There is no batch {batch_id}.")
    if rows[0]["state"] == "canceled":
        raise NotPossible(f"Batch {batch_id} was canceled: it takes no more jobs.", parameter="batch")
    if rows[0]["has_ended"]:
        raise NotPossible(f"Batch {batch_id} has ended: it takes no more jobs.", parameter="batch")


def _row(job: NewJob) -> dict[str, Any]:
    options = job.options
    row = {
        "id": str(job.id),
        "kind": job.kind,
        "tenant": options.tenant,
        "lane": job.lane,
        "model": job.model,
        "size": job.size,
        "params": job.params,
        "priority": options.priority,
        "max_attempts": options.max_attempts,
        "results_expected": job.results_expected,
        "on_partial": options.on_partial,
        "request_hash": job.request_hash.hex(),
        "metadata": options.metadata,
        "tags": options.tags,
        "delay_s": options.delay_s,
        "alias": job.alias,
        "inputs": job.inputs,
    }
    # What is left out is NULL; most jobs have none of these.
    for name in _RARE:
        value = getattr(options, name)
        if value is not None:
            row[name] = value
    return row


_RARE: Final = (
    "custom_id",
    "idempotency_key",
    "external_id",
    "webhook_url",
    "link",
    "link_error",
    "canvas",
    "deadline_s",
    "start_deadline_s",
)


def _keys(job: NewJob) -> dict[str, Any]:
    options = job.options
    return {
        "id": str(job.id),
        "tenant": options.tenant,
        "idempotency_key": options.idempotency_key,
        "external_id": options.external_id,
        "alias": job.alias,
    }


# Subqueries that give a value, because a planner makes no join of them: one look into an
# index for each key that a job has, and not all keys that its tenant has ever used.
_UNSPENT: Final = " AND ".join(
    f"(item.{kind} IS NULL OR (SELECT count(*) FROM {SCHEMA}.tombstone"
    f" WHERE tenant = item.tenant AND key_kind = '{kind}' AND key = item.{kind}) = 0)"
    for kind in ("idempotency_key", "external_id", "alias")
)

_INSERTING: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        id uuid, kind text, tenant text, custom_id text, lane text, model text, size text, params jsonb,
        priority smallint, max_attempts smallint, results_expected smallint, on_partial text, inputs text,
        idempotency_key text, request_hash text, external_id text, alias text, metadata jsonb, tags text[],
        webhook_url text, link jsonb, link_error jsonb, canvas jsonb,
        delay_s double precision, deadline_s double precision, start_deadline_s double precision)
),
{PRODUCERS_ACCOUNT},
{{batch}}
wanted AS (
    SELECT DISTINCT account.id AS account_id, lane, model, tenant, priority FROM item, account {{if_open}}
),
known_bucket AS (
    SELECT bucket.id, wanted.* FROM wanted JOIN {SCHEMA}.bucket USING (account_id, lane, model, tenant, priority)
    WHERE bucket.batch_id {{is_batch}}
),
new_bucket AS (
    -- A bucket that somebody else makes at this moment is waited for, and found in the next
    -- round. Locked by an update it would keep claims waiting for the caller's commit.
    INSERT INTO {SCHEMA}.bucket (account_id, lane, model, tenant, priority, batch_id, state, pause_reason)
    SELECT account_id, lane, model, tenant, priority, {{batch_id}}, {{bucket_state}}
    FROM (SELECT * FROM wanted EXCEPT SELECT account_id, lane, model, tenant, priority FROM known_bucket) AS missing
    ON CONFLICT ON CONSTRAINT bucket_identity_key DO NOTHING
    RETURNING id, account_id, lane, model, tenant, priority
),
bucket AS (SELECT * FROM known_bucket UNION ALL SELECT * FROM new_bucket),
added AS (
    INSERT INTO {SCHEMA}.job (
        id, kind, tenant, account_id, bucket_id, batch_id, custom_id, lane, model, size, params, priority, seq,
        max_attempts, results_expected, results_asked, on_partial, inputs, idempotency_key, request_hash, external_id, alias,
        metadata, tags, webhook_url, link, link_error, canvas, run_at, deadline_at, start_deadline_at, paused_before_s)
    SELECT item.id, item.kind, item.tenant, bucket.account_id, bucket.id, {{batch_id}}, item.custom_id,
        item.lane, item.model, item.size, item.params, item.priority, 1, item.max_attempts, item.results_expected,
        item.results_expected, item.on_partial, item.inputs, item.idempotency_key, decode(item.request_hash, 'hex'),
        item.external_id, item.alias, item.metadata, item.tags, item.webhook_url, item.link, item.link_error, item.canvas,
        now() + make_interval(secs => item.delay_s),
        now() + make_interval(secs => item.deadline_s),
        now() + make_interval(secs => item.delay_s + item.start_deadline_s),
        -- An account that this statement makes has had no pause, and is not seen here.
        COALESCE((SELECT paused_s + CASE state WHEN 'paused' THEN EXTRACT(EPOCH FROM now() - paused_at) ELSE 0 END
                  FROM {SCHEMA}.account AS theirs WHERE theirs.id = (SELECT id FROM known_account)), 0)
    FROM item JOIN bucket USING (lane, model, tenant, priority)
    WHERE {_UNSPENT}
    -- Two producers with the same keys take them in one order, or each would wait for the other.
    ORDER BY item.idempotency_key, item.external_id, item.alias
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

_INSERT: Final = _INSERTING.format(
    batch="", if_open="", is_batch="IS NULL", batch_id="CAST(NULL AS uuid)", bucket_state="'open', NULL"
)

_INSERT_INTO_BATCH: Final = _INSERTING.format(
    # The key share waits for whoever ends or cancels the batch, and they wait for it;
    # what they have written by then is looked at again.
    batch=f"""batch AS (
    SELECT id, state, pause_reason FROM {SCHEMA}.batch WHERE id = CAST(:batch_id AS uuid)
    AND state <> 'canceled' AND (sealed_at IS NULL OR finished_at IS NULL) FOR KEY SHARE
),""",
    if_open="WHERE EXISTS (SELECT FROM batch)",
    is_batch="= CAST(:batch_id AS uuid)",
    batch_id="CAST(:batch_id AS uuid)",
    bucket_state="(SELECT state FROM batch), (SELECT pause_reason FROM batch)",
)

_BATCH: Final = f"""
SELECT state, sealed_at IS NOT NULL AND finished_at IS NOT NULL AS has_ended
FROM {SCHEMA}.batch WHERE id = CAST(:batch_id AS uuid)
"""

_ACCOUNT: Final = f"WITH {PRODUCERS_ACCOUNT} SELECT id FROM account"

_KNOWN: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(
        id uuid, tenant text, idempotency_key text, external_id text, alias text)
)
SELECT * FROM (
    SELECT id AS asked_id, job.id AS job_id, job.tenant, request_hash, NULL AS final_state, false AS is_forgotten,
        0 AS place, 'id' AS key_kind
    FROM item JOIN {SCHEMA}.job USING (id)
    UNION ALL
    SELECT item.id, job.id, tenant, request_hash, NULL, false, 1, 'idempotency_key'
    FROM item JOIN {SCHEMA}.job USING (tenant, idempotency_key)
    UNION ALL
    SELECT item.id, job.id, tenant, request_hash, NULL, false, 2, 'external_id'
    FROM item JOIN {SCHEMA}.job USING (tenant, external_id)
    UNION ALL
    SELECT item.id, job.id, tenant, request_hash, NULL, false, 3, 'alias'
    FROM item JOIN {SCHEMA}.job USING (tenant, alias)
    UNION ALL
    SELECT item.id, tombstone.job_id, tenant, request_hash, final_state, true, 4, key_kind
    FROM item CROSS JOIN LATERAL (VALUES
        ('idempotency_key', item.idempotency_key), ('external_id', item.external_id), ('alias', item.alias)
    ) AS named (key_kind, key) JOIN {SCHEMA}.tombstone USING (tenant, key_kind, key)
) AS found ORDER BY asked_id, place
"""
