"""A thousand live streams on one API process, served as users serve it."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.telling import Teller
from runware_jobs.store.database import open_engine
from tests.support.queued import enqueue_jobs

JOBS = 200
LISTENERS = 1_000
# A thousand streams need more files than a process may open by default: the server sees to it.
USUAL_FILES = 1_024


async def start_api(database_url, broker_url):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runware_jobs",
        "api",
        "--port",
        "0",
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "RUNWARE_JOBS_DATABASE_URL": database_url,
            "RUNWARE_JOBS_BROKER_URL": broker_url,
        },
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (USUAL_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        ),
    )


async def open_stream(url, job_id):
    """Ask for a job's stream on a bare socket; give both ends, after the head of the answer."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Accept: text/event-stream\r\nConnection: close\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return reader, writer


async def told(reader):
    """Yield (id, type) of each event."""
    fields = {}
    while line := (await reader.readline()).decode():
        name, _, value = line.strip().partition(": ")
        if name == "data":
            yield fields.get("id"), json.loads(value)["type"]
            fields = {}
        elif name in {"id", "event"}:
            fields[name] = value


async def listen(url, job_id, opened):
    reader, writer = await open_stream(url, job_id)
    heard = []
    async for one in told(reader):
        heard.append(one)
        if len(heard) == 1:
            opened.release()
    writer.close()
    return heard


@pytest.mark.slow
async def test_a_thousand_listeners_hear_each_event_once_in_order(clean_database, services):
    engine = open_engine(clean_database, pool_size=2)
    teller = Teller(engine)
    async with engine.begin() as connection:
        job_ids = await enqueue_jobs(connection, JOBS)
    api = await start_api(clean_database, services.broker_url)
    try:
        ready = json.loads(await asyncio.wait_for(api.stderr.readline(), 30))
        assert ready["event"] == "api_listening"
        opened = asyncio.Semaphore(0)
        async with asyncio.timeout(150), asyncio.TaskGroup() as group:
            listening = [
                group.create_task(listen(ready["url"], job_ids[number % JOBS], opened))
                for number in range(LISTENERS)
            ]
            for _ in listening:
                await opened.acquire()
            for job_id in job_ids:  # a commit for each, as hints like it least
                async with engine.begin() as connection:
                    await cancel(connection, job_id, tenant=None)

        assert Counter(tuple(one.result()) for one in listening) == {
            (("1", "job.queued"), ("2", "job.canceled")): LISTENERS
        }
        api.terminate()
        assert await asyncio.wait_for(api.wait(), 10) == 0
    finally:
        if api.returncode is None:
            api.kill()
        await api.communicate()
        await teller.aclose()
        await engine.dispose()
