"""Serving the emulator with uvicorn: as a process of its own, or in a thread of somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from .app import create_app
from .faults.connections import noting

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from .config import Config
    from .protocol import Platform

# Clients upload media as base64 within one frame.
_LARGEST_FRAME_BYTES = 256 * 1024 * 1024


class EmulatorServer(uvicorn.Server):
    """Ends with exit code 0 on SIGTERM and SIGINT, and says where it listens once it does.

    While a fault rule closes the port, nothing listens there; open connections go on.
    """

    def __init__(self, config: uvicorn.Config, platform: Platform, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._platform = platform
        self._on_ready = on_ready
        self._port = config.port
        self._opening: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        self._port = self.servers[0].sockets[0].getsockname()[1]
        self._platform.schedule.start()
        self._platform.faults.on_change = self._follow_faults
        self._on_ready(self._port)
        self._follow_faults()

    def _follow_faults(self, _argument: object = None) -> None:
        """Close or open the port as the rules have it now, and look again when that may change."""
        now = self._platform.clock.now_s()
        is_closed, changes_at = self._platform.faults.closed_until(now)
        self._platform.schedule.call_at(changes_at, self._follow_faults, None)
        if is_closed:
            for server in self.servers:
                server.close()
        elif not any(server.is_serving() for server in self.servers) and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._listen_again())

    async def _listen_again(self) -> None:
        server = await asyncio.get_running_loop().create_server(
            self._new_protocol, self.config.host, self._port, backlog=self.config.backlog
        )
        self.servers = [server]
        self._opening = None
        self._follow_faults()

    def _new_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after its shutdown, which would end us with -15 instead of 0.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class Serving:
    """A running emulator. `address` is like `http://127.0.0.1:9300`, without a slash at the end."""

    address: str
    app: Starlette


@contextlib.contextmanager
def serving(config: Config) -> Iterator[Serving]:
    """Serve in a thread while the context is open; port 0 picks a free one.

    Raises RuntimeError when the address cannot be bound or the state file not be read.
    """
    ready: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    app = create_app(config)
    server = create_server(app, config, ready.put)

    def run() -> None:
        try:
            asyncio.run(server.serve())
        except SystemExit:
            pass  # uvicorn's way to say that it could not bind; reported below
        finally:
            ready.put(None)

    thread = threading.Thread(target=run, name="runware-emulator", daemon=True)
    thread.start()
    port = ready.get()
    if port is None:
        thread.join()
        raise RuntimeError(f"the emulator could not start on {config.host}:{config.port}")
    try:
        yield Serving(f"http://{config.host}:{port}", app)
    finally:
        server.should_exit = True
        thread.join()


def create_server(app: Starlette, config: Config, on_ready: Callable[[int], None]) -> EmulatorServer:
    """A server for `app`; `on_ready` gets the real port when connections are accepted."""
    platform: Platform = app.state.platform

    def breaks_at_once() -> bool:
        return "reset" in platform.faults.judge_event("connect", platform.clock.now_s())

    settings = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        http=noting(AutoHTTPProtocol, breaks_at_once),
        ws_max_size=_LARGEST_FRAME_BYTES,
        # The platform closes silent sockets by its own rule; pings of the server would keep them alive.
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="on",
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        backlog=2048,
    )
    return EmulatorServer(settings, platform, on_ready)
