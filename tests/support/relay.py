"""TCP relays that understand what passes, so that a process can be struck at an exact message.

All relays of a test live on one event loop in a thread of its own. A relay can refuse
connections, break those it has, and do to a request what the traps of its sender say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.support.traps import Moment, Strike

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.support.speech import Piece, Splitter
    from tests.support.traps import Traps

    FindTraps = Callable[[str | None], Traps | None]

_CHUNK_BYTES = 65_536
_UNHEARD_ANSWER_WITHIN_S = 5.0


class LoopThread:
    """An event loop in a thread; `call` runs a coroutine on it from any other thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="relays", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` on the loop and give what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a relay leads: a Unix socket, or a port of this machine."""

    path: str | None = None
    port: int | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        if self.path is not None:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection("127.0.0.1", self.port)


@dataclass(slots=True, eq=False)
class _Line:
    """One connection: both ends, what is still to happen to answers, and whose it is."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    traps: Traps | None
    strikes: list[Strike] = field(default_factory=list)
    keeps_server: bool = False

    def abort(self) -> None:
        """Break it; a request that is still to arrive late keeps its way."""
        for end in (self.client,) if self.keeps_server else (self.client, self.server):
            raw = end.get_extra_info("socket")
            if raw is not None and raw.family == socket.AF_INET:
                # Linger 0 makes the kernel send RST instead of FIN.
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class Relay:
    """Listens on `port` of this machine and leads to `upstream`, which may be exchanged while it runs.

    `find_traps` names the traps of whoever sent a piece, by the API key seen on the
    connection (None before any); a relay without splitters passes bytes on as they come.
    `watch` is shown every request before it is passed on.
    """

    def __init__(
        self,
        loop: LoopThread,
        upstream: Upstream,
        *,
        requests: Callable[[], Splitter] | None = None,
        answers: Callable[[], Splitter] | None = None,
        find_traps: FindTraps = lambda _key: None,
        watch: Callable[[Piece], None] = lambda _piece: None,
    ) -> None:
        self.upstream = upstream
        self._loop = loop
        self._requests, self._answers, self._find_traps = requests, answers, find_traps
        self._watch = watch
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._server: asyncio.Server | None = None
        self.open()

    def open(self) -> None:
        """Accept connections (again)."""

        async def listen() -> None:
            if self._server is None:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

        self._loop.call(listen())

    def close(self) -> None:
        """Refuse connections, and break those that are there."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            self._break_all()

        self._loop.call(end())

    def reset(self) -> None:
        """Break every connection; new ones are welcome."""

        async def end() -> None:
            self._break_all()

        self._loop.call(end())

    def _break_all(self) -> None:
        for line in list(self._lines):
            line.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await self.upstream.open()
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, server_writer, self._find_traps(None))
        self._lines.add(line)
        ways = [
            asyncio.ensure_future(self._outward(line, reader)),
            asyncio.ensure_future(self._homeward(line, server_reader)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._lines.discard(line)
            line.client.close()
            if not line.keeps_server:
                line.server.close()

    async def _outward(self, line: _Line, reader: asyncio.StreamReader) -> None:
        splitter = self._requests() if self._requests is not None else None
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if splitter is None:
                    line.server.write(chunk)
                else:
                    for piece in splitter.feed(chunk):
                        if not self._pass_on(line, piece):
                            return
                await line.server.drain()

    def _pass_on(self, line: _Line, piece: Piece) -> bool:
        """Send a request further, or do what its sender's traps say; False when the line is done with."""
        if piece.key is not None:
            line.traps = self._find_traps(piece.key)
        self._watch(piece)
        strike = line.traps.asked(piece.label) if piece.label is not None and line.traps is not None else None
        if strike is None:
            line.server.write(piece.data)
            return True
        match strike.moment:
            case Moment.BEFORE:
                strike.act()
                if strike.cuts:
                    line.abort()
                    return False
                line.server.write(piece.data)
            case Moment.BETWEEN | Moment.AFTER:
                line.strikes.append(strike)
                line.server.write(piece.data)
            case Moment.LATE:
                line.keeps_server = True
                self._keep(_deliver(line.server, piece.data, after_s=strike.delay_s))
                strike.act()
                line.abort()
                return False
            case Moment.TWICE:
                line.server.write(piece.data)
                if (piece.label or "").startswith("ws "):
                    line.server.write(piece.data)
                else:
                    self._keep(self._deliver_again(piece.data))
                strike.act()
        return True

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_again(self, data: bytes) -> None:
        """Let a request arrive on a connection of its own; nobody hears the answer."""
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await self.upstream.open()
            writer.write(data)
            async with asyncio.timeout(_UNHEARD_ANSWER_WITHIN_S):
                await reader.read(1)
            writer.close()

    async def _homeward(self, line: _Line, reader: asyncio.StreamReader) -> None:
        splitter = self._answers() if self._answers is not None else None
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if splitter is None:
                    line.client.write(chunk)
                else:
                    for piece in splitter.feed(chunk):
                        if not await self._bring_home(line, piece):
                            return
                await line.client.drain()

    async def _bring_home(self, line: _Line, piece: Piece) -> bool:
        if not (line.strikes and piece.ends):
            # The beginning of an answer tells a client nothing: it goes on when the end is there.
            line.client.write(piece.data)
            return True
        strike = line.strikes.pop(0)
        if strike.moment is Moment.AFTER:
            line.client.write(piece.data)
            with contextlib.suppress(ConnectionError):
                await line.client.drain()
            strike.act()
        else:
            strike.act()
            if not strike.cuts:
                line.client.write(piece.data)
        if strike.cuts:
            line.abort()
            return False
        return True


async def _deliver(server: asyncio.StreamWriter, data: bytes, *, after_s: float) -> None:
    """Let a request arrive when its sender has given up on it; nobody hears the answer."""
    await asyncio.sleep(after_s)
    with contextlib.suppress(OSError):
        server.write(data)
        await server.drain()
        await asyncio.sleep(_UNHEARD_ANSWER_WITHIN_S)
    server.close()
