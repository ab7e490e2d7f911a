"""Real servers that do on purpose what a platform does by accident."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from runware_jobs.client import Runware
from tests.support.scripted_platform import ScriptedPlatform
from tests.support.side_service import running_side_service


@dataclass
class HttpAnswer:
    """One scripted answer. `hang_up` closes the connection instead; `part` sends that many body bytes and closes."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    part: int | None = None


Script = Callable[[list[dict[str, Any]]], Awaitable[HttpAnswer] | HttpAnswer]


class HttpPlatform:
    """A REST platform whose answers a test decides; it keeps every request it got."""

    def __init__(self) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.heads: list[str] = []
        self.script: Script = lambda tasks: HttpAnswer({"data": [ack(task) for task in tasks]})
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer_all(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                first = await reader.readexactly(1)
                if first == b"\x16":  # a TLS handshake at a port without TLS
                    break
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                fields = {
                    k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:])
                }
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                tasks = json.loads(body) if body else []
                self.requests.append(tasks)
                answer = self.script(tasks)
                if not isinstance(answer, HttpAnswer):
                    answer = await answer
                if answer.hang_up:
                    break
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(content)}"]
                lines += [f"{name}: {value}" for name, value in answer.headers.items()]
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content[: answer.part])
                await writer.drain()
                if answer.part is not None:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class SocketPlatform:
    """A WebSocket platform whose answers a test decides; it keeps every frame and connection it got."""

    def __init__(self) -> None:
        self.frames: list[list[dict[str, Any]]] = []
        self.connections: list[ServerConnection] = []
        self.auths: list[dict[str, Any]] = []
        self.may_authenticate = asyncio.Event()
        self.may_authenticate.set()
        self.auth_error: dict[str, Any] | None = None
        self.script: Callable[[ServerConnection, list[dict[str, Any]]], Awaitable[None]] = acknowledge
        self.after_resume: Callable[[ServerConnection], Awaitable[None]] | None = None
        self.serve_one = self._serve_one
        self.url = ""

    async def serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # a client that hangs up is no failure of the server
            await self.serve_one(connection)

    async def _serve_one(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for message in connection:
            frame = json.loads(message)
            if frame[0]["taskType"] == "authentication":
                self.auths.append(frame[0])
                await self.may_authenticate.wait()
                await send(connection, errors=[self.auth_error]) if self.auth_error else await send(
                    connection, data=[{"taskType": "authentication", "connectionSessionUUID": "session-1"}]
                )
                if self.after_resume is not None and "connectionSessionUUID" in frame[0]:
                    await self.after_resume(connection)
                continue
            self.frames.append(frame)
            await self.script(connection, frame)


async def send(connection: ServerConnection, **envelope: Any) -> None:
    await connection.send(json.dumps(envelope))


def ack(task: dict[str, Any]) -> dict[str, Any]:
    return {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}


async def acknowledge(connection: ServerConnection, frame: list[dict[str, Any]]) -> None:
    await send(connection, data=[ack(task) for task in frame])


@pytest.fixture
async def http_platform():
    platform = HttpPlatform()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(platform.serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    platform.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield platform
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.wait_closed()


@pytest.fixture
async def socket_platform():
    platform = SocketPlatform()
    async with serve(platform.serve, "127.0.0.1", 0, max_size=None) as server:
        platform.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield platform


@pytest.fixture
async def open_client(http_platform, socket_platform):
    """Make clients of the scripted platforms; all are closed at the end. Nothing here waits long by default."""
    clients: list[Runware] = []

    def open_one(**options: Any) -> Runware:
        client = Runware(
            **{
                "api_key": "test-key",
                "transport": "rest",
                "http_base_url": http_platform.url,
                "ws_base_url": socket_platform.url,
                # Nobody is there: what a test wants of the side services it says itself.
                "schemas_base_url": "http://127.0.0.1:9/schemas",
                "content_base_url": "http://127.0.0.1:9/content",
                "submit_timeout": 2_000,
                "poll_request_timeout": 2_000,
                "retry_delay": 5,
                **options,
            }
        )
        clients.append(client)
        return client

    yield open_one
    for client in clients:
        await client.close()


@pytest.fixture
def make_task():
    """Make a task that is ready to be sent."""
    import uuid

    def make(**params: Any) -> dict[str, Any]:
        return {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "model": "runware:400@1",
            "positivePrompt": "a lighthouse",
            "deliveryMethod": "async",
            **params,
        }

    return make


@pytest.fixture
def answer_with():
    """Give the class of scripted HTTP answers, and the two helpers for frames."""
    return HttpAnswer


@pytest.fixture
def send_frame():
    return send


@pytest.fixture
def ack_of():
    return ack


@pytest.fixture(params=["rest", "websocket"])
def platform(request, http_platform, socket_platform, open_client):
    """A scripted platform on each transport in turn; see `tests.support.scripted_platform`."""
    return ScriptedPlatform(request.param, http_platform, socket_platform, open_client, HttpAnswer)


@pytest.fixture
def fast_pace(monkeypatch):
    """Take away the pauses of the platform's pace, where they are not what is tested."""
    monkeypatch.setattr("runware_jobs.client.running.runs._FIRST_POLL_S", 0.005)
    monkeypatch.setattr("runware_jobs.client.running.runs._MAX_POLL_S", 0.01)
    monkeypatch.setattr("runware_jobs.client.running.runs.RESEND_AGE_S", 0.005)
    monkeypatch.setattr("runware_jobs.client.running.asking._PHASE_PAUSE_S", 0.005)


@pytest.fixture
async def side_service():
    """A schemas, content and serverless service in one; see `tests.support.side_service`."""
    async with running_side_service() as service:
        yield service


@pytest.fixture
def open_side_client(open_client, side_service):
    """Make clients whose side services are all the scripted one, each under its own path."""

    def open_one(**options: Any) -> Runware:
        addresses = {
            f"{name}_base_url": f"{side_service.url}/{name}" for name in ("schemas", "content", "serverless")
        }
        return open_client(**{**addresses, **options})

    return open_one
