"""A stub clock, an emulator without a socket, and one with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from runware_jobs.emulator import Config, Latency, Serving, create_app, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from runware_jobs.emulator.protocol import Platform
    from runware_jobs.emulator.webhooks import Webhooks

SECONDS = {
    "image": Latency(2, 2),
    "video": Latency(30, 30),
    "training": Latency(7200, 7200),
    "text": Latency(1, 1),
}
HEADERS = {"Authorization": "Bearer acme.one"}


class StubClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now_s(self) -> float:
        return self.time


@dataclass
class Still:
    """An emulator whose time stands still until `pass_time`."""

    http: httpx.AsyncClient
    platform: Platform
    clock: StubClock
    webhooks: Webhooks

    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds
        self.platform.schedule.run_due()

    async def send(self, *tasks: dict[str, Any], **options: Any) -> httpx.Response:
        return await self.http.post("/v1", json=list(tasks), **{"headers": HEADERS, **options})

    async def poll(self, *uuids: str) -> dict[str, Any]:
        response = await self.send(*({"taskType": "getResponse", "taskUUID": uuid} for uuid in uuids))
        return response.json()

    async def ledger(self) -> dict[str, Any]:
        return (await self.http.get("/_emulator/ledger")).json()

    async def configure(self, **values: Any) -> httpx.Response:
        return await self.http.post("/_emulator/config", json=values)

    async def fault(self, *rules: dict[str, Any]) -> httpx.Response:
        return await self.http.post("/_emulator/faults", json=list(rules))


@pytest.fixture
async def still() -> AsyncIterator[Still]:
    clock = StubClock()
    app = create_app(Config(latencies=SECONDS), clock=clock)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator.test") as http:
        yield Still(http, app.state.platform, clock, app.state.webhooks)
    await app.state.webhooks.aclose()
    await app.state.deposits.aclose()


@pytest.fixture(scope="session")
def server() -> Iterator[Serving]:
    with serving(Config(port=0, speed=1000)) as running:
        yield running


@pytest.fixture
def live(server: Serving) -> Iterator[Serving]:
    """The running server, emptied; with its usual latencies and switches again afterwards."""
    httpx.post(f"{server.address}/_emulator/reset")
    yield server
    httpx.delete(f"{server.address}/_emulator/faults")
    switches = {
        row["name"]: row["default"] for row in httpx.get(f"{server.address}/_emulator/switches").json()
    }
    usual = {"switches": switches, "latencies": {"image": [1, 3], "text": [1, 4]}}
    httpx.post(f"{server.address}/_emulator/config", json=usual).raise_for_status()
