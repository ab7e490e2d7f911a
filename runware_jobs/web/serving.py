"""Serving the API with uvicorn, as `runware-jobs api` does."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import threading
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn

from runware_jobs.assembly import check_schema, find_services

from .app import create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from runware_jobs.settings import Settings

_log = structlog.get_logger()

_GRACE_S: Final = 10
"""How long requests in progress may take once we are told to stop; live streams end at once."""
_MOST_FILES: Final = 16_384


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 9400) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in progress and return.

    `port` 0 takes a free one; the log says which.

    Raises:
        DatabaseBehind: the schema is missing or old, or the database does not answer.
        SystemExit: the address cannot be bound; the log says why.
    """
    check_schema(find_services(settings))
    _allow_sockets()
    config = uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        # Whoever stands in front of us is no client: access without keys looks at the real peer.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    _Server(config).run()


def _allow_sockets() -> None:
    """Raise the soft limit of open files: the usual 1,024 are fewer sockets than a thousand live streams need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Returns after a signal, where uvicorn would end the process by the same signal."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            _log.info("api_listening", url=f"http://{self.config.host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
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
