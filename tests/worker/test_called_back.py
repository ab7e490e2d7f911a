"""The platform really calls: what it has is known at once, and whatever it sends, once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import httpx
import pytest
import uvicorn

from runware_jobs.core.callbacks import callback_url
from runware_jobs.settings import Settings
from runware_jobs.web import create_app
from tests.support.polling import poll_until_async
from tests.support.queued import enqueue_jobs
from tests.support.rows import read_attempts, read_event_types, read_job, read_rows

pytestmark = pytest.mark.slow

VIDEO = {"taskType": "videoInference", "model": "google:3@3", "width": 1280, "height": 720, "duration": 8}


@pytest.fixture
async def base_url(clean_database, services):
    """The HTTP API on a socket, for the platform to call."""
    app = create_app(Settings(database_url=clean_database, broker_url=services.broker_url))
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started.set()

    server = Server(uvicorn.Config(app, port=0, lifespan="on", log_level="warning", proxy_headers=False))
    serving = asyncio.create_task(server.serve())
    await started.wait()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
def ended(engine):
    """Wait for a job's end; give the job and how long it took since it was accepted."""

    async def wait(job_id):
        async def look():
            async with engine.connect() as connection:
                job = await read_job(connection, job_id)
            return job if job["finished_at"] else None

        job = await poll_until_async(look, what="the job's end")
        return job, (job["finished_at"] - job["submitted_at"]).total_seconds()

    return wait


async def add(engine, **options):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, **options)
    return job_id


@pytest.mark.parametrize("body", ["flat", "wrapped"])
async def test_what_the_platform_calls_about_is_known_long_before_the_next_poll(
    engine, emulator, workers, running, base_url, ended, body
):
    emulator.configure(latencies={"video": 50}, switches={"webhook_body": body})
    async with workers() as worker:
        job_id = await add(engine, params=VIDEO)
        async with running(replace(worker, callback_base_url=base_url)):
            job, took_s = await ended(job_id)

    assert job["state"] == "succeeded"
    assert took_s < 9  # the first poll without a call comes after ten seconds
    assert emulator.ledger()["requests"]["polls"] == 1


async def test_lost_callback_costs_time_and_nothing_else(engine, emulator, workers, running, base_url, ended):
    emulator.configure(latencies={"image": 50})
    emulator.inject({"on": "webhook", "action": {"kind": "webhook_lose"}})
    async with workers() as worker:
        job_id = await add(engine)
        async with running(replace(worker, callback_base_url=base_url)):
            job, took_s = await ended(job_id)

    assert job["state"] == "succeeded"
    assert took_s > 4


async def test_doubled_and_forged_callbacks_and_a_flood_change_no_result(
    engine, emulator, workers, running, base_url, ended
):
    emulator.configure(latencies={"image": 150})
    emulator.inject({"on": "webhook", "action": {"kind": "webhook_duplicate", "times": 3}})
    lie = {"data": [{"taskType": "imageInference", "status": "success", "imageURL": "https://evil.example"}]}
    async with workers() as worker, httpx.AsyncClient() as anybody:
        context = replace(worker, callback_base_url=base_url)
        job_id = await add(engine)
        async with running(context):

            async def sent():
                async with engine.connect() as connection:
                    return [
                        row for row in await read_attempts(connection, job_id) if row["state"] == "accepted"
                    ]

            [attempt] = await poll_until_async(sent, what="a task on the platform")
            address = callback_url(base_url, context.secret, attempt["task_uuid"])
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                await anybody.post(address, json=lie)
            forged = await anybody.post(address[:-6] + "AAAAAA", json=lie)
            job, _ = await ended(job_id)
    async with engine.connect() as connection:
        results = await read_rows(connection, "SELECT item FROM result")
        types = await read_event_types(connection, job_id)

    assert forged.status_code == 404
    assert job["state"] == "succeeded"
    assert len(results) == 1
    assert "evil" not in str(results)
    assert types.count("job.result") == 1
    # A flood is no more than the clock looks for hints: about five times a second.
    assert emulator.ledger()["requests"]["polls"] <= 15


async def test_hundreds_of_replays_wake_one_poll_in_its_least_interval(
    engine, emulator, workers, running, base_url
):
    emulator.configure(latencies={"video": 100_000})
    async with workers(poll_min_interval_s=60) as worker, httpx.AsyncClient() as anybody:
        context = replace(worker, callback_base_url=base_url)
        job_id = await add(engine, params=VIDEO)

        async def attempt():
            async with engine.connect() as connection:
                rows = await read_attempts(connection, job_id)
            return rows[0] if rows and rows[0]["state"] == "accepted" else None

        async def taken():
            return (await attempt())["hinted_at"] is None

        async def asked():
            return emulator.ledger()["requests"]["polls"]

        async with running(context):
            task = await poll_until_async(attempt, what="a task on the platform")
            address = callback_url(base_url, context.secret, task["task_uuid"])
            for _ in range(4):  # so many at once that this loop, which is the worker's too, has time to poll
                answers = await asyncio.gather(*(anybody.post(address) for _ in range(15)))
                await poll_until_async(taken, what="the hint taken")
                await poll_until_async(asked, what="a poll")

    assert {answer.status_code for answer in answers} == {204}
    assert emulator.ledger()["requests"]["polls"] == 1
