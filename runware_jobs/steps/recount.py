"""Recount: put counters and buckets right that have drifted, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from runware_jobs.store import recount as store
from runware_jobs.store.buckets import follow_all

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_log = structlog.get_logger()


async def recount(engine: AsyncEngine, account_id: int) -> int:
    """Compare an account's counters with its living attempts, and its buckets with their batches and tenants.

    Gives how many rows were off; each counter is logged. No claim of the account runs
    meanwhile, for about as long as reading all attempts under way takes.
    """
    async with engine.begin() as connection:
        corrections = await store.recount(connection, account_id)
        buckets = await follow_all(connection, account_id)
    for one in corrections:
        _log.warning(
            "counter_corrected",
            account_id=account_id,
            table=one.table,
            row=one.row,
            counter=one.counter,
            was=str(one.was),
            now=str(one.now),
        )
    if buckets:
        _log.info("buckets_corrected", account_id=account_id, buckets=buckets)
    return len({(one.table, one.row) for one in corrections}) + buckets
