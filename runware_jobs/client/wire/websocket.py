"""The WebSocket transport: a thin shell that carries frames between `SocketSession` and a socket.

It connects, keeps one reader, and reconnects with growing pauses. Requests wait here while the
line is down; one that was written is never written again by this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from runware_jobs.client.backoff import retry_delay_s
from runware_jobs.client.config import user_agent
from runware_jobs.client.error_codes import (
    ABORTED,
    CONNECTION_FAILED,
    CONNECTION_LOST,
    DISCONNECTED,
    NOT_CONNECTED,
    RECONNECTION_FAILED,
    REQUEST_TIMEOUT,
    ErrorCode,
)
from runware_jobs.client.errors import RunwareError, create_runware_error

from .envelope import Reply, failed
from .exchange import tell_errors
from .fence import fence_error
from .ws_session import (
    PING_FRAME,
    Arrived,
    BecameUp,
    Drop,
    Effect,
    Finished,
    Rejected,
    Send,
    SessionState,
    SessionTimes,
    SocketSession,
    Stray,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runware_jobs.client.config import SDKConfig
    from runware_jobs.client.log import ClientLog

    from .exchange import Exchange

# A peer that takes no bytes for this long is gone; also the longest that a byte may follow the fence.
_WRITE_S = 10.0
_CLOSE_S = 1.0
# Deflate costs more processor time than it saves: results are URLs or media that is compressed already.
# No frame limit, since one result may be many megabytes of base64. No pings of the library: the session has its own.
_SOCKET_OPTIONS: dict[str, Any] = {
    "max_size": None,
    "ping_interval": None,
    "compression": None,
    "close_timeout": _CLOSE_S,
}


class WebSocketTransport:
    """One logical connection. `connect_socket` is called like `websockets.connect`; None means that one."""

    def __init__(
        self,
        config: SDKConfig,
        log: ClientLog,
        *,
        connect_socket: Callable[..., Any] | None = None,
        times: SessionTimes | None = None,
    ) -> None:
        self._config = config
        self._log = log
        self._connect_socket = connect_socket
        times = times or SessionTimes(auth_s=config.auth_timeout / 1_000)
        # No longer than a caller's own limit: the lease of a worker counts on it.
        self._write_s = min(_WRITE_S, config.submit_timeout / 1_000)
        self._auth_s = times.auth_s
        self._session = SocketSession(config.api_key, times)
        self._socket: Any = None
        self._runner: asyncio.Task[None] | None = None
        self._is_closed = False
        self._ended_by: RunwareError | None = None  # why this side gave the present socket up
        self._waiters: set[asyncio.Future[None]] = set()  # for the line, however often it takes
        self._connecting: set[asyncio.Future[None]] = set()  # for the attempt under way or next
        self._replies: dict[int, tuple[asyncio.Future[Reply], Exchange]] = {}
        self._write_lock = asyncio.Lock()
        self._is_due_changed = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether the session is authenticated on a socket that is open, as far as is known."""
        return self._socket is not None and self._session.is_usable(time.monotonic())

    async def connect(self) -> None:
        """Connect and authenticate; the first failure is raised instead of being tried again.

        Errors:
            RunwareError: `auth` when the key is refused, `connection` or `timeout` otherwise.
        """
        if self._is_closed:
            raise _closed_error()
        if self.is_connected:
            return
        waiter = self._wait_for_session(self._connecting)
        try:
            await waiter
        except RunwareError as error:
            if not self._is_wanted():
                await self._stop()
            raise error.changed() from error
        finally:
            self._connecting.discard(waiter)

    async def exchange(self, exchange: Exchange) -> Reply:
        """Write once when the line is up, and wait for the answer. Raises only CancelledError."""
        if self._is_closed:
            return failed(_closed_error(), was_written=False)
        ticket: int | None = None
        was_sent = False
        refusal = await self._wait_until_up(exchange)
        if refusal is not None:
            return refusal
        try:
            async with asyncio.timeout(exchange.timeout_s):
                async with self._write_lock:
                    exchange = exchange.narrowed()
                    refusal = self._last_look(exchange)
                    if refusal is not None:
                        return refusal
                    ticket, frame = self._session.begin(exchange)
                    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                    self._replies[ticket] = reply, exchange
                    was_sent = True
                    await self._write(self._socket, frame)
                self._log.write("send", "frame", {"tasks": len(exchange.group.tasks)})
                return await reply
        except TimeoutError:
            partial = None if ticket is None else self._session.give_up(ticket)
            error = create_runware_error(
                REQUEST_TIMEOUT, "The platform did not answer within the time limit."
            )
            return partial or failed(error, was_written=was_sent)
        finally:
            if ticket is not None:
                self._replies.pop(ticket, None)
                self._session.give_up(ticket)

    async def close(self) -> None:
        """Close the socket for good and end all exchanges under way; nothing opens it again."""
        self._is_closed = True
        await self._stop()
        self._end_all(_closed_error())

    # ---- waiting for the line ---------------------------------------------------------------

    def _wait_for_session(self, waiters: set[asyncio.Future[None]]) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.add(waiter)
        if self._runner is None or self._runner.done():
            self._start()
        return waiter

    def _start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name="runware-websocket")
        self._runner.add_done_callback(self._runner_ended)

    def _runner_ended(self, runner: asyncio.Task[None]) -> None:
        """Go on for those who came while the runner was being stopped: two at once would share one session."""
        if self._runner is runner and not self._is_closed and self._is_wanted():
            self._start()

    def _is_wanted(self) -> bool:
        return any(not waiter.done() for waiter in self._waiters | self._connecting)

    async def _wait_until_up(self, exchange: Exchange) -> Reply | None:
        if self.is_connected:
            return None
        waiters = self._waiters if exchange.is_held else self._connecting
        waiter = self._wait_for_session(waiters)
        wait_s = min(exchange.fence.left_s(), exchange.connect_s or exchange.timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await waiter
        except TimeoutError:
            if exchange.fence.has_passed():
                return failed(fence_error(), was_written=False)
            error = create_runware_error(
                NOT_CONNECTED, "The WebSocket was not connected in time; nothing was sent."
            )
            return failed(error, was_written=False)
        except RunwareError as error:
            if error.code is ErrorCode.AUTH:
                return Reply(unscoped=(error,), is_readable=True, was_written=False)
            return failed(error, was_written=False)
        finally:
            waiters.discard(waiter)
        return None

    def _last_look(self, exchange: Exchange) -> Reply | None:
        """Decide immediately before the write; nothing may be awaited between this and the write."""
        if exchange.fence.has_passed():
            return failed(fence_error(), was_written=False)
        if not exchange.group.tasks:
            error = create_runware_error(ABORTED, "Nobody waits for these tasks any more; nothing was sent.")
            return failed(error, was_written=False)
        if not self.is_connected or getattr(self._socket, "close_code", None) is not None:
            error = create_runware_error(
                NOT_CONNECTED, "The WebSocket went down before the request was written."
            )
            return failed(error, was_written=False)
        return None

    # ---- the connection's life --------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._keep_connected()
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for a reader that is gone
            self._log.write("error", "reader_failed", {"reason": repr(error)})
            self._session.lost()
            self._end_all(create_runware_error(CONNECTION_LOST, f"The WebSocket reader failed: {error!r}."))

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            was_up, error = await self._one_connection()
            if self._session.state is SessionState.REJECTED:
                self._end_all(error)
                return
            attempt = 1 if was_up else attempt + 1
            if not was_up:  # the end of an established line is no failure to connect
                _fail_all(self._connecting, error)
            if attempt > self._config.max_reconnect_attempts:
                self._log.write("error", "reconnecting_ended", {"attempts": attempt - 1})
                message = f"Not connected again after {attempt - 1} attempts: {error.message}"
                self._end_all(create_runware_error(RECONNECTION_FAILED, message))
                return
            pause_s = retry_delay_s(
                attempt - 1, base_ms=self._config.retry_delay, strategy=self._config.retry_strategy
            )
            self._log.write("retry", "reconnecting", {"attempt": attempt, "pause_ms": round(pause_s * 1_000)})
            await asyncio.sleep(pause_s)

    async def _one_connection(self) -> tuple[bool, RunwareError]:
        """Connect, serve until the line ends, and say whether it was ever up and why it ended."""
        self._session.state = SessionState.DOWN
        self._ended_by = None
        try:
            async with asyncio.timeout(self._auth_s):
                socket = await self._open_socket()
        except InvalidStatus as error:
            status = error.response.status_code
            told = create_runware_error(
                "", f"The WebSocket handshake was refused (HTTP {status}).", status_code=status
            )
            if status == 401:  # noqa: PLR2004 - the key, said before there is a session
                self._session.state = SessionState.REJECTED
            return False, told
        except (OSError, TimeoutError, WebSocketException) as error:
            return False, create_runware_error(
                CONNECTION_FAILED, f"No WebSocket connection: {str(error) or type(error).__name__}."
            )
        self._log.write("connection", "socket_open", {"url": self._config.ws_base_url})
        try:
            return await self._serve(socket)
        finally:
            self._socket = None
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await socket.close()

    async def _open_socket(self) -> Any:
        url = self._config.ws_base_url
        if self._connect_socket is not None:
            return await self._connect_socket(url, **_SOCKET_OPTIONS)
        # write_limit=0: a write returns when the system has the bytes, so that none wait in here past their fence.
        return await websockets_connect(url, **_SOCKET_OPTIONS, write_limit=0, user_agent_header=user_agent())

    async def _serve(self, socket: Any) -> tuple[bool, RunwareError]:
        self._socket = socket
        was_up = False
        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(self._tick(socket))
            try:
                await self._carry_out(self._session.opened(time.monotonic()), socket)
                async for frame in socket:
                    if self._log.is_enabled:
                        self._log.write("receive", "frame", {"size_bytes": len(frame)})
                    await self._carry_out(self._session.receive(frame, time.monotonic()), socket)
                    if self._session.state is SessionState.REJECTED:
                        break
                    was_up = was_up or self._session.state is SessionState.UP
                    self._is_due_changed.set()
            except ConnectionClosed as error:
                self._log.write("connection", "socket_closed", {"reason": str(error)})
            finally:
                self._socket = None
                is_final = self._config.max_reconnect_attempts < 1
                await self._carry_out(self._session.lost(is_final=is_final), socket)
                ticker.cancel()
        lost = create_runware_error(CONNECTION_LOST, "The WebSocket connection was lost.")
        return was_up, self._ended_by or lost

    async def _tick(self, socket: Any) -> None:
        while True:
            self._is_due_changed.clear()
            wait_s = max(0.0, self._session.due_at() - time.monotonic())
            try:
                async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                    await self._is_due_changed.wait()
            except TimeoutError:
                await self._carry_out(self._session.tick(time.monotonic()), socket)

    async def _carry_out(self, effects: Iterable[Effect], socket: Any) -> None:
        for effect in effects:
            match effect:
                case Send(frame):
                    self._log.write("heartbeat" if frame == PING_FRAME else "auth", "sent")
                    await self._write_own(socket, frame)
                case BecameUp():
                    self._log.write("auth", "authenticated")
                    _release_all(self._waiters)
                    _release_all(self._connecting)
                case Rejected(error):
                    self._log.write("auth", "key_rejected", {"message": error.message})
                    self._ended_by = error
                case Drop(error):
                    self._log.write("connection", "dropped", {"reason": error.message})
                    self._ended_by = error
                    await self._drop(socket)
                case Arrived(ticket, item):
                    self._arrived(ticket, item)
                case Finished(ticket, reply):
                    self._finished(ticket, reply)
                case Stray(what, about):
                    self._log.write("warn", what, {"about": about})

    def _arrived(self, ticket: int, item: dict[str, Any]) -> None:
        entry = self._replies.get(ticket)
        if entry is not None and entry[1].on_item is not None:
            entry[1].on_item(item)

    def _finished(self, ticket: int, reply: Reply) -> None:
        tell_errors(self._log, reply)
        future, _exchange = self._replies.get(ticket, (None, None))
        if future is not None and not future.done():
            future.set_result(reply)

    async def _write_own(self, socket: Any, frame: str) -> None:
        async with self._write_lock:
            await self._write(socket, frame)

    async def _write(self, socket: Any, frame: str) -> None:
        """Write a frame; when that fails the reader notices and ends what waits for an answer.

        Bytes that wait in the buffer of a stuck socket must not leave later, or the fence would be worth
        nothing: a write that is not over in time, or is abandoned, takes the connection with it.
        """
        try:
            async with asyncio.timeout(self._write_s):
                await socket.send(frame)
        except (TimeoutError, ConnectionClosed):
            await self._drop(socket)
        except asyncio.CancelledError:
            await self._drop(socket)
            raise

    @staticmethod
    async def _drop(socket: Any) -> None:
        transport = getattr(socket, "transport", None)
        if transport is not None:
            transport.abort()
        else:
            await socket.close()

    async def _stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    def _end_all(self, error: RunwareError) -> None:
        for effect in self._session.abandon(error):
            if isinstance(effect, Finished):
                self._finished(effect.ticket, effect.reply)
        _fail_all(self._waiters, error)
        _fail_all(self._connecting, error)


def _release_all(waiters: set[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _fail_all(waiters: set[asyncio.Future[None]], error: RunwareError) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def _closed_error() -> RunwareError:
    return create_runware_error(DISCONNECTED, "The client was closed.")
