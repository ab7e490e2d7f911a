"""Unclear sends are settled under the same UUID: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runware_jobs.client import Missing, create_runware_error
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.record import record
from runware_jobs.steps.rescue import adopt
from runware_jobs.steps.submit import claim_group, submit
from runware_jobs.steps.tasks import make_tasks
from runware_jobs.steps.unclear import Found, abandon, settle_by_hand
from runware_jobs.steps.watch import watch_sent
from runware_jobs.store import pauses
from runware_jobs.store.recovery import read_unclear
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added, attempts_of, job_of
from tests.store.test_moves import sent
from tests.support.rows import NOTHING_UNDER_WAY, change_rows, read_counters, read_rows

LOSE_ANSWER = {"on": "submit", "count": 1, "action": {"kind": "lose_answer"}}
RESET = {"on": "submit", "count": 1, "action": {"kind": "reset"}}
STATUS = {"on": "submit", "count": 1, "action": {"kind": "status", "status": 502, "body": "html"}}
FOUND = ["send unclear", "getResponse known"]
SENT_AGAIN = [
    "send unclear",
    "getResponse unknown",
    "archive unknown",
    "resend accepted",
    "getResponse known",
]


def arrivals(emulator):
    """Give how often each UUID has arrived and was accepted."""
    return [(task["submits"], task["accepted"]) for task in emulator.ledger()["tasks"].values()]


def steps_of(attempt):
    return [f"{step['step']} {step['answer']}" for step in attempt["settlement"]]


@pytest.mark.parametrize(
    ("label", "fault", "steps", "unknown_task"),
    [
        ("the answer was lost", LOSE_ANSWER, FOUND, "empty"),
        ("the answer was lost, unknown is an error", LOSE_ANSWER, FOUND, "error"),
        ("it never arrived", RESET, SENT_AGAIN, "empty"),
        ("it never arrived, unknown is an error", RESET, SENT_AGAIN, "error"),
        ("a gateway gave up", STATUS, SENT_AGAIN, "empty"),
        ("a gateway gave up, unknown is an error", STATUS, SENT_AGAIN, "error"),
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
            await change_rows(connection, "DELETE FROM flow")  # what the 429 has taught
        await follow(context, (await submit(context)).watches, polls=100)
    attempts = await attempts_of(engine, job_id)

    assert [attempt["outcome"] for attempt in attempts] == ["succeeded"]
    assert emulator.ledger()["totals"]["accepted"] == 1


async def test_worker_that_dies_anywhere_leaves_everything_to_another(engine, emulator, workers):
    """One claimed and did not send, one sent and did not record, one recorded and did not poll."""
    jobs = await added(engine, 30)
    async with workers(submit_group_size=10) as dying, workers() as successor:
        await claim_group(dying)
        made = await make_tasks(dying, (await claim_group(dying)).claim.jobs)
        await dying.client.submit_many(made.tasks)
        await submit(dying)
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
                id=dying.owner.id,
            )
            # Whoever could still send, is not succeeded yet.
            await change_rows(connection, "UPDATE attempt SET send_before = now() WHERE state = 'sending'")
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
        [job] = (await claim_group(context)).claim.jobs
        await record(context, [job.task_uuid], sent(what))
        moves = await record(context, [job.task_uuid], sent(what))
        watch = watch_sent(context, job.task_uuid, job.lane, moves[job.task_uuid], learned_as=job.learned_as)

    assert what == watch.state


class Unknowing:
    """The platform with another memory: polls and the archive know none of `tasks` while it `forgets`."""

    def __init__(self, client):
        self._client = client
        self.forgets = True

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def poll_many(self, tasks, **options):
        if self.forgets:
            return {task: Missing() for task in tasks}
        return await self._client.poll_many(tasks, **options)

    async def get_task_details(self, params):
        return [] if self.forgets else await self._client.get_task_details(params)


async def test_lost_task_is_lost_however_often_workers_restart(engine, emulator, workers):
    """Each worker sees it unknown for a moment only; that it was unknown before stands in its record."""
    [job_id] = await added(engine)
    emulator.inject({"on": "submit", "action": {"kind": "lost"}})
    async with workers() as context:
        await submit(context)
    for _ in range(3):
        async with engine.begin() as connection:
            await change_rows(connection, HOUR_AGO)
            await change_rows(
                connection,
                "UPDATE process SET stopped_at = now(); UPDATE attempt SET owner_id = NULL, epoch = NULL",
            )
        async with workers() as context:
            for watch in await adopt(context):
                watch.missing_since = watch.sent_at = -1e6
                await follow(context, [watch], polls=1)
    job = await job_of(engine, job_id)

    assert (job["state"], job["billing"], job["error"]["code"]) == ("failed", "unclear", "notFound")


HOUR_AGO = """
UPDATE attempt SET accepted_at = accepted_at - interval '1 hour', submitted_at = submitted_at - interval '1 hour',
    settlement = (SELECT COALESCE(jsonb_agg(step || jsonb_build_object(
        'at', CAST(step ->> 'at' AS timestamptz) - interval '1 hour')), '[]') FROM jsonb_array_elements(settlement) AS step)
"""


async def test_results_of_a_task_given_up_as_lost_are_recorded_by_hand(engine, emulator, workers):
    [job_id] = await added(engine)
    async with workers(lost_after_s=0) as worker:
        unknowing = Unknowing(worker.client)
        context = replace(worker, client=unknowing)
        await follow(context, (await submit(context)).watches, polls=50)
        lost = await job_of(engine, job_id)
        unknowing.forgets = False
        async with engine.connect() as connection:
            unclear = await read_unclear(connection, limit=10)
        found = {}
        while Found.ENDED not in found.values():
            found = await settle_by_hand(context, unclear)
    async with engine.connect() as connection:
        left = await read_unclear(connection, limit=10)
        counters = await read_counters(connection)
        [account] = await read_rows(connection, "SELECT spent_usd FROM account")
        results = await read_rows(connection, "SELECT state FROM result")
    job = await job_of(engine, job_id)

    assert (lost["state"], lost["billing"]) == ("failed", "unclear")
    assert (job["state"], job["billing"]) == ("failed", "billed")
    assert job["cost_usd"] == account["spent_usd"] > 0
    assert (left, results, counters) == ([], [{"state": "success"}], NOTHING_UNDER_WAY)


async def test_person_gives_up_what_a_worker_follows(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject(RESET)
    async with workers(resends=False) as context, workers() as person:
        watches = (await submit(context)).watches
        async with engine.connect() as connection:
            unclear = await read_unclear(connection, limit=10)
        followed = await settle_by_hand(person, unclear)
        given_up = await abandon(engine, person.owner, unclear)
        left = await follow(context, watches, polls=2)
    job = await job_of(engine, job_id)

    assert list(followed.values()) == [Found.FOLLOWED]
    assert given_up == {one.task_uuid for one in unclear}
    assert left == []
    assert (job["state"], job["billing"]) == ("failed", "unclear")


async def test_resend_does_not_leave_while_the_account_is_paused(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject(RESET)
    async with workers(lost_after_s=0) as context:
        watches = (await submit(context)).watches
        async with engine.begin() as connection:
            await pauses.pause_by_hand(connection, context.owner.account_id, reason="prices")
        watches = await follow(context, watches, polls=5)
        paused = arrivals(emulator)
        async with engine.begin() as connection:
            await pauses.resume_by_hand(connection, context.owner.account_id)
        left = await follow(context, watches)
    job = await job_of(engine, job_id)

    assert (paused, len(watches), left) == ([(1, 0)], 1, [])
    assert job["state"] == "succeeded"


async def test_process_stopped_between_mark_and_resend_sends_nothing_when_it_goes_on(
    engine, emulator, workers
):
    """Its window was opened before the mark; while it slept the attempt has become somebody else's."""
    await added(engine)
    emulator.inject(RESET)
    async with workers(send_window_s=0.01) as worker:
        context = replace(worker, client=Slow(worker.client))
        watches = (await submit(replace(worker, tempo=replace(worker.tempo, send_window_s=5)))).watches
        await follow(context, watches, polls=2)

    assert arrivals(emulator) == [(1, 0)]


class Slow:
    """The platform's client in a process that sleeps before each send."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def submit_many(self, tasks, **options):
        await asyncio.sleep(0.05)
        return await self._client.submit_many(tasks, **options)


async def test_page_of_a_gateway_is_no_answer_of_the_archive(engine, emulator, workers):
    await added(engine)
    emulator.inject(RESET)
    async with workers() as worker:

        class Gateway(Archive):
            async def get_task_details(self, params):
                raise create_runware_error("", "The answer is empty or unreadable.", status_code=404)

        context = replace(worker, client=Gateway(worker.client, {}))
        left = await follow(context, (await submit(context)).watches, polls=3)

    assert len(left) == 1
    assert arrivals(emulator) == [(1, 0)]


async def test_duplicate_in_the_archive_says_that_the_first_was_taken(engine, emulator, workers):
    """A request that something on the way has repeated: nobody resent it, and it runs."""
    [job_id] = await added(engine)
    emulator.inject(LOSE_ANSWER)
    async with workers() as worker:
        unknowing = Unknowing(
            Archive(worker.client, {"errors": [{"code": "conflictTaskUUID", "message": "m"}]})
        )
        unknowing.get_task_details = unknowing._client.get_task_details
        context = replace(worker, client=unknowing)
        watches = await follow(context, (await submit(context)).watches, polls=1)
        unknowing.forgets = False
        left = await follow(context, watches)
    job = await job_of(engine, job_id)

    assert (job["state"], left) == ("succeeded", [])
    assert arrivals(emulator) == [(1, 1)]
