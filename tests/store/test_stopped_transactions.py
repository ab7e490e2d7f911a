"""A worker that is stopped between two statements keeps its locks only for so long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from runware_jobs.steps.record import committed
from runware_jobs.store.database import open_engine
from runware_jobs.store.tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_LOCK = text(f"SELECT id FROM {SCHEMA}.installation FOR UPDATE")


@pytest.fixture
async def stopped(clean_database: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose transactions may pause for a tenth of a second."""
    opened = open_engine(clean_database, pool_size=2, longest_transaction_pause_s=0.1)
    yield opened
    await opened.dispose()


async def test_locks_of_a_stopped_transaction_come_free(engine: AsyncEngine, stopped: AsyncEngine) -> None:
    holder = await stopped.connect()
    await holder.execute(_LOCK)

    async with engine.begin() as other:
        await other.execute(text("SET LOCAL lock_timeout = '20s'"))
        assert (await other.execute(_LOCK)).scalar_one() == 1

    with pytest.raises(DBAPIError) as caught:
        await holder.execute(_LOCK)
    assert caught.value.connection_invalidated
    await holder.close()


async def test_work_whose_transaction_was_cut_is_done_again(
    engine: AsyncEngine, stopped: AsyncEngine
) -> None:
    tries = 0

    async def work(connection: AsyncConnection) -> int:
        nonlocal tries
        tries += 1
        await connection.execute(_LOCK)
        if tries == 1:
            async with engine.begin() as other:  # waits until the server has cut the first try
                await other.execute(_LOCK)
        await connection.execute(_LOCK)
        return tries

    assert await committed(stopped, work) == 2


async def test_a_wait_for_a_lock_ends_and_is_tried_again(engine: AsyncEngine, stopped: AsyncEngine) -> None:
    async with engine.begin() as holder:
        await holder.execute(_LOCK)
        with pytest.raises(DBAPIError):
            async with stopped.begin() as waiting:
                await waiting.execute(_LOCK)

    async def work(connection: AsyncConnection) -> int:
        return int((await connection.execute(_LOCK)).scalar_one())

    assert await committed(stopped, work) == 1
