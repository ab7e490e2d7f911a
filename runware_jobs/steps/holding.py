"""Hold a lease for the length of a piece of work outside a worker: heartbeats, no seat at the clock."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runware_jobs.errors import NotPossible
from runware_jobs.store import processes

from .record import committed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .context import Context


@asynccontextmanager
async def held_lease(context: Context) -> AsyncIterator[None]:
    """Keep the context's lease alive; give it back at the end, and with it what was followed.

    Raises:
        NotPossible: the lease lapsed meanwhile, because the database was away or this
            process was stopped; nothing was written after that. Doing it again goes on.
    """
    try:
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(_beat(context))
            yield
            beating.cancel()
    except ExceptionGroup as failed:
        # What the work itself raises comes as a group of one, too.
        if len(failed.exceptions) > 1:
            raise
        raise failed.exceptions[0] from None
    finally:
        async with context.engine.begin() as connection:
            await processes.give_back(connection, context.owner)


async def _beat(context: Context) -> None:
    async def beat(connection: AsyncConnection) -> bool | None:
        return await processes.heartbeat(connection, context.owner, clocks=0)

    while True:
        if await committed(context.engine, beat) is None:
            raise NotPossible("The lease of this command has lapsed; run it again: it goes on where it was.")
        await asyncio.sleep(context.tempo.lease_s / 4)
