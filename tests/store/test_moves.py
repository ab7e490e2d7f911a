"""Moves as they are written: guarded by the owner, events in order, counters back to zero."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_loss, after_send
from runware_jobs.steps.words import item_error
from runware_jobs.store import processes
from runware_jobs.store.jobs import read_events, read_jobs
from runware_jobs.store.moves import carry_out, lock_owned
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import (
    NOTHING_UNDER_WAY,
    change_rows,
    read_attempts,
    read_counters,
    read_event_types,
    read_job,
    read_rows,
)

REFUSED = JobError("validation", "width is wrong", parameter="width")
SLOW = JobError("timeout", "too slow", retryable=True)


def result(index, cost=0.0013):
    return {"status": "success", "resultIndex": index, "imageURL": f"https://im/{index}", "cost": cost}


def failed(index):
    return {"status": "error", "resultIndex": index, "error": {"code": "timeoutProvider", "message": "slow"}}


def sent(what, **values):
    return lambda live: after_send(live, SendOutcome(what, **values), classify=item_error, random=0.5)


def answered(*items, errors=()):
    return lambda live: after_answer(live, Answer(items, tuple(errors)), classify=item_error, random=0.5)


async def apply(connection, owner, tasks, decide):
    live = await lock_owned(connection, owner, tasks)
    await carry_out(connection, [decide(one) for one in live.values()])
    return len(live)


@pytest.fixture
async def running(engine, owner):
    """One running job of two results and its task."""
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, params={"numberResults": 2})
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
    return job_id, job.task_uuid


async def test_job_runs_to_its_end_with_an_event_for_each_move(engine, owner, running):
    job_id, task = running
    async with engine.begin() as connection:
        await apply(connection, owner, [task], answered(result(0)))
        await apply(connection, owner, [task], answered(result(0), result(1)))
        types = await read_event_types(connection, job_id)
        job = await read_job(connection, job_id)
        [attempt] = await read_attempts(connection, job_id)
        counters = await read_counters(connection)
        [account] = await read_rows(connection, "SELECT spent_usd FROM account")

    assert types == ["job.queued", "job.submitted", "job.result", "job.result", "job.succeeded"]
    assert ("succeeded", 100, "billed", Decimal("0.0026")) == tuple(
        job[name] for name in ("state", "progress", "billing", "cost_usd")
    )
    assert ("ended", "succeeded", None, Decimal("0.0026")) == tuple(
        attempt[name] for name in ("state", "outcome", "owner_id", "cost_usd")
    )
    assert Decimal("0.0026") == account["spent_usd"]
    assert counters == NOTHING_UNDER_WAY


async def test_results_are_read_in_order_with_their_events(engine, owner, running):
    job_id, task = running
    async with engine.begin() as connection:
        await apply(connection, owner, [task], answered(result(1), failed(0)))
        row = (await read_jobs(connection, [job_id]))[job_id]
        events = await read_events(connection, job_id, after=2)

    assert [entry["state"] for entry in row["results"]] == ["error", "success"]
    assert [event.item and event.item["resultIndex"] for event in events] == [1, 0, None]


async def test_same_answer_again_writes_nothing(engine, owner, running):
    _, task = running
    async with engine.begin() as connection:
        await apply(connection, owner, [task], answered(result(0)))
    async with engine.connect() as connection:
        before = (await connection.execute(text("SELECT pg_current_wal_insert_lsn()"))).scalar_one()
        live = await lock_owned(connection, owner, [task])
        move = answered(result(0))(live[task])
        await carry_out(connection, [move])
        rows = await read_rows(connection, "SELECT xmin = pg_current_xact_id()::xid AS mine FROM job")

    assert before is not None
    assert move.changes_nothing
    assert rows == [{"mine": False}]


@pytest.mark.parametrize(
    ("label", "statement"),
    [
        ("adopted by another", "UPDATE attempt SET owner_id = (SELECT max(id) FROM process), epoch = 1"),
        ("a later life of the same", "UPDATE attempt SET epoch = epoch + 1"),
        ("given back", "UPDATE attempt SET owner_id = NULL, epoch = NULL"),
    ],
)
async def test_move_of_a_former_owner_writes_nothing(engine, owner, running, label, statement):
    job_id, task = running
    async with engine.begin() as connection:
        await processes.register(connection, account_id=owner.account_id, host="h", pid=2, signals=[])
        await change_rows(connection, statement)
        moved = await apply(connection, owner, [task], answered(result(0), result(1)))
        job = await read_job(connection, job_id)

    assert moved == 0
    assert job["state"] == "running"


async def test_event_is_not_there_when_its_move_is_rolled_back(engine, owner, running):
    job_id, task = running
    async with engine.connect() as connection:
        await apply(connection, owner, [task], answered(result(0), result(1)))
        await connection.rollback()
        types = await read_event_types(connection, job_id)
        results = await read_rows(connection, "SELECT key FROM result")

    assert types == ["job.queued", "job.submitted"]
    assert results == []


ENDINGS = [
    ("an ACK and its results", [sent(Sent.ACCEPTED), answered(result(0), result(1))], "succeeded", "billed"),
    ("all in the first answer", [sent(Sent.ACCEPTED, answer=Answer((result(0), result(1))))], "succeeded", "billed"),
    ("some failed", [sent(Sent.ACCEPTED), answered(result(0), failed(1))], "succeeded", "billed"),
    ("all failed", [sent(Sent.ACCEPTED), answered(failed(0), failed(1))], "queued", "none"),
    ("failed as a whole", [sent(Sent.ACCEPTED), answered(errors=[SLOW])], "queued", "none"),
    ("refused", [sent(Sent.REFUSED, error=REFUSED)], "failed", "none"),
    ("busy", [sent(Sent.BUSY)], "queued", "none"),
    ("not sent", [sent(Sent.NOT_SENT)], "queued", "none"),
    ("unclear, then there", [sent(Sent.UNCLEAR), sent(Sent.CONFLICT), answered(result(0), result(1))], "succeeded", "billed"),
    ("unclear, then lost", [sent(Sent.UNCLEAR), lambda live: after_loss(live, "gone")], "failed", "unclear"),
    ("lost", [sent(Sent.ACCEPTED), lambda live: after_loss(live, "gone")], "failed", "unclear"),
]  # fmt: skip


@pytest.mark.parametrize(("label", "decisions", "state", "billing"), ENDINGS, ids=[e[0] for e in ENDINGS])
async def test_counters_return_to_zero_on_every_way_out(engine, owner, label, decisions, state, billing):
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "INSERT INTO estimate (model, size, samples, duration_s, cost_usd)"
            " VALUES ('runware:400@1', '', 1, 1, 0.001)",
        )
        [job_id] = await enqueue_jobs(connection, params={"numberResults": 2})
        [job] = await claim_jobs(connection, owner)
        under_way = await read_counters(connection)
        for decide in decisions:
            await apply(connection, owner, [job.task_uuid], decide)
        counters = await read_counters(connection)
        row = await read_job(connection, job_id)
        await read_event_types(connection, job_id)

    assert under_way["account_held_usd"] == 0.002
    assert counters == NOTHING_UNDER_WAY
    assert (state, billing) == (row["state"], row["billing"])


async def test_settlement_is_kept_in_order_with_times(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        await apply(connection, owner, [job.task_uuid], sent(Sent.UNCLEAR))
        await apply(connection, owner, [job.task_uuid], sent(Sent.BUSY))
        [attempt] = await read_attempts(connection, job_id)

    assert [(step["step"], step["answer"]) for step in attempt["settlement"]] == [
        ("send", "unclear"),
        ("resend", "busy"),
    ]
    assert all(step["at"] for step in attempt["settlement"])


async def test_cost_of_all_attempts_adds_up_in_the_job(engine, owner, running):
    job_id, task = running
    broken = {**failed(0), "cost": 0.5}
    async with engine.begin() as connection:
        await apply(connection, owner, [task], answered(broken, {**failed(1), "cost": 0.25}))
        job = await read_job(connection, job_id)

    assert ("failed", Decimal("0.75"), "billed") == (job["state"], job["cost_usd"], job["billing"])


async def test_progress_is_the_jobs_and_the_attempts(engine, owner, running):
    job_id, task = running
    async with engine.begin() as connection:
        await apply(connection, owner, [task], answered({"status": "processing", "progress": 40}))
        job = await read_job(connection, job_id)
        [attempt] = await read_attempts(connection, job_id)

    assert (job["progress"], attempt["progress"]) == (40, 40)


async def test_results_of_an_answer_recorded_while_we_waited_are_known(engine, owner, running):
    """Two who record one answer (a poll and a callback) count its cost once."""

    _, task = running
    async with engine.connect() as first, engine.connect() as second:
        await apply(first, owner, [task], answered(result(0)))
        pid = await pid_of(second)
        locking = asyncio.create_task(lock_owned(second, owner, [task]))
        await until_waiting(engine, pid)
        await first.commit()
        live = await locking
        await second.rollback()

    assert {"i0"} == live[task].known_keys
    assert Decimal("0.0013") == live[task].known_cost_usd


async def test_many_moves_at_once_keep_each_jobs_events_in_order(engine, owner):
    """Whatever plan the database takes, the outbox leaves in the order of `seq`."""
    async with engine.begin() as connection:
        await processes.register(
            connection, account_id=owner.account_id, host="h", pid=2, signals=["on_state", "on_result"]
        )
        await enqueue_jobs(connection, 40, params={"numberResults": 2})
        jobs = await claim_jobs(connection, owner)
        await change_rows(connection, "DELETE FROM outbox")
        for method in ("nestloop", "mergejoin"):
            await connection.execute(text(f"SET LOCAL enable_{method} = off"))
        both = sent(Sent.ACCEPTED, answer=Answer((result(0), result(1))))
        await apply(connection, owner, [job.task_uuid for job in jobs], both)
        rows = await read_rows(
            connection,
            "SELECT array_agg(event.seq ORDER BY outbox.id) AS seqs FROM outbox"
            " JOIN event ON event.id = outbox.event_id GROUP BY outbox.job_id",
        )

    assert len(rows) == 40
    assert {(2, 3, 4, 5)} == {tuple(row["seqs"]) for row in rows}
