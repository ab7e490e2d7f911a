"""Unclear sends are settled under the same UUID: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.record import record
from runware_jobs.steps.rescue import adopt
from runware_jobs.steps.submit import _claim, submit
from runware_jobs.steps.watch import watch_sent
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added, attempts_of, job_of
from tests.store.test_moves import sent
from tests.support.rows import NOTHING_UNDER_WAY, change_rows, read_counters, read_rows

LOSE_ANSWER = {"on": "submit", "count": 1, "action": {"kind": "lose_answer"}}
RESET = {"on": "submit", "count": 1, "action": {"kind": "reset"}}
STATUS = {"on": "submit", "count": 1, "action": {"kind": "status", "status": 502, "body": "html"}}


def arrivals(emulator):
    """Give how often each UUID has arrived and was accepted."""
    return [(task["submits"], task["accepted"]) for task in emulator.ledger()["tasks"].values()]


def steps_of(attempt):
    return [step["step"] for step in attempt["settlement"]]


@pytest.mark.parametrize(
    ("label", "fault", "steps", "unknown_task"),
    [
        ("the answer was lost", LOSE_ANSWER, ["send"], "empty"),
        ("the answer was lost, unknown is an error", LOSE_ANSWER, ["send"], "error"),
        ("it never arrived", RESET, ["send", "archive"], "empty"),
        ("it never arrived, unknown is an error", RESET, ["send", "archive"], "error"),
        ("a gateway gave up", STATUS, ["send", "archive"], "empty"),
        ("a gateway gave up, unknown is an error", STATUS, ["send", "archive"], "error"),
    ],
)
async def test_unclear_send_is_settled_under_its_own_uuid(
    engine, emulator, workers, label, fault, steps, unknown_task
):
    [job_id] = await added(engine)
    emulator.configure(switches={"unknown_task": unknown_task})
    emulator.inject(fault)
    async with workers() as context:
        submitted = await submit(context)
        unclear = await attempts_of(engine, job_id)
        left = await follow(context, submitted.watches)
    job = await job_of(engine, job_id)
    [attempt] = await attempts_of(engine, job_id)
    ledger = emulator.ledger()

    assert (unclear[0]["state"], left) == ("unclear", [])
    assert (job["state"], job["attempts"]) == ("succeeded", 1)
    assert steps == steps_of(attempt)
    assert [str(attempt["task_uuid"])] == list(ledger["tasks"])
    assert (ledger["totals"]["accepted"], ledger["totals"]["duplicates"]) == (1, 0)


async def test_unclear_group_is_settled_with_one_task_each(engine, emulator, workers):
    await added(engine, 10)
    emulator.inject(LOSE_ANSWER)
    async with workers() as context:
        await follow(context, (await submit(context)).watches)
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1")
        counters = await read_counters(connection)
    ledger = emulator.ledger()

    assert states == [{"state": "succeeded", "jobs": 10}]
    assert (len(ledger["tasks"]), ledger["totals"]["accepted"]) == (10, 10)
    assert counters == NOTHING_UNDER_WAY


async def test_nothing_is_resent_where_that_is_switched_off(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject(RESET)
    async with workers(resends=False, lost_after_s=0) as context:
        left = await follow(context, (await submit(context)).watches, polls=20)
    job = await job_of(engine, job_id)

    assert left == []
    assert (job["state"], job["billing"], job["error"]["code"]) == ("failed", "unclear", "notFound")
    assert arrivals(emulator) == [(1, 0)]


async def test_task_of_a_canceled_job_is_not_sent_a_second_time(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject(RESET)
    async with workers() as context:
        watches = (await submit(context)).watches
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        await follow(context, watches, polls=5)

    assert arrivals(emulator) == [(1, 0)]


class Archive:
    """The platform with another archive: polls know nothing, the archive says `response`."""

    def __init__(self, client, response):
        self._client = client
        self._response = response

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def get_task_details(self, params):
        return [{"taskType": "getTaskDetails", **params, "response": self._response}]


@pytest.mark.parametrize("response", [{}, {"data": [{"taskType": "imageInference"}]}])
async def test_accepted_task_that_nobody_knows_any_more_is_lost(engine, emulator, workers, response):
    """That the archive still shows its acceptance is no reason to ask for ever."""
    [job_id] = await added(engine)
    emulator.inject({"on": "submit", "action": {"kind": "lost"}})
    async with workers(lost_after_s=0) as worker:
        context = replace(worker, client=Archive(worker.client, response))
        left = await follow(context, (await submit(context)).watches, polls=50)
    job = await job_of(engine, job_id)

    assert left == []
    assert (job["state"], job["billing"]) == ("failed", "unclear")


async def test_old_busy_answer_in_the_archive_is_no_end_of_a_later_send(engine, emulator, workers):
    """A new UUID would be paid beside the task that the lost answer was about."""
    [job_id] = await added(engine)
    busy = {"code": "rateLimitExceeded", "message": "The queue is full."}
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "status", "status": 429, "body": "task"}})
    async with workers() as worker:
        context = replace(worker, client=Archive(worker.client, {"errors": [busy]}))
        await submit(context)
        emulator.inject(RESET)
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE job SET run_at = now()")
        await follow(context, (await submit(context)).watches, polls=100)
    attempts = await attempts_of(engine, job_id)

    assert [attempt["outcome"] for attempt in attempts] == ["succeeded"]
    assert emulator.ledger()["totals"]["accepted"] == 1


async def test_worker_that_dies_anywhere_leaves_everything_to_another(engine, emulator, workers):
    """One claimed and did not send, one sent and did not record, one recorded and did not poll."""
    jobs = await added(engine, 30)
    async with workers(submit_group_size=10) as dying, workers() as successor:
        await _claim(dying)
        _, tasks = await _claim(dying)
        await dying.client.submit_many(tasks)
        await submit(dying)
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
                id=dying.owner.id,
            )
        adopted = await adopt(successor)
        left = await follow(successor, adopted)
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1")
        counters = await read_counters(connection)
    tasks = emulator.ledger()["tasks"]

    assert (len(adopted), left) == (30, [])
    assert states == [{"state": "succeeded", "jobs": 30}]
    assert 30 == len(tasks) == len(jobs)
    assert {(1, 1)} == {(task["accepted"], task["items"]) for task in tasks.values()}
    assert counters == NOTHING_UNDER_WAY


async def test_paused_worker_that_wakes_up_writes_nothing_over_its_successor(engine, emulator, workers):
    [job_id] = await added(engine)
    async with workers() as paused, workers() as successor:
        watches = (await submit(paused)).watches
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
                id=paused.owner.id,
            )
        adopted = await adopt(successor)
        given_up = await follow(paused, watches)
        between = await job_of(engine, job_id)
        await follow(successor, adopted)
    job = await job_of(engine, job_id)

    assert given_up == []
    assert (between["state"], job["state"]) == ("running", "succeeded")


async def test_attempt_that_ended_elsewhere_is_followed_no_further(engine, emulator, workers):
    """A person gave it up: whoever polls it finds nothing of its own any more."""
    await added(engine)
    emulator.inject(RESET)
    async with workers(resends=False) as context:
        watches = (await submit(context)).watches
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE attempt SET owner_id = NULL, epoch = NULL")
        left = await follow(context, watches, polls=1)

    assert left == []


@pytest.mark.parametrize("what", ["accepted", "unclear"])
async def test_send_recorded_twice_is_followed_all_the_same(engine, emulator, workers, what):
    """The answer to the commit was lost, and the transaction done again."""
    await added(engine)
    async with workers() as context:
        claimed, _ = await _claim(context)
        [job] = claimed.jobs
        await record(context, [job.task_uuid], sent(what))
        moves = await record(context, [job.task_uuid], sent(what))
        watch = watch_sent(context, job.task_uuid, job.lane, moves[job.task_uuid], expected_s=None)

    assert what == watch.state
