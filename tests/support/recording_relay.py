"""A relay between a client and the emulator that keeps what the client sent, byte for byte as it was meant.

It works on TCP, so that a reset, a silence or half an answer reaches the client as it left the emulator.
Only one header is changed: WebSocket compression is not offered further, since frames are to be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

_EXTENSIONS = re.compile(rb"sec-websocket-extensions:[^\r]*\r\n", re.IGNORECASE)
_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of HTTP, or one frame of a WebSocket (`method` is then "FRAME"). `body` is its JSON, or None."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


class RecordingRelay:
    """Listens on a free port of this machine and passes everything on. `sent` grows while clients talk."""

    def __init__(self, upstream: str) -> None:
        self.sent: list[Sent] = []
        self.address = ""
        self._host, _, port = upstream.removeprefix("http://").partition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._connections)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        ends = {writer, upstream_writer}
        self._ends |= ends
        directions = {
            asyncio.ensure_future(self._from_client(reader, upstream_writer)),
            asyncio.ensure_future(_copy(upstream_reader, writer)),
        }
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in ends:
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()
            self._ends -= ends

    async def _from_client(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, headers = _read_head(head)
                if headers.get("upgrade", "").lower() == "websocket":
                    head = _EXTENSIONS.sub(b"", head)
                    upstream.write(head)
                    await self._from_socket(head, target, reader, upstream)
                    return
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.sent.append(Sent(method, target, headers, json.loads(body) if body else None))
                upstream.write(head + body)
                await upstream.drain()

    async def _from_socket(
        self, head: bytes, target: str, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        protocol = ServerProtocol(max_size=None)
        protocol.receive_data(head)
        message = b""
        while True:
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                elif event.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                    message += event.data
                    if event.fin:
                        self.sent.append(Sent("FRAME", target, {}, json.loads(message)))
                        message = b""
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk:
                return
            protocol.receive_data(chunk)
            upstream.write(chunk)
            await upstream.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()


def _read_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _version = request_line.split(" ")
    pairs = (line.partition(":") for line in lines)
    return method, target, {name.lower(): value.strip() for name, _, value in pairs}
