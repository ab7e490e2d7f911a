"""A receiver of webhooks that fails in every way it can, and remembers what it was sent and what it said.

By the first part of the path: `good` takes everything, `faulty` does what chance says
until it is healed, `gone` wants nothing. It lives on the loop of the relays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.support.relay import LoopThread

_SLOW_S = 0.3
_LINGER_0 = struct.pack("ii", 1, 0)
_ANSWERS = {
    "good": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "error": b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops",
    "busy": b"HTTP/1.1 429 Slow Down\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "gone": b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
}
_FAULTS = ("good", "good", "good", "error", "busy", "reset", "hang", "slow")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: where it came, what it carried, and what was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    said: str

    @property
    def event(self) -> dict[str, Any]:
        """The event it tells of."""
        event: dict[str, Any] = json.loads(self.body)
        return event


class FaultyReceiver:
    """See the module; `url` gives addresses, `arrivals` what came, in order."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self.arrivals: list[Arrival] = []
        self._chance: random.Random | None = None
        self._healed = asyncio.Event()
        self._strike: tuple[bool, Callable[[], None]] | None = None
        self._falling: tuple[bool, Callable[[], None]] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._accept, "127.0.0.1", 0)

        self._server: asyncio.Server = self._loop.call(listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()

        async def end() -> None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

        self._loop.call(end())

    def url(self, path: str) -> str:
        """Give the address of a path, such as `good/1`."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def begin(self, chance: random.Random) -> None:
        """Forget everything, and be faulty from now on."""

        async def reset() -> None:
            self.arrivals, self._chance, self._healed = [], chance, asyncio.Event()
            self._strike = self._falling = None

        self._loop.call(reset())

    def heal(self) -> None:
        """Take everything from now on; whoever hangs is answered."""

        async def end() -> None:
            self._strike = self._falling = None
            self._healed.set()

        self._loop.call(end())

    def disarm(self) -> None:
        """Let a strike that has not fallen yet fall on nobody: whoever sits there then is another."""

        async def forget() -> None:
            self._strike = self._falling = None

        self._loop.call(forget())

    def strike_next(self, act: Callable[[], None], *, before_answer: bool) -> None:
        """Call `act` once: when the next request has arrived, before it is answered or after."""

        async def arm() -> None:
            self._strike = (before_answer, act)

        self._loop.call(arm())

    def problems(self, events: list[dict[str, Any]], wanted: dict[str, set[str]]) -> list[str]:
        """Compare with the log of events: `wanted` is which ids must have come to which path."""
        known = {event["id"]: event for event in events}
        wrong = []
        taken: dict[str, set[str]] = defaultdict(set)
        last_seq: dict[tuple[str, str], int] = defaultdict(int)
        for arrival in self.arrivals:
            event = arrival.event
            row = known.get(event["id"])
            told = (event["job_id"], event["seq"], event["type"])
            if row is None or told != (row["job_id"], row["seq"], row["type"]):
                wrong.append(f"{arrival.path} was told of {told}, the log says {row}")
            if arrival.said in {"good", "slow"}:
                taken[arrival.path].add(event["id"])
            place = (arrival.path, str(event["job_id"]))
            if event["seq"] < last_seq[place]:
                wrong.append(f"{arrival.path}: {told} came after seq {last_seq[place]}")
            last_seq[place] = max(last_seq[place], event["seq"])
        for path, ids in wanted.items():
            wrong += [f"{path} never took {known[one]}" for one in ids - taken[path]]
        return wrong

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                path = first.split(" ")[1].lstrip("/")
                said = self._choose(path)
                self.arrivals.append(Arrival(path, headers, body, said))
                strike, self._strike = self._strike, None
                if strike is not None and strike[0]:
                    strike[1]()
                elif strike is not None:
                    self._falling = strike
                await self._answer(said, writer)
                if strike is not None and self._falling is strike:
                    self._falling = None
                    strike[1]()
        writer.close()

    def _choose(self, path: str) -> str:
        kind, _, _ = path.partition("/")
        if kind in {"gone", "good"} or self._healed.is_set() or self._chance is None:
            return "gone" if kind == "gone" else "good"
        return self._chance.choice(_FAULTS)

    async def _answer(self, said: str, writer: asyncio.StreamWriter) -> None:
        match said:
            case "reset":
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
                writer.transport.abort()
                raise ConnectionResetError
            case "hang":
                await self._healed.wait()
                raise ConnectionResetError
            case "slow":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._healed.wait(), _SLOW_S)
                writer.write(_ANSWERS["good"])
            case _:
                writer.write(_ANSWERS[said])
        await writer.drain()
