"""Moves carried out: lock what is owned, then write what was decided, in sets.

`lock_owned` hands live attempts to the decisions of `core`; `carry_out` writes their
moves in a fixed number of statements however many there are. Between the two no
other process can change these rows, and every UPDATE still names the state that it
expects. The event, and one outbox row for each sink that wants it, are written in
the same transaction (P4).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.answers import MOST_USD
from runware_jobs.core.events import DEFAULT_WEBHOOK_EVENTS, FINAL_EVENTS, EventType
from runware_jobs.core.moves import LiveAttempt, Move
from runware_jobs.core.states import AttemptEnd, AttemptState, Billing, Inputs, JobState, Lane, OnPartial

from .counters import release
from .estimates import LEARN
from .news import note
from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .processes import Owner


async def lock_owned(
    connection: AsyncConnection, owner: Owner, task_uuids: Iterable[UUID]
) -> dict[UUID, LiveAttempt]:
    """Lock those of `task_uuids` that have not ended and that `owner` still owns.

    What is missing from the answer is not ours any more: stop quietly.
    """
    values = {"ids": [str(task) for task in task_uuids], "owner_id": owner.id, "epoch": owner.epoch}
    where = (
        f"attempt.state <> '{AttemptState.ENDED}' AND attempt.task_uuid = ANY (CAST(:ids AS uuid[]))"
        " AND owner_id = :owner_id AND epoch = :epoch"
    )
    return await _lock(connection, where, values)


async def lock_lost(connection: AsyncConnection, task_uuids: Iterable[UUID]) -> dict[UUID, LiveAttempt]:
    """Lock those of `task_uuids` that were given up as lost: nobody owns them, whoever asks may decide."""
    where = f"attempt.outcome = '{AttemptEnd.LOST}' AND attempt.task_uuid = ANY (CAST(:ids AS uuid[]))"
    return await _lock(connection, where, {"ids": [str(task) for task in task_uuids]})


async def _lock(connection: AsyncConnection, where: str, values: dict[str, Any]) -> dict[UUID, LiveAttempt]:
    rows = (await connection.execute(text(_LOCK.format(where=where)), values)).mappings().all()
    # Read after the locks are held: what somebody else has recorded while we waited
    # for them must count as known. Only a task that was accepted has results.
    accepted = [
        str(row["task_uuid"]) for row in rows if row["state"] in {AttemptState.ACCEPTED, AttemptState.ENDED}
    ]
    known = {}
    if accepted:
        found = await connection.execute(text(_KNOWN), {"ids": accepted})
        known = {row["task_uuid"]: row for row in found.mappings()}
    return {row["task_uuid"]: _live(row, known.get(row["task_uuid"])) for row in rows}


def _live(row: Any, known: Any) -> LiveAttempt:
    return LiveAttempt(
        task_uuid=row["task_uuid"],
        job_id=row["job_id"],
        state=AttemptState(row["state"]),
        run=row["run"],
        number=row["number"],
        age_s=float(row["age_s"]),
        accepted_s=None if row["accepted_s"] is None else float(row["accepted_s"]),
        was_resent=row["was_resent"],
        progress=row["progress"],
        job_state=JobState(row["job_state"]),
        job_run=row["job_run"],
        lane=Lane(row["lane"]),
        model=row["model"],
        task_type=row["task_type"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        times_busy=row["times_busy"],
        results_expected=row["results_expected"],
        on_partial=OnPartial(row["on_partial"]),
        inputs=None if row["inputs"] is None else Inputs(row["inputs"]),
        known_keys=frozenset(known["keys"]) if known else frozenset(),
        known_successes=known["successes"] if known else 0,
        known_cost_usd=row["cost_usd"],
        steps=tuple(row["settlement"]),
        unknown_s=_told_for_s("unknown", row["settlement"], row["read_at"]),
        refused_s=_told_for_s("refused", row["settlement"], row["read_at"]),
        resent_s=None if row["resent_s"] is None else float(row["resent_s"]),
        is_late=row["is_late"],
    )


def _told_for_s(answer: str, steps: Sequence[Mapping[str, Any]], now: datetime) -> float | None:
    """Read since when polls have been answered so: it is written down once; None when they are not."""
    told = next((one for one in reversed(steps) if one["step"] == "getResponse"), None)
    if told is None or told["answer"] != answer:
        return None
    return (now - datetime.fromisoformat(told["at"])).total_seconds()


async def carry_out(connection: AsyncConnection, moves: Sequence[Move]) -> bool:
    """Write `moves`, made from attempts locked in this transaction; does not commit. True: something is to leave."""
    moves = [move for move in moves if not move.changes_nothing]
    if not moves:
        return False
    note(connection, (move.live.job_id for move in moves))
    rows = as_json([_row(move) for move in moves])
    await connection.execute(text(_ATTEMPTS), {"moves": rows})
    results = [row for move in moves for row in _result_rows(move)]
    if results:
        await connection.execute(text(_RESULTS), {"results": as_json(results)})
    await connection.execute(text(_JOBS), {"moves": rows})
    is_told = await announce(connection, [row for move in moves for row in _event_rows(move)])
    await release(connection, moves)
    if any(_is_sample(move) for move in moves):
        await connection.execute(text(_ESTIMATES), {"moves": rows})
    return is_told


async def announce(connection: AsyncConnection, events: Sequence[dict[str, Any]]) -> bool:
    """Write events of jobs that this transaction has locked, with their outbox rows; False: nobody wants them.

    Each entry has `job_id`, `type`, `data`, and `back`: how many events of the same
    job follow it in this call (its `seq` counts back from the job's, raised before).
    """
    if not events:
        return False
    note(connection, (event["job_id"] for event in events))
    told = await connection.execute(
        text(_EVENTS),
        {
            "events": as_json(events),
            "default_events": sorted(DEFAULT_WEBHOOK_EVENTS),
            "final_events": sorted(FINAL_EVENTS),
            "result_event": EventType.JOB_RESULT,
        },
    )
    return told.rowcount > 0


def _is_sample(move: Move) -> bool:
    # How long a lost one took, nobody knows; nor one that was looked for, and found complete.
    was_doubtful = move.live.state is AttemptState.UNCLEAR or move.live.unknown_s is not None
    return (
        move.attempt_to is AttemptState.ENDED
        and not move.is_late_answer
        and not was_doubtful
        and move.live.refused_s is None
        and any(result.succeeded for result in move.results)
    )


def _row(move: Move) -> dict[str, Any]:
    live = move.live
    cost = move.cost_usd
    results = sum(1 for result in move.results if result.succeeded)
    return {
        "task_uuid": str(live.task_uuid),
        "job_id": str(live.job_id),
        "attempt_from": live.state,
        "attempt_to": move.attempt_to,
        "outcome": move.outcome,
        "attempt_error": move.attempt_error.to_json() if move.attempt_error else None,
        "settlement": move.settlement or None,
        "resent": move.resent,
        "progress": move.progress,
        "cost_usd": cost,
        "cost_added_usd": None if cost is None else cost - (live.known_cost_usd or 0),
        "job_from": live.job_state,
        "job_to": move.job_to,
        "job_error": move.job_error.to_json() if move.job_error else None,
        "carries_job": live.carries_job,
        "billing": move.billing,
        "delay_s": move.delay_s,
        "busy": move.busy,
        "renews_inputs": move.renews_inputs,
        "unseen_s": move.unseen_s,
        "events": len(move.events),
        "is_sample": _is_sample(move),
        "results": results,
        "successes": live.known_successes + results,
    }


def _result_rows(move: Move) -> Iterable[dict[str, Any]]:
    for result in move.results:
        yield {
            "task_uuid": str(move.live.task_uuid),
            "key": result.key,
            "job_id": str(move.live.job_id),
            "run": move.live.run,
            "position": result.position,
            "state": "success" if result.succeeded else "error",
            "item": result.item,
            "cost_usd": result.cost_usd,
            "error": result.error.to_json() if result.error else None,
        }


def _event_rows(move: Move) -> Iterable[dict[str, Any]]:
    for place, event in enumerate(move.events, start=1):
        yield {
            "job_id": str(move.live.job_id),
            "type": event.type,
            "data": {**event.data, "task_uuid": str(move.live.task_uuid)},
            "back": len(move.events) - place,
        }


_LOCK: Final = f"""
SELECT attempt.task_uuid, attempt.job_id, attempt.state, attempt.run, attempt.number, attempt.progress,
    attempt.cost_usd, attempt.settlement, now() AS read_at, attempt.resent_at IS NOT NULL AS was_resent,
    EXTRACT(EPOCH FROM now() - attempt.resent_at) AS resent_s,
    EXTRACT(EPOCH FROM now() - attempt.submitted_at) AS age_s,
    EXTRACT(EPOCH FROM now() - attempt.accepted_at) AS accepted_s,
    job.state AS job_state, job.run AS job_run, job.lane, job.model, job.params ->> 'taskType' AS task_type,
    job.attempts, job.max_attempts, job.times_busy, job.results_expected, job.on_partial,
    job.inputs, COALESCE(job.deadline_at <= now(), false) AS is_late
FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id
WHERE {{where}}
ORDER BY job.id
FOR UPDATE OF job, attempt
"""

_KNOWN: Final = f"""
SELECT task_uuid, array_agg(key) AS keys, count(*) FILTER (WHERE state = 'success') AS successes
FROM {SCHEMA}.result WHERE task_uuid = ANY (CAST(:ids AS uuid[])) GROUP BY task_uuid
"""

_MOVES: Final = """
WITH move AS (
    SELECT * FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS move(
        task_uuid uuid, job_id uuid, attempt_from text, attempt_to text, outcome text, attempt_error jsonb,
        settlement jsonb, resent boolean, progress smallint, cost_usd numeric, cost_added_usd numeric,
        job_from text, job_to text, job_error jsonb, carries_job boolean, billing text,
        delay_s double precision, renews_inputs boolean, busy boolean, unseen_s double precision, events integer, is_sample boolean, results integer,
        successes integer)
)
"""

_ATTEMPTS: Final = f"""{_MOVES}
UPDATE {SCHEMA}.attempt SET
    state = COALESCE(move.attempt_to, attempt.state),
    outcome = COALESCE(move.outcome, attempt.outcome),
    error = COALESCE(NULLIF(move.attempt_error, 'null'), attempt.error),
    progress = COALESCE(move.progress, attempt.progress),
    cost_usd = COALESCE(move.cost_usd, attempt.cost_usd),
    settlement = attempt.settlement || CASE WHEN NULLIF(move.settlement, 'null') IS NULL THEN CAST('[]' AS jsonb)
        ELSE (SELECT jsonb_agg(step || jsonb_build_object('at', now()) ORDER BY place)
              FROM jsonb_array_elements(move.settlement) WITH ORDINALITY AS step(step, place)) END,
    resent_at = CASE move.resent WHEN true THEN now() WHEN false THEN NULL ELSE attempt.resent_at END,
    accepted_at = CASE WHEN move.attempt_to = '{AttemptState.ACCEPTED}' OR move.results > 0
        THEN COALESCE(attempt.accepted_at, now()) ELSE attempt.accepted_at END,
    finished_at = CASE WHEN move.attempt_to = '{AttemptState.ENDED}' THEN COALESCE(attempt.finished_at, now()) END,
    owner_id = CASE WHEN move.attempt_to IN ('{AttemptState.ENDED}', '{AttemptState.PREPARED}') THEN NULL
        ELSE attempt.owner_id END,
    epoch = CASE WHEN move.attempt_to IN ('{AttemptState.ENDED}', '{AttemptState.PREPARED}') THEN NULL
        ELSE attempt.epoch END
FROM move WHERE attempt.task_uuid = move.task_uuid AND attempt.state = move.attempt_from
"""

_RESULTS: Final = f"""
INSERT INTO {SCHEMA}.result (task_uuid, key, job_id, run, position, state, item, cost_usd, error)
SELECT task_uuid, key, job_id, run, position, state, item, cost_usd, NULLIF(error, 'null')
FROM jsonb_to_recordset(CAST(:results AS jsonb)) AS result(
    task_uuid uuid, key text, job_id uuid, run smallint, position smallint, state text, item jsonb,
    cost_usd numeric, error jsonb)
ON CONFLICT DO NOTHING
"""

_JOBS: Final = f"""{_MOVES}
UPDATE {SCHEMA}.job SET
    state = COALESCE(move.job_to, job.state),
    seq = job.seq + move.events,
    inputs = CASE WHEN move.renews_inputs THEN '{Inputs.RENEWING}' ELSE job.inputs END,
    error = CASE WHEN move.job_to IS NOT NULL THEN NULLIF(move.job_error, 'null') ELSE job.error END,
    progress = CASE WHEN move.carries_job THEN COALESCE(move.progress, job.progress) ELSE job.progress END,
    billing = CASE
        WHEN move.billing = '{Billing.NONE}' AND job.cost_usd > 0
            THEN CASE job.billing WHEN '{Billing.DETACHED}' THEN '{Billing.BILLED}' ELSE job.billing END
        ELSE COALESCE(move.billing, job.billing) END,
    cost_usd = CASE WHEN move.cost_added_usd IS NULL THEN job.cost_usd
        ELSE LEAST({MOST_USD}, COALESCE(job.cost_usd, 0) + move.cost_added_usd) END,
    run_at = CASE WHEN move.delay_s IS NULL THEN job.run_at ELSE now() + make_interval(secs => move.delay_s) END,
    times_busy = CASE WHEN move.busy THEN LEAST(job.times_busy + 1, 1000)
        -- Unclear says nothing of the place in the queue; settling looks at the count.
        WHEN move.attempt_to IS NULL OR move.attempt_to = '{AttemptState.UNCLEAR}' THEN job.times_busy
        ELSE 0 END,
    submitted_at = CASE WHEN move.attempt_to = '{AttemptState.ACCEPTED}' OR move.job_to = '{JobState.SUCCEEDED}'
        THEN COALESCE(job.submitted_at, now()) ELSE job.submitted_at END,
    finished_at = CASE WHEN move.job_to IN ('{JobState.SUCCEEDED}', '{JobState.FAILED}', '{JobState.CANCELED}')
        THEN now() ELSE job.finished_at END
FROM move WHERE job.id = move.job_id AND job.state = move.job_from
"""

_EVENTS: Final = f"""
WITH item AS (
    SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS item(
        job_id uuid, type text, data jsonb, back integer)
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, job_id, batch_id, run, seq, data)
    SELECT gen_random_uuid(), item.type, job.tenant, job.id, job.batch_id, job.run, job.seq - item.back, item.data
    FROM item JOIN {SCHEMA}.job ON job.id = item.job_id
    RETURNING id, created_at, type, tenant, job_id, run, seq
)
-- In the order of `seq`, whatever order the joins give: a job's rows leave by their ids.
INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, job_id, endpoint_id, url)
SELECT sink, event_id, created_at, job_id, endpoint_id, url FROM (
SELECT 'webhook' AS sink, told.id AS event_id, told.created_at, told.job_id, endpoint.id AS endpoint_id, endpoint.url,
    told.seq
FROM told JOIN {SCHEMA}.endpoint ON endpoint.tenant = told.tenant AND endpoint.is_enabled
WHERE endpoint.url IS NOT NULL AND told.type = ANY (
    CASE WHEN endpoint.events = '{{}}' THEN CAST(:default_events AS text[]) ELSE endpoint.events END)
UNION ALL
SELECT 'webhook', told.id, told.created_at, told.job_id, endpoint.id, job.webhook_url, told.seq
FROM told JOIN {SCHEMA}.job ON job.id = told.job_id AND job.webhook_url IS NOT NULL
JOIN {SCHEMA}.endpoint ON endpoint.tenant = told.tenant AND endpoint.url IS NULL
WHERE told.type = ANY (CAST(:default_events AS text[]))
UNION ALL
SELECT 'link', told.id, told.created_at, told.job_id, NULL, NULL, told.seq
FROM told JOIN {SCHEMA}.job ON job.id = told.job_id
    AND (job.link IS NOT NULL OR job.link_error IS NOT NULL OR job.canvas IS NOT NULL)
WHERE told.type = ANY (CAST(:final_events AS text[])) AND told.run = 1
UNION ALL
SELECT 'signal', told.id, told.created_at, told.job_id, NULL, NULL, told.seq FROM told
WHERE EXISTS (
    SELECT FROM {SCHEMA}.process WHERE stopped_at IS NULL
    AND CASE WHEN told.type = :result_event THEN 'on_result' ELSE 'on_state' END = ANY (signals))
UNION ALL
SELECT 'archive', told.id, told.created_at, told.job_id, NULL, NULL, told.seq FROM told
WHERE told.type = :result_event
  AND EXISTS (SELECT FROM {SCHEMA}.process WHERE stopped_at IS NULL AND archives)
) AS leaving ORDER BY seq
"""

_ESTIMATES: Final = f"{_MOVES}, {LEARN}"
