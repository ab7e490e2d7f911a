"""Listening: the one connection of a process that hears hints (LISTEN).

It stands beside the engine's pool: while somebody listens, the process has one connection more.
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from .database import KEEPALIVES
from .news import CHANNEL, read_hint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from .news import Hint

_LISTEN: Final = f"LISTEN {CHANNEL}"


class Listener:
    """Hears hints on a connection of its own; it is of no use for anything else."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    async def hints(self) -> AsyncGenerator[Hint]:
        """Yield hints as they come, without end.

        Raises:
            psycopg.OperationalError: the connection is lost; hints may be, too.
        """
        async with aclosing(self._connection.notifies()) as notifies:
            async for told in notifies:
                yield read_hint(told.payload)


@asynccontextmanager
async def open_listener(engine: AsyncEngine) -> AsyncIterator[Listener]:
    """Open the connection and listen; on leaving it is closed.

    Behind a pooler in transaction mode this looks as if it worked, and nothing is ever heard.

    Raises:
        psycopg.Error: there is no connection, or the server takes no LISTEN
            (a standby does not).
    """
    arguments, options = engine.dialect.create_connect_args(engine.url)
    connection = await psycopg.AsyncConnection.connect(
        *arguments,
        **{"connect_timeout": 10, "application_name": "runware-jobs-listener", **KEEPALIVES, **options},
        autocommit=True,
    )
    try:
        await connection.execute(_LISTEN)
        yield Listener(connection)
    finally:
        # Not its own `async with`: that waits for whoever still reads.
        await connection.close()
