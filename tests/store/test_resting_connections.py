"""A connection that the server has dropped while it rested is replaced before a step uses it."""

from __future__ import annotations

import time

from sqlalchemy import text

from runware_jobs.store.database import open_engine
from tests.support.polling import poll_until_async

RESTED_S = 1.2


async def process_of(engine):
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()


async def test_dropped_connection_is_replaced_and_one_in_use_is_kept(engine, clean_database):
    opened = open_engine(clean_database, pool_size=1)
    dropped = await process_of(opened)
    assert await process_of(opened) == dropped
    rests_since = time.monotonic()
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:id, 10000)"), {"id": dropped})

    async def has_rested():
        return time.monotonic() - rests_since > RESTED_S

    await poll_until_async(has_rested, what="a connection that rested")
    replaced = await process_of(opened)
    await opened.dispose()

    assert replaced != dropped
