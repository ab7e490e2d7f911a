"""Two transactions in a known order: the second is at the lock that the first holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_PATIENCE_S = 10


async def pid_of(connection: AsyncConnection) -> int:
    """Name the server's process behind a connection."""
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def until_waiting(engine: AsyncEngine, pid: int) -> None:
    """Return when the connection of this process waits for a lock.

    Raises:
        TimeoutError: it does not.
    """
    async with asyncio.timeout(_PATIENCE_S), engine.connect() as connection:
        while not await _is_waiting(connection, pid):
            # Each look at the activity needs a transaction of its own.
            await connection.rollback()


async def _is_waiting(connection: AsyncConnection, pid: int) -> bool:
    row = await connection.execute(
        text("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}
    )
    return bool(row.scalar_one())
