"""The emulator as a process, and a client of each transport."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from runware_jobs.client import Runware

START_S = 20


@pytest.fixture(scope="module")
def emulator_url(tmp_path_factory):
    ready = tmp_path_factory.mktemp("emulator") / "url"
    command = [sys.executable, "-m", "runware_jobs.emulator", "--port", "0", "--speed", "60", "--quiet"]
    process = subprocess.Popen([*command, "--ready-file", str(ready)])
    give_up_at = time.monotonic() + START_S
    while not ready.exists() or not ready.read_text():
        assert process.poll() is None, "the emulator ended while starting"
        assert time.monotonic() < give_up_at, "the emulator did not start"
        time.sleep(0.02)
    yield ready.read_text().strip()
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def faults(emulator_url):
    """Add fault rules; all are gone after the test."""

    def add(**rule):
        httpx.post(f"{emulator_url}/_emulator/faults", json=rule).raise_for_status()

    yield add
    httpx.delete(f"{emulator_url}/_emulator/faults").raise_for_status()


@pytest.fixture
def ledger(emulator_url):
    """Read what the emulator was asked, accepted and billed, by task UUID."""
    return lambda: httpx.get(f"{emulator_url}/_emulator/ledger").raise_for_status().json()["tasks"]


@pytest.fixture(params=["rest", "websocket"])
def options(request, emulator_url):
    return {
        "api_key": "contract-key",
        "transport": request.param,
        "http_base_url": f"{emulator_url}/v1",
        "ws_base_url": f"{emulator_url.replace('http', 'ws', 1)}/v1",
        "schemas_base_url": f"{emulator_url}/schemas",
        "content_base_url": f"{emulator_url}/content",
        "submit_timeout": 3_000,
        "retry_delay": 20,
    }


@pytest.fixture
async def client(options):
    async with Runware(**options) as opened:
        yield opened
