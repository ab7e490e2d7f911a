"""A receiver of callbacks inside the test's event loop: it says what it is told to, and remembers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# Only a broken emulator is waited for that long.
_LIMIT_S = 20


class Hook:
    """Answers each request with the next status of a list, then 204; None keeps silent."""

    def __init__(self, statuses: Iterator[int | None]) -> None:
        self.url = ""
        self.bodies: list[Any] = []
        self._statuses = statuses
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def next_body(self) -> Any:
        """Wait for the next request; its body, decoded where it is JSON."""
        async with asyncio.timeout(_LIMIT_S):
            return await self._arrived.get()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            raw = await reader.readexactly(length)
            body = json.loads(raw) if "application/json" in head else raw
            self.bodies.append(body)
            self._arrived.put_nowait(body)
            status = next(self._statuses, 204)
            if status is None:
                await reader.read()
                return
            location = f"Location: {self.url}\r\n" if 300 <= status < 400 else ""
            answer = f"HTTP/1.1 {status} x\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller has given up
        finally:
            writer.close()


@asynccontextmanager
async def hook(*statuses: int | None) -> AsyncIterator[Hook]:
    """Listen on a free port for the length of a test."""
    receiver = Hook(iter(statuses))
    server = await asyncio.start_server(receiver._receive, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver
