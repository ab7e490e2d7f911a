"""Settling where others are at it too, where questions are refused, and of uploads; and what it teaches."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runware_jobs.client import NoAnswer, create_runware_error
from runware_jobs.client.error_codes import CONNECTION_FAILED
from runware_jobs.core.answers import CostPer
from runware_jobs.core.request import Options
from runware_jobs.steps.enqueue import ask, plan
from runware_jobs.steps.poll import poll
from runware_jobs.steps.questions import Silence
from runware_jobs.steps.rescue import adopt
from runware_jobs.steps.submit import claim_group, send_group, submit
from runware_jobs.steps.unclear import Found, settle_by_hand
from runware_jobs.steps.window import SendWindow
from runware_jobs.store.plans import run_async
from runware_jobs.store.recovery import read_unclear
from tests.steps.conftest import follow
from tests.steps.test_settle import LOSE_ANSWER, RESET, Unknowing, arrivals, steps_of
from tests.steps.test_submit_and_poll import added, attempts_of, job_of
from tests.support.queued import BASE_URL
from tests.support.rows import NOTHING_UNDER_WAY, change_rows, read_counters, read_rows

MODEL = {
    "taskType": "modelUpload",
    "category": "lora",
    "architecture": "flux1d",
    "format": "safetensors",
    "name": "Ink",
    "version": "1.0",
    "air": "acme:ink@1",
    "uniqueIdentifier": "0" * 64,
    "downloadURL": "https://example.com/ink.safetensors",
}


async def lapse(engine, context):
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
            id=context.owner.id,
        )


@pytest.mark.parametrize("fault", [RESET, LOSE_ANSWER])
async def test_two_processes_at_one_attempt_send_it_at_most_once_more(engine, emulator, workers, fault):
    """The former owner does not know yet that its lease has lapsed; both ask and decide at the same time."""
    jobs = await added(engine, 8)
    async with workers() as former, workers() as successor, workers() as person:
        emulator.inject(fault)
        watches = (await submit(former)).watches
        await lapse(engine, former)
        adopted = await adopt(successor)
        async with engine.connect() as connection:
            unclear = await read_unclear(connection, limit=100)
        left = await asyncio.gather(
            follow(former, watches, polls=30), follow(successor, adopted), settle_by_hand(person, unclear)
        )
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1")
        [costs] = await read_rows(connection, "SELECT sum(cost_usd) AS usd FROM job")
        counters = await read_counters(connection)
    ledger = emulator.ledger()

    assert (len(adopted), left[:2]) == (8, [[], []])
    assert set(left[2].values()) <= {Found.FOLLOWED, Found.ENDED}
    assert states == [{"state": "succeeded", "jobs": len(jobs)}]
    assert ledger["totals"]["accepted"] == 8
    assert f"{costs['usd']:.6f}" == ledger["totals"]["billed_usd"]
    assert counters == NOTHING_UNDER_WAY


@pytest.mark.parametrize("fault", [RESET, LOSE_ANSWER])
async def test_unclear_model_upload_is_made_once(engine, emulator, workers, fault):
    emulator.configure(latencies={"modelUpload": 20})
    async with engine.begin() as connection:
        [added_job] = await run_async(
            connection,
            plan(
                [ask(MODEL, Options(), kind="upload")],
                tenant="default",
                base_url=BASE_URL,
                fallback_url=BASE_URL,
            ),
        )
    job_id = added_job.job_id
    emulator.inject(fault)
    async with workers() as context:
        watches = (await submit(context)).watches
        [unclear] = await attempts_of(engine, job_id)
        left = await follow(context, watches)
    job = await job_of(engine, job_id)
    attempts = await attempts_of(engine, job_id)

    assert (unclear["state"], left) == ("unclear", [])
    assert (job["state"], [one["outcome"] for one in attempts]) == ("succeeded", ["succeeded"])
    assert [accepted for _, accepted in arrivals(emulator)] == [1]


class Refusing(Unknowing):
    """A platform that turns down each question about a task; its archive answers unless it `forgets`."""

    async def poll_many(self, tasks, **_):
        refusal = create_runware_error("invalidParameters", "no such question")
        return {task: NoAnswer(refusal) for task in tasks}


async def test_results_are_found_though_nobody_may_ask_for_them(engine, emulator, workers):
    emulator.configure(latencies={"image": 1})
    [job_id] = await added(engine)
    async with workers(lost_after_s=0) as worker:
        refusing = Refusing(worker.client)
        refusing.forgets = False
        context = replace(worker, client=refusing)
        left = await follow(context, (await submit(context)).watches)
    job = await job_of(engine, job_id)

    assert (left, job["state"], job["billing"]) == ([], "succeeded", "billed")


async def test_refused_questions_are_written_down_once_and_end_with_what_is_stuck(engine, emulator, workers):
    [job_id] = await added(engine)
    async with workers(lost_after_s=0) as worker:
        context = replace(worker, client=Refusing(worker.client))
        watches = (await submit(context)).watches
        watches = await follow(context, watches, polls=30)
        [between] = await attempts_of(engine, job_id)
        patient = replace(context, tempo=replace(context.tempo, stuck_after_s=0))
        for watch in watches:
            watch.doubt_at = 0.0
        left = await follow(patient, watches, polls=1)
    job = await job_of(engine, job_id)

    assert len(watches) == 1
    assert steps_of(between) == ["getResponse refused", "archive unknown"]
    assert (left, job["error"]["code"], job["billing"]) == ([], "timeout", "unclear")


class Away(Unknowing):
    """A platform behind a network that is gone."""

    async def poll_many(self, tasks, **_):
        return {task: NoAnswer(create_runware_error(CONNECTION_FAILED, "gone")) for task in tasks}


async def test_platform_that_is_away_ends_nothing_and_writes_nothing(engine, emulator, workers):
    [job_id] = await added(engine)
    async with workers(lost_after_s=0, stuck_after_s=0) as worker:
        context = replace(worker, client=Away(worker.client))
        left = await follow(context, (await submit(context)).watches, polls=30)
    [attempt] = await attempts_of(engine, job_id)

    assert len(left) == 1
    assert (attempt["state"], attempt["settlement"]) == ("accepted", [])


async def test_task_that_was_looked_for_teaches_no_duration(engine, emulator, workers):
    """It was found complete, however long ago it ended."""
    emulator.configure(latencies={"image": 1})
    await added(engine)
    emulator.inject(LOSE_ANSWER)
    async with workers() as context:
        watches = (await submit(context)).watches
        end = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < end:
            await asyncio.to_thread(emulator.ledger)  # its time passes meanwhile
        await follow(context, watches)
        unlearned = await estimates(engine)
        await added(engine)
        await follow(context, (await submit(context)).watches)

    assert unlearned == []
    assert await estimates(engine) != []


async def estimates(engine):
    async with engine.connect() as connection:
        return await read_rows(connection, "SELECT model, size, samples FROM estimate")


async def test_claimed_group_does_not_leave_after_its_window_on_either_clock(engine, emulator, workers):
    """The wall clock was set back by a minute between the claim and the send: the other one has counted on."""
    await added(engine)
    async with workers(send_window_s=5) as context:
        group = await claim_group(context)
        steady_s = iter((0.0, 60.0))
        passed = SendWindow(5, steady=lambda: next(steady_s))
        await send_group(context, replace(group, window=passed))

    assert arrivals(emulator) == []


@pytest.mark.parametrize("cost_per", CostPer)
async def test_job_batch_and_account_cost_what_the_platform_bills(engine, emulator, workers, cost_per):
    emulator.configure(latencies={"image": 20}, switches={"cost_per": cost_per})
    await added(engine, 6, params={"numberResults": 4})
    emulator.inject(
        {"on": "submit", "rate": 0.5, "seed": 3, "action": {"kind": "item_error", "items": [1]}}, LOSE_ANSWER
    )
    async with workers() as worker:
        await follow(replace(worker, cost_per=cost_per), (await submit(worker)).watches)
    async with engine.connect() as connection:
        [costs] = await read_rows(
            connection,
            """
            SELECT (SELECT sum(cost_usd) FROM job) AS jobs, (SELECT sum(cost_usd) FROM attempt) AS attempts,
                (SELECT sum(spent_usd) FROM account) AS account
            """,
        )
    billed = emulator.ledger()["totals"]["billed_usd"]

    assert {billed} == {f"{usd:.6f}" for usd in costs.values()}


async def test_poll_alone_records_the_cost_of_a_task_once(engine, emulator, workers):
    """Its results come one by one, each with the price of all."""
    emulator.configure(latencies={"image": [20, 200]}, switches={"cost_per": "task"})
    [job_id] = await added(engine, params={"numberResults": 4})
    async with workers() as worker:
        context = replace(worker, cost_per=CostPer.TASK)
        left = list((await submit(context)).watches)
        while left:
            left = await poll(context, left)
    job = await job_of(engine, job_id)

    assert f"{job['cost_usd']:.6f}" == emulator.ledger()["totals"]["billed_usd"]


async def test_result_that_was_forgotten_before_a_lost_callback_is_found_in_the_archive(
    engine, emulator, workers
):
    """Where the platform calls back, polls are rare: by the next one it may remember nothing."""
    emulator.configure(latencies={"image": 1}, switches={"retention_s": 1})
    emulator.inject({"on": "webhook", "action": {"kind": "webhook_lose"}})
    [job_id] = await added(engine)
    async with workers(lost_after_s=0.5) as worker:
        context = replace(worker, callback_base_url="https://jobs.example")
        watches = (await submit(context)).watches
        left = await follow(context, watches, polls=5_000)
    job = await job_of(engine, job_id)

    assert (left, job["state"], job["billing"]) == ([], "succeeded", "billed")
    assert arrivals(emulator) == [(1, 1)]


class Poisoned(Unknowing):
    """A platform that answers a whole request with an error where one of the `poison` tasks stands in it.

    `is_down`: each request. `questions` are the tasks of each request, as they came; what
    nobody has is a task, too.
    """

    def __init__(self, client, *, status=500, poison=()):
        super().__init__(client)
        self.status = status
        self.poison = {str(task) for task in poison}
        self.is_down = False
        self.forgets = False
        self.questions = []

    async def poll_many(self, tasks, **options):
        self.questions.append(list(tasks))
        if not self.is_down and not self.poison & set(tasks):
            return await self._client.poll_many(tasks, **options)
        return {task: NoAnswer(create_runware_error("", "no", status_code=self.status)) for task in tasks}


@pytest.mark.parametrize("status", [500, 403])
async def test_group_that_one_task_spoils_is_divided_and_that_one_asked_about_alone(
    engine, emulator, workers, status
):
    await added(engine, 16)
    async with workers() as worker:
        platform = Poisoned(worker.client, status=status)
        context = replace(worker, client=platform)
        watches = (await submit(context)).watches
        platform.poison = {str(watches[5].task_uuid)}
        left = await poll(context, watches)
        divided = len(platform.questions)
        left = await follow(context, [watch for watch in left if not watch.is_alone])
        [spoiling] = [watch for watch in watches if watch.is_alone]
        platform.poison = set()
        await follow(context, [spoiling])
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT state, count(*) AS jobs FROM job GROUP BY 1")

    assert divided <= 1 + 1 + 2 * 4  # the group, whether anybody is answered, and two halves four times
    assert left == []
    assert spoiling.task_uuid == watches[5].task_uuid
    assert states == [{"state": "succeeded", "jobs": 16}]


async def test_outage_divides_no_group_and_ends_nothing_however_long_it_lasts(engine, emulator, workers):
    await added(engine, 16)
    async with workers(lost_after_s=0, stuck_after_s=0) as worker:
        now = [0.0]
        platform = Poisoned(worker.client)
        context = replace(worker, client=platform, silence=Silence(clock=lambda: now[0]))
        watches = (await submit(context)).watches
        platform.is_down = True
        for _ in range(100):
            now[0] += 1.0
            watches = await poll(context, watches)
        asked = len(platform.questions)
    async with engine.connect() as connection:
        attempts = await read_rows(connection, "SELECT DISTINCT state, settlement FROM attempt")

    assert len(watches) == 16
    assert asked <= 100 + 8  # whether it is one: after 1, 2, 4 seconds, and so on
    assert attempts == [{"state": "accepted", "settlement": []}]


@pytest.mark.parametrize("status", [500, 429, 403])
async def test_task_of_which_alone_nothing_is_answered_is_given_up_like_one_that_is_stuck(
    engine, emulator, workers, status
):
    [job_id] = await added(engine)
    emulator.configure(latencies={"image": 10_000_000})
    async with workers(lost_after_s=0) as worker:
        now = [0.0]
        platform = Poisoned(worker.client, status=status)
        context = replace(worker, client=platform, silence=Silence(clock=lambda: now[0]))
        watches = (await submit(context)).watches
        platform.is_down = True  # an outage of everybody is no sign against it
        impatient = replace(context, tempo=replace(context.tempo, stuck_after_s=0))
        watches = await follow(impatient, watches, polls=20)
        [meanwhile] = await attempts_of(engine, job_id)
        platform.is_down, platform.poison = False, {str(watches[0].task_uuid)}
        for _ in range(20):
            now[0] += 10.0
            watches = await poll(context, watches)
        [between] = await attempts_of(engine, job_id)
        for watch in watches:
            watch.doubt_at = 0.0
        now[0] += 10.0
        left = await poll(impatient, watches)
    job = await job_of(engine, job_id)

    assert meanwhile["settlement"] == []
    assert len(watches) == 1
    assert steps_of(between) == ["getResponse refused", "archive known"]
    assert (left, job["state"], job["error"]["code"], job["billing"]) == ([], "failed", "timeout", "unclear")


async def test_silence_that_an_outage_has_interrupted_counts_anew(engine, emulator, workers):
    """Written down a day ago; what this process has heard since then was an outage of everybody."""
    [job_id] = await added(engine)
    emulator.configure(latencies={"image": 10_000_000})
    async with workers(lost_after_s=0) as worker:
        now = [0.0]
        platform = Poisoned(worker.client)
        context = replace(worker, client=platform, silence=Silence(clock=lambda: now[0]))
        watches = (await submit(context)).watches
        platform.poison = {str(watches[0].task_uuid)}
        await poll(context, watches)
        watches[0].doubt_at = 0.0
        now[0] += 10.0
        await poll(context, watches)
        [written] = await attempts_of(engine, job_id)
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE attempt SET settlement = jsonb_set(settlement, '{0,at}', to_jsonb(now() - interval '9 days'))",
            )
        watches[0].doubt_at = 0.0
        now[0] += 10.0
        left = await poll(context, watches)
    [attempt] = await attempts_of(engine, job_id)

    assert steps_of(written)[0] == "getResponse refused"
    assert (len(left), attempt["state"]) == (1, "accepted")
