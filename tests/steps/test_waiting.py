"""What users wait with: `wait`, `events` and their limits, for ordinary code and for `async` code."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid

import pytest
from sqlalchemy import text

from runware_jobs import AsyncJobs, Jobs
from runware_jobs.errors import JobCanceled, JobNotFound, JobTimeout
from runware_jobs.settings import Settings
from tests.support.polling import PATIENCE_S

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}
SLACK_S = 2.0
"""What a busy machine may take for a query; the limits themselves are exact."""


@pytest.fixture
def settings(clean_database, services):
    return Settings(database_url=clean_database, broker_url=services.broker_url)


@pytest.fixture
async def jobs(settings):
    async with AsyncJobs(settings) as opened:
        yield opened


@pytest.fixture
def blocking(settings):
    with Jobs(settings) as opened:
        yield opened


@pytest.mark.parametrize("timeout_s", [0, 0.3])
async def test_a_wait_ends_at_its_limit_and_the_job_goes_on(jobs, timeout_s):
    job = await jobs.enqueue(PARAMS)
    started = time.monotonic()
    with pytest.raises(JobTimeout, match=rf"not final after {timeout_s:g} s") as raised:
        await job.wait(timeout_s)
    took_s = time.monotonic() - started

    assert timeout_s <= took_s < timeout_s + SLACK_S
    assert raised.value.job_id is not None
    assert (await job.refresh()).state == "queued"


@pytest.mark.parametrize("timeout_s", [0, 0.3])
async def test_a_wait_for_a_batch_ends_at_its_limit(jobs, timeout_s):
    batch = await jobs.enqueue_many([PARAMS] * 2)
    started = time.monotonic()
    with pytest.raises(JobTimeout, match="has 2 jobs to go after"):
        await batch.wait(timeout_s)

    assert timeout_s <= time.monotonic() - started < timeout_s + SLACK_S


async def test_a_job_that_has_ended_is_not_waited_for(jobs):
    job = await (await jobs.enqueue(PARAMS)).cancel()

    with pytest.raises(JobCanceled):
        await job.wait(0)
    assert jobs.producer.live.watched == 0


async def test_what_one_process_cancels_another_hears_of_at_once(settings, jobs):
    async with AsyncJobs(settings) as other:
        job = await jobs.enqueue(PARAMS)
        waiting = asyncio.create_task(job.wait(PATIENCE_S))
        batch = await jobs.enqueue_many([PARAMS])
        waiting_for_batch = asyncio.create_task(batch.wait(PATIENCE_S))
        await (await other.get(job.id)).cancel()
        with pytest.raises(JobCanceled):
            await waiting
        await (await other.batch(batch.id)).cancel()

        assert (await waiting_for_batch).finished == 1


async def test_events_go_on_until_the_job_has_ended(jobs):
    job = await jobs.enqueue(PARAMS)
    events = jobs.events(job.id)
    told = [(await anext(events))["type"]]
    await job.cancel()
    told += [event["type"] async for event in events]

    assert told == ["job.queued", "job.canceled"]
    assert [event["seq"] async for event in jobs.events(job.id, after=1)] == [2]


async def test_events_of_nobodys_job_are_refused(jobs):
    with pytest.raises(JobNotFound):
        await anext(jobs.events(uuid.uuid4()))


async def test_a_queue_that_is_closed_lets_nobody_wait(jobs):
    job = await jobs.enqueue(PARAMS)
    waiting = asyncio.create_task(job.wait())
    while not jobs.producer.live.watched:
        await asyncio.sleep(0)
    await jobs.producer.live.aclose()

    with pytest.raises(JobTimeout, match="closed"):
        await asyncio.wait_for(waiting, PATIENCE_S)


def test_ordinary_code_follows_events_and_leaves_when_it_likes(blocking):
    job = blocking.enqueue(PARAMS)
    for event in job.events():
        assert event["type"] == "job.queued"
        break
    assert blocking.enqueue(PARAMS).state == "queued"  # nothing is blocked

    told = []
    canceling = threading.Thread(target=lambda: blocking.get(job.id).cancel())
    for event in blocking.events(job.id):
        told.append((event["seq"], event["type"]))
        if len(told) == 1:
            canceling.start()
    canceling.join()

    assert told == [(1, "job.queued"), (2, "job.canceled")]


def test_ordinary_code_sees_after_its_events_how_the_job_has_ended(blocking):
    job = blocking.enqueue(PARAMS)
    blocking.get(job.id).cancel()

    assert [event["seq"] for event in job.events(after=1)] == [2]
    assert job.state == "canceled"


def test_threads_wait_side_by_side(blocking):
    made = [blocking.enqueue(PARAMS) for _ in range(10)]
    ends = []

    def wait(job):
        try:
            job.wait(PATIENCE_S)
        except JobCanceled:
            ends.append(job.id)

    threads = [threading.Thread(target=wait, args=(job,)) for job in made]
    for thread in threads:
        thread.start()
    for job in made:
        blocking.get(job.id).cancel()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert sorted(ends) == sorted(job.id for job in made)


async def test_a_closed_queue_leaves_no_connection(settings, engine):
    async with AsyncJobs(settings) as jobs:
        job = await jobs.enqueue(PARAMS)
        with pytest.raises(JobTimeout):
            await job.wait(0.2)

    async with engine.connect() as connection:
        left = await connection.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'runware-jobs-listener'")
        )
        assert left.scalar_one() == 0
