"""A plain HTTP service on a real socket whose answers a test decides: schemas, content, serverless."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass(frozen=True, slots=True)
class SideRequest:
    """One request; `path` is as it came, percent signs included."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class SideAnswer:
    """One answer. `body` is JSON, or the bytes themselves."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class SideService:
    """Answers every request by `script`, in which None hangs up; keeps all requests."""

    def __init__(self) -> None:
        self.requests: list[SideRequest] = []
        self.script: Callable[[SideRequest], SideAnswer | Awaitable[SideAnswer | None] | None] = lambda _: (
            SideAnswer(status=404)
        )
        self.url = ""

    def answers(self, *answers: SideAnswer | None) -> None:
        """Give these answers in turn; the last one for ever."""
        left = list(answers)
        self.script = lambda _: left.pop(0) if len(left) > 1 else left[0]

    @property
    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [request.path for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer_one(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        request = SideRequest(
            method, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body) if body else None
        )
        self.requests.append(request)
        answer = self.script(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None:
            return False
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.status == 304:
            content = b""
        told = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(content)}"]
        told += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write(("\r\n".join(told) + "\r\n\r\n").encode() + content)
        await writer.drain()
        return True


@asynccontextmanager
async def running_side_service() -> AsyncIterator[SideService]:
    """Listen on a free port for the length of a test."""
    service = SideService()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(service.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
