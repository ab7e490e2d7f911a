"""The emulator as a process, and a client of each transport."""

from __future__ import annotations

import httpx
import pytest

from runware_jobs.client import Runware
from tests.support.emulator_process import running_emulator


@pytest.fixture(scope="module")
def emulator_url(tmp_path_factory):
    with running_emulator(log=tmp_path_factory.mktemp("emulator") / "log", speed=60) as emulator:
        yield emulator.address


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
