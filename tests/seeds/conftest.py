"""The calls of the seeds, made once per transport, with what went over the wire and what came back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect

from runware_jobs.client import RuntimeDependencies, Runware
from tests.client.conftest import http_platform, open_client, socket_platform
from tests.seeds.calls import CALLS
from tests.support.emulator_process import running_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.seeds.calls import SeedCall
    from tests.support.emulator_process import EmulatorProcess

__all__ = ["http_platform", "open_client", "socket_platform"]

TRANSPORTS = ("rest", "websocket")


@dataclass(slots=True)
class Wire:
    """What a client wrote, task by task."""

    tasks: list[dict[str, Any]] = field(default_factory=list)

    def dependencies(self, transport: str) -> RuntimeDependencies:
        """Make the two doors of the client, with this wire listening at them."""
        if transport == "rest":
            return RuntimeDependencies(
                session=httpx.AsyncClient(event_hooks={"request": [self._take_request]})
            )
        return RuntimeDependencies(ws_connect=self._connect)

    async def _take_request(self, request: httpx.Request) -> None:
        if request.method == "POST":
            self._take(await request.aread())

    async def _connect(self, url: str, **options: Any) -> Any:
        socket = await connect(url, **options)
        send = socket.send

        async def listen_and_send(frame: Any, *rest: Any, **named: Any) -> None:
            self._take(frame)
            await send(frame, *rest, **named)

        socket.send = listen_and_send  # type: ignore[method-assign]  # the client calls nothing else to write
        return socket

    def _take(self, body: str | bytes) -> None:
        self.tasks += json.loads(body)


@dataclass(frozen=True, slots=True)
class Made:
    """One call, made: its tasks on the wire (no questions), its results, and which method it went through."""

    call: SeedCall
    method: str
    sent: list[dict[str, Any]]
    results: list[dict[str, Any]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[tuple[str, str], list[Made]]]:
    """Every call of the documents by (transport, section), made once through the current and once through the older name."""
    folder = tmp_path_factory.mktemp("seeds")
    with running_emulator(log=folder / "log", speed=1_000) as emulator:
        yield asyncio.run(_make_all(emulator))


async def _make_all(emulator: EmulatorProcess) -> dict[tuple[str, str], list[Made]]:
    places = [(transport, section) for transport in TRANSPORTS for section in CALLS]
    return dict(
        zip(places, await asyncio.gather(*(_make_section(emulator, *at) for at in places)), strict=True)
    )


async def _make_section(emulator: EmulatorProcess, transport: str, section: str) -> list[Made]:
    return await asyncio.gather(
        *(
            _make(emulator, transport, call, method)
            for call in CALLS[section]
            for method in (call.method, call.legacy)
            if method is not None
        )
    )


async def _make(emulator: EmulatorProcess, transport: str, call: SeedCall, method: str) -> Made:
    wire = Wire()
    dependencies = wire.dependencies(transport)
    async with client_of(emulator, transport=transport, dependencies=dependencies) as client:
        answer = await getattr(client, method)(dict(call.params))
    if dependencies.session is not None:
        await dependencies.session.aclose()
    sent = [task for task in wire.tasks if task["taskType"] not in {"authentication", "ping", "getResponse"}]
    return Made(call, method, sent, answer if isinstance(answer, list) else [answer])


def client_of(emulator: EmulatorProcess, **options: Any) -> Runware:
    """Make a client of this emulator."""
    return Runware(
        api_key="a key",
        http_base_url=emulator.http_base_url,
        ws_base_url=emulator.ws_base_url,
        schemas_base_url=f"{emulator.address}/schemas",
        content_base_url=f"{emulator.address}/content",
        **options,
    )
