"""A login and a question on the emulator's WebSocket."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import websockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runware_jobs.emulator import Serving


def socket_url(live: Serving) -> str:
    """Where its WebSocket is."""
    return live.address.replace("http", "ws") + "/v1"


@asynccontextmanager
async def connected(
    live: Serving, *, session: str | None = None, key: str = "acme.one", query: str = "", **options: Any
) -> AsyncIterator[Any]:
    """A socket that has logged in; `socket.session` is what it was given."""
    async with websockets.connect(socket_url(live) + query, **options) as socket:
        login = {"taskType": "authentication", "apiKey": key}
        if session:
            login["connectionSessionUUID"] = session
        socket.session = (await ask(socket, login))["data"][0]["connectionSessionUUID"]
        yield socket


async def tell(socket: Any, *tasks: dict[str, Any]) -> None:
    """Send tasks and wait for nothing."""
    await socket.send(json.dumps(list(tasks)))


async def heard(socket: Any) -> Any:
    """The next frame."""
    return json.loads(await socket.recv())


async def ask(socket: Any, *tasks: dict[str, Any]) -> Any:
    """Send tasks and wait for the next frame."""
    await tell(socket, *tasks)
    return await heard(socket)


def poll_of(task: dict[str, Any]) -> dict[str, Any]:
    """The getResponse of a task."""
    return {"taskType": "getResponse", "taskUUID": task["taskUUID"]}


def configure(live: Serving, **values: Any) -> None:
    """Set switches or latencies of the running emulator."""
    httpx.post(f"{live.address}/_emulator/config", json=values).raise_for_status()


def fault(live: Serving, *rules: Any) -> None:
    """Add fault rules to the running emulator."""
    response = httpx.post(f"{live.address}/_emulator/faults", json=list(rules))
    assert response.status_code == 201, response.text


def ledger_of(live: Serving, task: dict[str, Any]) -> dict[str, Any]:
    """What the ledger knows about a task."""
    return httpx.get(f"{live.address}/_emulator/ledger/{task['taskUUID']}").raise_for_status().json()
