"""Delivering: webhooks leave all the time, in turns that never wait for the slowest of them.

A turn is short: a transaction that marks what has come back and claims what there are
places for. What comes back within some milliseconds is marked together.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.steps.deliver import Deliveries

from .waiting import pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from runware_jobs.steps.context import Context

_log = structlog.get_logger()
# What another process has left is found this late, and what is due by the schedule.
_EVERY_S: Final = 1.0
# As long as a turn takes, about: shorter gaps would mark the same rows in more commits.
_GAP_S: Final = 0.015
_AFTER_ERROR_S: Final = 1.0
_DRAIN_S: Final = 2.0
_GIVE_BACK_WITHIN_S: Final = 0.8


class Delivering:
    """The webhooks of one process; `run` until `draining` is set."""

    def __init__(self, context: Callable[[], Context], *, draining: asyncio.Event) -> None:
        self._deliveries = Deliveries(context)
        self._draining = draining
        self._due = context().outbox_due.webhooks

    async def run(self) -> None:
        """Deliver until the process drains; what is on the wire then gets some seconds, and is given back."""
        turning = asyncio.ensure_future(self._turn_until_drained())
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({turning, draining}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(turning)
        finally:
            turning.cancel()
            draining.cancel()

    async def _turn_until_drained(self) -> None:
        looks_at = time.monotonic()
        while not self._draining.is_set():
            began = time.monotonic()
            claims = self._due.is_set() or self._deliveries.has_room or began >= looks_at
            self._due.clear()
            self._deliveries.came_back.clear()
            wait_s = 0.0
            try:
                has_more = await self._deliveries.turn(claims=claims)
            except Exception as error:  # noqa: BLE001  whatever is away, what came back is marked later
                _log.warning("delivering_failed", error=type(error).__name__, detail=str(error)[:200])
                has_more, wait_s = True, _AFTER_ERROR_S
            if claims:
                looks_at = began if has_more else began + _EVERY_S
            if not has_more:
                await pause(
                    looks_at - time.monotonic(), self._draining, self._due, self._deliveries.came_back
                )
            await pause(max(wait_s, began + _GAP_S - time.monotonic()), self._draining)

    async def _drain(self, turning: asyncio.Future[None]) -> None:
        end_at = time.monotonic() + _DRAIN_S
        self._deliveries.give_back_waiting()
        # A claim that is cut off leaves rows held until their holder's time has passed.
        await asyncio.wait({turning}, timeout=_DRAIN_S / 2)
        turning.cancel()
        await asyncio.wait({turning}, timeout=_DRAIN_S / 4)
        self._deliveries.give_back_waiting()
        while self._deliveries.on_wire and (left_s := end_at - time.monotonic()) > 0:
            self._deliveries.came_back.clear()
            await pause(left_s, self._deliveries.came_back)
        await self._deliveries.give_back_sent()
        try:
            async with asyncio.timeout(_GIVE_BACK_WITHIN_S):
                while self._deliveries.under_way:
                    await self._deliveries.turn(claims=False)
        except Exception as error:  # noqa: BLE001  at the end of the process: the rows come again by themselves
            _log.warning(
                "webhooks_not_given_back", rows=self._deliveries.under_way, error=type(error).__name__
            )
