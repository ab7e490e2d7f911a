"""The server as a process: it says where it is, ends cleanly, and refuses what cannot work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

PROGRAM = """
from runware_jobs.errors import RunwareJobsError
from runware_jobs.logs import configure_logs
from runware_jobs.settings import Settings
from runware_jobs.web import serve

configure_logs()
try:
    serve(Settings(), "127.0.0.1", 0)
except RunwareJobsError as error:
    raise SystemExit(str(error))
"""


@asynccontextmanager
async def started(database_url, services):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "RUNWARE_JOBS_DATABASE_URL": database_url,
            "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.slow
async def test_a_server_told_to_stop_ends_live_streams_and_returns(clean_database, services):
    async with started(clean_database, services) as process:
        line = json.loads(await asyncio.wait_for(process.stderr.readline(), 30))
        assert line["event"] == "api_listening"
        async with httpx.AsyncClient(base_url=line["url"], timeout=30) as client:
            job = (await client.post("/v1/jobs", json={"params": {"model": "runware:400@1"}})).json()
            path = f"/v1/jobs/{job['id']}/events"
            async with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "id: 1"
                process.send_signal(signal.SIGTERM)
                async for _ in lines:
                    pass

        assert await asyncio.wait_for(process.wait(), 8) == 0


@pytest.mark.slow
async def test_a_server_without_tables_does_not_start_and_says_what_to_do(empty_database, services):
    async with started(empty_database, services) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 30)

        assert process.returncode == 1
        assert b"run `runware-jobs migrate`" in errors
