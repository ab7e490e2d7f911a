"""An engine whose connections lead over a relay, which a test can close, open and teach to forget."""

from __future__ import annotations

import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from runware_jobs.store.database import open_engine
from tests.support.relay import LoopThread, Relay, Upstream
from tests.support.speech import Piece

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

_HEADER_BYTES = 5


class WithoutNotifications:
    """What a client hears behind a pooler in transaction mode: LISTEN succeeds, and no hint ever comes."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Piece]:
        """Give whole messages, but for those that notify."""
        self._buffer += data
        kept = b""
        while len(self._buffer) >= _HEADER_BYTES:
            end = 1 + struct.unpack_from("!I", self._buffer, 1)[0]
            if len(self._buffer) < end:
                break
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            if message[:1] != b"A":
                kept += message
        return [Piece(kept)] if kept else []


@asynccontextmanager
async def behind_a_relay(database_url: str, **options: Any) -> AsyncIterator[tuple[AsyncEngine, Relay]]:
    """Open an engine and the relay that its connections lead over."""
    url = make_url(database_url)
    folder = str(url.query.get("host") or url.host)
    port = int(str(url.query.get("port") or url.port or 5432))
    upstream = Upstream(path=f"{folder}/.s.PGSQL.{port}") if folder.startswith("/") else Upstream(port=port)
    with LoopThread() as loop:
        relay = Relay(loop, upstream, **options)
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        through = url.set(host="127.0.0.1", port=relay.port, query=plain)
        engine = open_engine(through.render_as_string(hide_password=False), pool_size=3)
        try:
            yield engine, relay
        finally:
            await engine.dispose()
            relay.close()
