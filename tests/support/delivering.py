"""Webhooks without a worker: claimed as a turn does, or delivered until nothing more is due."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

from runware_jobs.steps.deliver import Deliveries
from runware_jobs.store.deliveries import (
    FIRST_RECEIVER,
    Mark,
    Wanted,
    claim_webhooks,
    settle_webhooks,
    walk_receivers,
)
from tests.support.polling import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.steps.context import Context
    from runware_jobs.store.outbox import Due


async def claim(connection: AsyncConnection, *, room: int = 9, limit: int = 64) -> list[Due]:
    """Claim webhooks of every receiver, in one walk."""
    walk = await walk_receivers(connection, after=FIRST_RECEIVER, limit=64)
    wanted = [
        Wanted(receiver=one.id, room=1 if one.rest_s > 0 else room, rest_s=one.rest_s) for one in walk.found
    ]
    return await claim_webhooks(connection, wanted, holder=uuid4(), limit=limit, hold_s=60)


async def mark_delivered(connection: AsyncConnection, rows: Iterable[Due]) -> bool:
    """Mark claimed webhooks as delivered; True: something waited behind one of them."""
    return await settle_webhooks(
        connection, [Mark(due=due, is_done=True, state="delivered", status_code=200) for due in rows]
    )


async def put_off(connection: AsyncConnection, due: Due, *, delay_s: float | None) -> None:
    """Mark a claimed webhook as failed: due again after `delay_s`, or dead (None)."""
    state = "dead" if delay_s is None else "failed"
    await settle_webhooks(connection, [Mark(due=due, delay_s=delay_s, state=state, status_code=500)])


async def deliver(context: Context) -> None:
    """Deliver what is due, and what is due because of that; nothing is under way any more on return."""
    deliveries = Deliveries(lambda: context)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            deliveries.came_back.clear()
            has_more = await deliveries.turn()
            if not has_more and not deliveries.under_way:
                return
            if not has_more:
                await deliveries.came_back.wait()
