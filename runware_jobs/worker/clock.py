"""The worker's clock: everything that is due, on one event loop.

Celery carries what is asked for now; this carries what is due: the heartbeat,
polls, submits nobody woke us for, the outbox, deadlines, orphans. Each duty is a
loop of its own that waits for its hint or its interval, survives a database or
platform that is away, and stops between two rounds when the process drains.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.steps.announce import announce
from runware_jobs.steps.archive import archive
from runware_jobs.steps.deliver import deliver
from runware_jobs.steps.poll import poll
from runware_jobs.steps.rescue import adopt, catch_up, complete_batches, pass_deadlines, prepare_partitions
from runware_jobs.steps.submit import submit
from runware_jobs.store import accounts, processes

from .following import Following

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from runware_jobs.steps.context import Context
    from runware_jobs.steps.watch import Watch

_log = structlog.get_logger()

_SUBMIT_EVERY_S: Final = 1.0  # a lost wake costs this much
_RESCUE_EVERY_S: Final = 1.0
_OUTBOX_EVERY_S: Final = 1.0
_PARTITIONS_EVERY_S: Final = 6 * 3600.0
_POLL_SLACK_S: Final = 0.1
_POLLS_AT_ONCE: Final = 4
_AFTER_ERROR_S: Final = 1.0


class Clock:
    """The duties of one worker process; `run` until `drain`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._following = Following()
        self._draining = asyncio.Event()
        self._submit_due = asyncio.Event()
        self._poll_due = asyncio.Event()
        self._outbox_due = asyncio.Event()
        self._rescue_due = asyncio.Event()
        self._is_clock = True

    def wake_submit(self) -> None:
        """Look for queued jobs now."""
        self._submit_due.set()

    def wake_outbox(self) -> None:
        """Look for what is to leave now."""
        self._outbox_due.set()

    def wake_rescue(self) -> None:
        """Look for what nobody follows now."""
        self._rescue_due.set()

    def drain(self) -> None:
        """Stop claiming and polling; requests on the wire are finished, then `run` returns."""
        self._draining.set()
        self._poll_due.set()

    async def run(self) -> None:
        """Do all duties until `drain`; then give the lease back."""
        duties = (
            self._repeat("heartbeat", self._beat, every_s=self._context.tempo.lease_s / 4),
            self._repeat("submit", self._submit, every_s=_SUBMIT_EVERY_S, hint=self._submit_due),
            self._poll_loop(),
            self._repeat("rescue", self._rescue, every_s=_RESCUE_EVERY_S, hint=self._rescue_due),
            self._repeat("catch_up", self._catch_up, every_s=self._context.tempo.lease_s / 2),
            self._repeat("outbox", self._outbox, every_s=_OUTBOX_EVERY_S, hint=self._outbox_due),
            self._repeat("partitions", self._partitions, every_s=_PARTITIONS_EVERY_S),
        )
        async with asyncio.TaskGroup() as group:
            for duty in duties:
                group.create_task(duty)
        async with self._context.engine.begin() as connection:
            await processes.give_back(connection, self._context.owner)

    async def _repeat(
        self,
        name: str,
        duty: Callable[[], Awaitable[float | None]],
        *,
        every_s: float,
        hint: asyncio.Event | None = None,
    ) -> None:
        """Do a duty again and again: at a hint, at its interval, or when it asks to go on at once."""
        while not self._draining.is_set():
            if hint is not None:
                hint.clear()
            try:
                again_in_s = await duty()
            except Exception as error:  # noqa: BLE001  whatever is away, the clock goes on and says so
                _log.warning("duty_failed", duty=name, error=type(error).__name__, detail=str(error)[:200])
                again_in_s = _AFTER_ERROR_S
            await self._pause(every_s if again_in_s is None else again_in_s, hint)

    async def _pause(self, seconds: float, hint: asyncio.Event | None) -> None:
        waits = [asyncio.ensure_future(self._draining.wait())]
        if hint is not None:
            waits.append(asyncio.ensure_future(hint.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _beat(self) -> float | None:
        async with self._context.engine.begin() as connection:
            is_clock = await processes.heartbeat(
                connection, self._context.owner, clocks=self._context.tempo.clocks
            )
            if is_clock is None:
                return await self._start_over()
        self._is_clock = is_clock
        return None

    async def _start_over(self) -> float | None:
        """The lease lapsed while this process was away: what it followed is somebody else's."""
        _log.warning("lease_lost", process=self._context.owner.id, followed=len(self._following))
        self._following.clear()
        async with self._context.engine.begin() as connection:
            owner = await processes.register_again(connection, self._context.owner)
        self._context = self._context.owned_by(owner)
        return 0.0

    async def _submit(self) -> float | None:
        if not self._is_clock:
            return None
        done = await submit(self._context)
        self._follow(done.watches)
        if done.blocked is not None:
            await self._pause_account(done.blocked.message)
        if done.claimed:
            self._outbox_due.set()
        return done.again_in_s

    async def _pause_account(self, reason: str) -> None:
        """Stop sending for an account that may not; everything stays queued (P7)."""
        async with self._context.engine.begin() as connection:
            if await accounts.pause_account(connection, self._context.owner.account_id, reason=reason[:500]):
                _log.error("account_paused", account_id=self._context.owner.account_id, reason=reason[:200])

    async def _poll_loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            places = asyncio.Semaphore(_POLLS_AT_ONCE)
            while not self._draining.is_set():
                self._poll_due.clear()
                due = self._following.take_due(time.monotonic(), slack_s=_POLL_SLACK_S)
                size = self._context.tempo.poll_group_size
                for start in range(0, len(due), size):
                    await places.acquire()
                    task = group.create_task(self._poll_group(due[start : start + size]))
                    task.add_done_callback(lambda _: places.release())
                next_at = self._following.next_due_at()
                await self._pause(
                    60.0 if next_at is None else max(0.0, next_at - time.monotonic()), self._poll_due
                )

    async def _poll_group(self, group: list[Watch]) -> None:
        try:
            left = await poll(self._context, group)
        except Exception as error:  # noqa: BLE001  nothing was concluded: ask again
            _log.warning("poll_failed", tasks=len(group), error=type(error).__name__, detail=str(error)[:200])
            for watch in group:
                watch.forget()
                watch.put_off(self._context, at_least_s=_AFTER_ERROR_S)
            left = group
        self._following.put_back(group, left)
        self._poll_due.set()
        if len(left) < len(group):
            # Something ended: places are free, and somebody wants to be told.
            self._submit_due.set()
            self._outbox_due.set()

    def _follow(self, watches: Iterable[Watch]) -> None:
        self._following.add(watches)
        self._poll_due.set()

    async def _rescue(self) -> float | None:
        self._follow(await adopt(self._context))
        if await pass_deadlines(self._context) + await complete_batches(self._context):
            self._outbox_due.set()
        return None

    async def _catch_up(self) -> float | None:
        self._follow(await catch_up(self._context))
        return None

    async def _outbox(self) -> float | None:
        sent = await announce(self._context) + await deliver(self._context) + await archive(self._context)
        return 0.0 if sent else None

    async def _partitions(self) -> float | None:
        await prepare_partitions(self._context)
        return None
