"""POSTs to guarded addresses on connections that stay open; as little of HTTP as a webhook needs.

A general client spends a millisecond of CPU on one small request, most of it on what a
webhook has no use for (proxies, redirects, cookies, pools of any kind of connection).
This one writes the request in one piece, reads the answer by `h11`, and knows nothing
else. The guard is the same: `resolve` judges every address, and only those are
connected to, while TLS checks the certificate of the host name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11

from .resolution import Resolver, ask_system, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.core.addresses import Location

# Short: receivers close idle connections, and a request on a closed one is sent again.
_KEEPALIVE_S: Final = 5.0
_MOST_IDLE: Final = 256
# A name with more addresses than this gains nothing from trying the next one.
_MAX_ADDRESSES_TRIED: Final = 4
_MAX_HEAD_BYTES: Final = 65_536


class NotConnected(Exception):
    """No connection could be opened; nothing was sent. The reason is its cause."""


class BrokenAnswer(Exception):
    """The connection broke, or what came was no HTTP, before there was a status."""


class TooLate(Exception):
    """It might not be sent any more when there was a connection; nothing was."""


@dataclass(slots=True)
class Answer:
    """What a receiver said: its status, its headers by names in lower case, the beginning of its body."""

    status_code: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class Poster:
    """Posts to addresses that strangers gave us; `aclose` closes what is open."""

    def __init__(
        self, *, allow_private: bool, resolver: Resolver = ask_system, ssl_context: ssl.SSLContext
    ) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._idle: dict[tuple[str, str, int], deque[_Connection]] = {}
        self._open: set[_Connection] = set()
        self._idle_count = 0

    async def post(
        self,
        location: Location,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        max_answer_bytes: int,
        may_send: Callable[[], bool],
    ) -> Answer:
        """Post the body and give the answer, its body no longer than `max_answer_bytes`.

        `timeout_s` bounds the whole. Once there is a status it counts, whatever breaks
        after it. What a receiver that has closed a connection between two requests did
        not answer is sent once more, on another.

        Raises:
            AddressRefused: an address of the host is not one that we call.
            NameNotFound: the host has no address now.
            NotConnected: no connection could be opened.
            BrokenAnswer: there was no status.
            TooLate: `may_send` said no when the first byte was to leave.
            TimeoutError: there was no status in time.
        """
        key = (location.scheme, location.host, location.port)
        request = _request(location, body, headers)
        exchange = _Exchange()
        try:
            async with asyncio.timeout(timeout_s):
                idle = self._take(key)
                if idle is not None:
                    try:
                        return await self._on(key, idle, request, exchange, max_answer_bytes, may_send)
                    except BrokenAnswer:
                        if idle.has_heard:
                            raise
                fresh = await self._connect(location, timeout_s=timeout_s)
                return await self._on(key, fresh, request, exchange, max_answer_bytes, may_send)
        except TimeoutError:
            if exchange.answer is None:
                raise
            return exchange.answer

    async def aclose(self) -> None:
        """Close every connection; what is under way fails."""
        for connection in list(self._open):
            connection.close()
        self._idle.clear()
        self._idle_count = 0

    async def _on(
        self,
        key: tuple[str, str, int],
        connection: _Connection,
        request: bytes,
        exchange: _Exchange,
        max_answer_bytes: int,
        may_send: Callable[[], bool],
    ) -> Answer:
        self._open.add(connection)
        is_kept = False
        try:
            if not may_send():
                raise TooLate
            connection.write(request)
            answer, is_kept = await connection.read(exchange, max_answer_bytes)
            return answer
        finally:
            if is_kept and self._idle_count < _MOST_IDLE:
                self._put(key, connection)
            else:
                self._open.discard(connection)
                connection.close()

    def _take(self, key: tuple[str, str, int]) -> _Connection | None:
        line = self._idle.get(key)
        while line:
            connection = line.pop()
            self._idle_count -= 1
            if connection.wake_up():
                return connection
            self._open.discard(connection)
        self._idle.pop(key, None)
        return None

    def _put(self, key: tuple[str, str, int], connection: _Connection) -> None:
        self._idle.setdefault(key, deque()).append(connection)
        self._idle_count += 1
        connection.rest(_KEEPALIVE_S, lambda: self._expire(key, connection))

    def _expire(self, key: tuple[str, str, int], connection: _Connection) -> None:
        line = self._idle.get(key)
        if line and connection in line:
            line.remove(connection)
            self._idle_count -= 1
            if not line:
                del self._idle[key]
        self._open.discard(connection)
        connection.close()

    async def _connect(self, location: Location, *, timeout_s: float) -> _Connection:
        shown = f"[{location.host}]" if ":" in location.host else location.host
        target = await resolve(
            f"{location.scheme}://{shown}:{location.port}",
            allow_private=self._allow_private,
            resolver=self._resolver,
        )
        tried = target.addresses[:_MAX_ADDRESSES_TRIED]
        for address in tried[:-1]:
            try:
                async with asyncio.timeout(timeout_s / len(tried)):
                    return await self._open_one(str(address), location)
            except (NotConnected, TimeoutError) as error:
                if isinstance(error.__cause__, ssl.SSLError):
                    raise
        return await self._open_one(str(tried[-1]), location)

    async def _open_one(self, address: str, location: Location) -> _Connection:
        is_tls = location.scheme == "https"
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                _Connection,
                address,
                location.port,
                ssl=self._ssl_context if is_tls else None,
                server_hostname=location.host if is_tls else None,
            )
        except TimeoutError:
            raise
        except OSError as error:  # TLS too
            raise NotConnected("no connection could be opened") from error
        return connection


@dataclass(slots=True)
class _Exchange:
    """The answer of one request as far as it is known, kept when its reader is cut off."""

    answer: Answer | None = None


class _Connection(asyncio.Protocol):
    """One connection: a request is written, and its answer read; then the next."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._heard: asyncio.Future[None] | None = None
        self._expires: asyncio.TimerHandle | None = None
        self._is_lost = False
        self._rests = False
        self.has_heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rests:
            self.close()  # nobody asked
            return
        self.has_heard = True
        self._http.receive_data(data)
        self._tell()

    def eof_received(self) -> None:
        if not self._rests:
            self._http.receive_data(b"")
        self._is_lost = True
        self._tell()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_lost = True
        self._tell()

    def write(self, request: bytes) -> None:
        """Write a whole request, as `_request` made it."""
        assert self._transport is not None  # noqa: S101  for the type checker
        self.has_heard = False
        # What is written is known to be a request with its body: the parser is told of its method only.
        self._http.send(_SHAPE)
        self._http.send(h11.EndOfMessage())
        self._transport.write(request)

    async def read(self, exchange: _Exchange, max_bytes: int) -> tuple[Answer, bool]:
        """Read an answer, and whether the connection can take another request."""
        try:
            while True:
                event = await self._next()
                if isinstance(event, h11.Response):
                    exchange.answer = Answer(
                        event.status_code,
                        {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
                    )
                elif isinstance(event, h11.Data) and exchange.answer is not None:
                    exchange.answer.body += event.data[: max_bytes - len(exchange.answer.body)]
                    if len(exchange.answer.body) >= max_bytes:
                        return exchange.answer, False
                elif isinstance(event, h11.EndOfMessage) and exchange.answer is not None:
                    return exchange.answer, self._is_ready_for_next()
        except (BrokenAnswer, h11.RemoteProtocolError) as error:
            if exchange.answer is None:
                raise BrokenAnswer(str(error)) from error
            return exchange.answer, False

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._is_lost:
                    raise BrokenAnswer("the connection broke")
                self._heard = asyncio.get_running_loop().create_future()
                await self._heard
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise BrokenAnswer("the connection was closed, or more came than one answer")
            else:
                return event  # type: ignore[return-value]  # h11 types its two sentinels apart

    def _tell(self) -> None:
        if self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def _is_ready_for_next(self) -> bool:
        if self._is_lost or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        if self._http.trailing_data[0]:
            return False
        self._http.start_next_cycle()
        return True

    def rest(self, seconds: float, expire: Callable[[], None]) -> None:
        """Wait for the next request, at most for so long."""
        self._rests = True
        self._expires = asyncio.get_running_loop().call_later(seconds, expire)

    def wake_up(self) -> bool:
        """Take a request again; False: it was closed meanwhile."""
        self._rests = False
        if self._expires is not None:
            self._expires.cancel()
        return not (self._is_lost or self._transport is None or self._transport.is_closing())

    def close(self) -> None:
        """Close at once."""
        self._is_lost = True
        if self._transport is not None:
            self._transport.abort()


_SHAPE: Final = h11.Request(method="POST", target="/", headers=[("Host", "h"), ("Content-Length", "0")])


def _request(location: Location, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Write down a request; `h11` checks what of it is not ours.

    Raises:
        ValueError: a header holds what would end it.
    """
    scheme_end = len(location.scheme) + 3
    at = location.url.find("/", scheme_end)
    authority, target = location.url[scheme_end:at], location.url[at:]
    lines = [f"POST {target} HTTP/1.1", f"Host: {authority}", _OURS]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    for line in lines[:2] + lines[3:]:
        if not line.isascii() or not line.isprintable():
            raise ValueError("a header of a request holds a line break, or what is not ASCII")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


# RFC 9110 names it `identity`: nothing is unpacked here, so nothing can be a bomb.
_OURS: Final = "User-Agent: runware-jobs\r\nAccept: */*\r\nAccept-Encoding: identity"
