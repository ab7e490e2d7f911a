"""Submitting: claims groups and sends them, a few at once, so that no slow answer holds back the next.

Groups stay large all the same: while one that was not full is on the wire, what is
enqueued meanwhile gathers for the next, for as long as an answer usually takes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.steps.submit import claim_group, send_group

from .waiting import pause, unless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runware_jobs.steps.context import Context
    from runware_jobs.steps.submit import Group
    from runware_jobs.steps.watch import Watch

_log = structlog.get_logger()
_EVERY_S: Final = 1.0  # a lost wake costs this much
_AT_ONCE: Final = 4
_SLOW_S: Final = 0.3
_AFTER_ERROR_S: Final = 1.0


class Submitting:
    """The submits of one process; `run` until `draining` is set.

    `context` gives the lease of the moment, or None while the process stands by;
    `follow` is given what was sent.
    """

    def __init__(
        self,
        context: Callable[[], Context | None],
        *,
        draining: asyncio.Event,
        follow: Callable[[Iterable[Watch]], None],
    ) -> None:
        self._context = context
        self._draining = draining
        self._follow = follow
        self._due = asyncio.Event()
        self._on_wire: set[asyncio.Task[None]] = set()
        self._gathers_until = 0.0

    def wake(self) -> None:
        """Look for queued jobs now."""
        self._due.set()

    async def run(self) -> None:
        """Claim and send until the process drains; requests on the wire are finished."""
        async with asyncio.TaskGroup() as sends:
            while not self._draining.is_set():
                self._due.clear()
                try:
                    wait_s = await self._next(sends)
                except Exception as error:  # noqa: BLE001  whatever is away, the next round may find it
                    _log.warning("submit_failed", error=type(error).__name__, detail=str(error)[:200])
                    wait_s = _AFTER_ERROR_S
                await pause(wait_s, self._due, self._draining)

    async def _next(self, sends: asyncio.TaskGroup) -> float:
        """Send one group, if that is the time for it; say how long to wait for the next."""
        context = self._context()
        if context is None:
            return _EVERY_S
        gathers_s = self._gathers_until - time.monotonic() if self._on_wire else 0.0
        waits_s = max(gathers_s, context.doubts.holds_for_s)
        if waits_s > 0:
            return waits_s
        if len(self._on_wire) >= _AT_ONCE:
            return _EVERY_S
        group = await claim_group(context)
        if group.claim.wants_turn:
            turn = await unless(self._draining, context.pace.turn())
            if turn is None:
                return 0.0
            group = await claim_group(context, turn=turn)
        if group.claim.jobs:
            is_full = len(group.claim.jobs) >= context.tempo.submit_group_size
            self._gathers_until = 0.0 if is_full else time.monotonic() + _SLOW_S
            sending = sends.create_task(self._send(context, group))
            self._on_wire.add(sending)
            sending.add_done_callback(self._sent)
        return _EVERY_S if group.claim.again_in_s is None else group.claim.again_in_s

    async def _send(self, context: Context, group: Group) -> None:
        try:
            self._follow(await send_group(context, group))
        except Exception as error:  # noqa: BLE001  found again by catching up, and settled
            _log.warning("send_failed", error=type(error).__name__, detail=str(error)[:200])

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._on_wire.discard(sending)
        self._due.set()
