"""Submit and poll against the platform: jobs reach their end, and a poll that finds nothing writes nothing."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from runware_jobs.core.inputs import data_uri
from runware_jobs.core.request import Options
from runware_jobs.core.states import AttemptState, Lane
from runware_jobs.steps.enqueue import ask, plan
from runware_jobs.steps.submit import submit
from runware_jobs.steps.watch import Watch
from runware_jobs.store.plans import run_async
from tests.steps.conftest import follow
from tests.support.polling import poll_until_async
from tests.support.queued import BASE_URL, LIGHTHOUSE, enqueue_jobs
from tests.support.rows import (
    NOTHING_UNDER_WAY,
    change_rows,
    read_attempts,
    read_counters,
    read_event_types,
    read_job,
    read_rows,
)


async def added(engine, count=1, **options):
    async with engine.begin() as connection:
        return await enqueue_jobs(connection, count, **options)


async def make_due(engine):
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE job SET run_at = now() WHERE state = 'queued'")
        await change_rows(connection, "UPDATE flow SET probe_at = now() WHERE state <> 'open'")


async def job_of(engine, job_id):
    async with engine.connect() as connection:
        return await read_job(connection, job_id)


async def attempts_of(engine, job_id):
    async with engine.connect() as connection:
        return await read_attempts(connection, job_id)


@pytest.mark.parametrize("transport", ["rest", "websocket"])
async def test_jobs_run_to_their_end_each_billed_once(engine, emulator, workers, transport):
    jobs = await added(engine, 20, params={"numberResults": 2})
    async with workers(transport=transport) as context:
        submitted = await submit(context)
        left = await follow(context, submitted.watches)
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT DISTINCT state, billing FROM job")
        results = await read_rows(connection, "SELECT DISTINCT key FROM result")
        counters = await read_counters(connection)
        types = await read_event_types(connection, jobs[0])
    ledger = emulator.ledger()

    assert (submitted.claimed, left) == (20, [])
    assert states == [{"state": "succeeded", "billing": "billed"}]
    assert len(results) == 40
    assert (ledger["totals"]["accepted"], ledger["totals"]["duplicates"]) == (20, 0)
    assert counters == NOTHING_UNDER_WAY
    assert types[-1] == "job.succeeded"


async def test_twenty_jobs_travel_in_one_message(engine, emulator, workers):
    await added(engine, 20)
    async with workers() as context:
        await submit(context)

    assert emulator.ledger()["requests"]["submits"] == 1


async def test_poll_that_finds_nothing_writes_nothing(engine, emulator, workers):
    await added(engine, 5, params={"model": "google:3@1", "taskType": "imageInference"})
    emulator.configure(latencies={"image": 5000})
    async with workers() as context:
        watches = (await submit(context)).watches
        watches = await follow(context, watches, polls=1)  # the first answer is news: it tells that it runs
        async with engine.connect() as connection:
            before = await writes(connection)
        left = await follow(context, watches, polls=5)
        async with engine.connect() as connection:
            after = await writes(connection)

    assert len(left) == 5
    assert before == after


async def writes(connection):
    """Name the newest transaction that wrote each row there is."""
    rows = {}
    for table in ("job", "attempt", "event", "result", "outbox", "account", "bucket"):
        found = await read_rows(
            connection, f"SELECT ctid::text AS place, xmin::text AS by FROM {table} ORDER BY 1"
        )
        rows[table] = [(row["place"], row["by"]) for row in found]
    return rows


async def test_validation_error_ends_the_job_with_its_parameter(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject(
        {"on": "submit", "action": {"kind": "refuse", "code": "invalidModel", "parameter": "model"}}
    )
    async with workers() as context:
        submitted = await submit(context)
    job = await job_of(engine, job_id)

    assert submitted.watches == ()
    assert (job["state"], job["billing"]) == ("failed", "none")
    assert (job["error"]["code"], job["error"]["parameter"]) == ("validation", "model")


async def test_busy_platform_gets_the_same_uuid_later_and_uses_up_no_attempt(engine, emulator, workers):
    [job_id] = await added(engine, max_attempts=1)
    emulator.inject(
        {
            "on": "submit",
            "count": 1,
            "action": {"kind": "status", "status": 429, "retry_after": 7, "body": "task"},
        }
    )
    async with workers() as context:
        first = await submit(context)
        waiting = await job_of(engine, job_id)
        [handed_back] = await attempts_of(engine, job_id)
        await make_due(engine)
        second = await submit(context)
        await follow(context, second.watches)
    job = await job_of(engine, job_id)
    [attempt] = await attempts_of(engine, job_id)

    assert first.watches == ()
    assert (waiting["state"], handed_back["state"]) == ("queued", "prepared")
    assert 6 < (waiting["run_at"] - waiting["created_at"]).total_seconds() < 9
    assert handed_back["task_uuid"] == attempt["task_uuid"]
    assert (job["state"], job["attempts"]) == ("succeeded", 1)


async def test_failed_task_is_followed_by_another_only_after_its_end(engine, emulator, workers):
    [job_id] = await added(engine)
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "item_error", "code": "timeoutProvider"}})
    async with workers() as context:
        await follow(context, (await submit(context)).watches)
        between = await job_of(engine, job_id)
        await make_due(engine)
        await follow(context, (await submit(context)).watches)
    job = await job_of(engine, job_id)
    first, second = await attempts_of(engine, job_id)

    assert between["state"] == "queued"
    assert (first["outcome"], second["outcome"]) == ("failed", "succeeded")
    assert first["finished_at"] < second["created_at"]
    assert first["task_uuid"] != second["task_uuid"]
    assert (job["state"], job["billing"]) == ("succeeded", "billed")


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize(("on_partial", "state"), [("succeed", "succeeded"), ("fail", "failed")])
async def test_partial_results_count_and_are_never_paid_again(
    engine, emulator, workers, form, on_partial, state
):
    [job_id] = await added(engine, params={"numberResults": 3}, on_partial=on_partial)
    emulator.inject(
        {
            "on": "submit",
            "action": {"kind": "item_error", "code": "timeoutProvider", "items": [1], "form": form},
        }
    )
    async with workers() as context:
        await follow(context, (await submit(context)).watches)
    async with engine.connect() as connection:
        results = await read_rows(connection, "SELECT state FROM result ORDER BY state")
        job = await read_job(connection, job_id)

    assert [row["state"] for row in results] == ["error", "success", "success"]
    assert (state, "billed", 1) == (job["state"], job["billing"], job["attempts"])
    assert emulator.ledger()["totals"]["accepted"] == 1


async def test_large_input_goes_out_as_it_came(engine, emulator, workers):
    picture = data_uri("image/png", b"\x89PNG\r\n\x1a\n" + bytes(20_000))
    asked = ask({"taskType": "mediaStorage", "media": picture}, Options(), kind="upload")
    async with engine.begin() as connection:
        [job] = await run_async(
            connection, plan([asked], tenant="default", base_url=BASE_URL, fallback_url=BASE_URL)
        )
    async with workers() as context:
        submitted = await submit(context)
    row = await job_of(engine, job.job_id)
    [attempt] = await attempts_of(engine, job.job_id)

    assert submitted.watches == ()
    assert (row["state"], attempt["outcome"]) == ("succeeded", "succeeded")


async def test_job_whose_input_is_gone_fails_and_keeps_no_other_waiting(engine, emulator, workers):
    picture = data_uri("image/png", bytes(20_000))
    asked = ask({**LIGHTHOUSE, "seedImage": picture}, Options(), kind="run")
    async with engine.begin() as connection:
        [broken] = await run_async(
            connection, plan([asked], tenant="default", base_url=BASE_URL, fallback_url=BASE_URL)
        )
        await change_rows(connection, "DELETE FROM input")
    [whole] = await added(engine)
    async with workers() as context:
        await follow(context, (await submit(context)).watches)
    failed, succeeded = await job_of(engine, broken.job_id), await job_of(engine, whole)

    assert (failed["state"], failed["error"]["code"]) == ("failed", "validation")
    assert succeeded["state"] == "succeeded"


async def test_progress_alone_is_written_without_a_move(engine, emulator, workers):
    emulator.configure(latencies={"video": 30})
    [job_id] = await added(
        engine, params={"taskType": "videoInference", "model": "google:3@3", "width": 1280, "height": 720}
    )
    async with workers() as context:
        watches = await follow(context, (await submit(context)).watches, polls=1)
        [first] = await attempts_of(engine, job_id)

        async def has_more_progress():
            await follow(context, watches, polls=1)
            return ((await job_of(engine, job_id))["progress"] or 0) > (first["progress"] or 0)

        await poll_until_async(has_more_progress, what="progress")
        [after] = await attempts_of(engine, job_id)

    assert after == first


def test_progress_is_shown_when_it_is_new_and_not_at_every_look(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = Watch(
        task_uuid=uuid4(), lane=Lane.VIDEO, learned_as=("m", ""), state=AttemptState.ACCEPTED, sent_at=0
    )
    shown = [watch.shows_progress(None), watch.shows_progress(10), watch.shows_progress(11)]
    now = 103.0
    later = [watch.shows_progress(10), watch.shows_progress(12)]

    assert (shown, later) == ([False, True, False], [False, True])
