"""The worker's clock: everything that is due, on one event loop.

Celery carries what is asked for now; this carries what is due: the heartbeat,
polls, submits nobody woke us for, the outbox, deadlines, orphans. Each duty is a
loop of its own that waits for its hint or its interval, survives a database or
platform that is away, and stops between two rounds when the process drains.

Of many processes of an account a few poll and submit, so that groups stay large;
the others stand by until a seat is free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.steps.accounts import look_after_account
from runware_jobs.steps.announce import announce
from runware_jobs.steps.archive import archive
from runware_jobs.steps.hints import take_hints
from runware_jobs.steps.inputs import upload_inputs
from runware_jobs.steps.progress import tell_progress
from runware_jobs.steps.recount import recount
from runware_jobs.steps.rescue import adopt, catch_up, complete_batches, pass_deadlines, prepare_partitions
from runware_jobs.steps.signals import finish_signals, forget_signals, send_signals
from runware_jobs.store import processes

from .delivering import Delivering
from .polling import Polling
from .submitting import Submitting
from .waiting import pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from runware_jobs.steps.context import Context

_log = structlog.get_logger()

_RESCUE_EVERY_S: Final = 1.0
_ACCOUNT_EVERY_S: Final = 1.0
_RECEIVER_DRAIN_S: Final = 2.0
_GIVE_BACK_WITHIN_S: Final = 0.8  # the loop waits a second for what it cancels
_OUTBOX_EVERY_S: Final = 1.0
_PROGRESS_EVERY_S: Final = 60.0
_FORGET_EVERY_S: Final = 3600.0
_INPUTS_EVERY_S: Final = 1.0
_UPLOADS_AT_ONCE: Final = 2  # a slow one holds up as many others as this leaves
_STAND_BY_EVERY_S: Final = 1.0
_LEARN_EVERY_S: Final = 1.0
_HINTS_EVERY_S: Final = 0.2
_WITHOUT_CALLBACKS_S: Final = 3600.0
_PARTITIONS_EVERY_S: Final = 6 * 3600.0
_RECOUNT_EVERY_S: Final = 600.0  # what drifted costs places until then
_AFTER_ERROR_S: Final = 1.0


class Clock:
    """The duties of one worker process; `run` until `drain`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._draining = asyncio.Event()
        self._inputs_due = asyncio.Event()
        self._rescue_due = asyncio.Event()
        self._is_clock = False
        self._beating = asyncio.Lock()
        self._polling = Polling(lambda: self._context, draining=self._draining, ended=self._ended)
        self._submitting = Submitting(
            lambda: self._context if self._is_clock else None,
            draining=self._draining,
            follow=self._polling.follow,
        )
        self._delivering = Delivering(lambda: self._context, draining=self._draining)

    def wake_submit(self) -> None:
        """Look for queued jobs now, and for webhooks: whoever cancels a job wakes us like this too."""
        self._inputs_due.set()
        self._submitting.wake()
        self._context.outbox_due.webhooks.set()

    def wake_outbox(self) -> None:
        """Look for what is to leave now."""
        self._context.outbox_due.set()

    def wake_rescue(self) -> None:
        """Look for what nobody follows now."""
        self._rescue_due.set()

    def drain(self) -> None:
        """Stop claiming and polling; requests on the wire are finished, then `run` returns."""
        self._draining.set()

    async def run(self) -> None:
        """Do all duties until `drain`; then give the lease back."""
        duties = (
            self._repeat("heartbeat", self._beat, every_s=self._context.tempo.lease_s / 4),
            self._repeat("stand_by", self._stand_by, every_s=_STAND_BY_EVERY_S),
            *(
                self._repeat("inputs", self._inputs, every_s=_INPUTS_EVERY_S, hint=self._inputs_due)
                for _ in range(_UPLOADS_AT_ONCE)
            ),
            self._submitting.run(),
            self._polling.run(),
            self._repeat("learn", self._polling.learn, every_s=_LEARN_EVERY_S),
            self._repeat("hints", self._hints, every_s=_HINTS_EVERY_S),
            self._repeat("rescue", self._rescue, every_s=_RESCUE_EVERY_S, hint=self._rescue_due),
            self._repeat(
                "account", self._look_after_account, every_s=_ACCOUNT_EVERY_S, hint=self._context.doubts.due
            ),
            self._repeat("catch_up", self._catch_up, every_s=self._context.tempo.lease_s / 2),
            self._repeat(
                "outbox",
                lambda: self._until_drained(self._outbox()),
                every_s=_OUTBOX_EVERY_S,
                hint=self._context.outbox_due,
            ),
            self._repeat(
                "links",
                lambda: self._until_drained(self._links()),
                every_s=_OUTBOX_EVERY_S,
                hint=self._context.outbox_due.links,
            ),
            self._delivering.run(),
            self._tell_receivers(),
            self._tell_progress(),
            self._repeat("forget", self._forget, every_s=_FORGET_EVERY_S),
            self._repeat("partitions", self._partitions, every_s=_PARTITIONS_EVERY_S),
            self._repeat("recount", self._recount, every_s=_RECOUNT_EVERY_S),
        )
        try:
            async with asyncio.TaskGroup() as group:
                for duty in duties:
                    group.create_task(duty)
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        """Free what this process followed; when the database is away the lease lapses by itself."""
        try:
            async with asyncio.timeout(_GIVE_BACK_WITHIN_S), self._context.engine.begin() as connection:
                await processes.give_back(connection, self._context.owner)
        except Exception as error:  # noqa: BLE001  whatever it was, the process is at its end
            _log.warning("lease_not_given_back", error=type(error).__name__)

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
            hints = () if hint is None else (hint,)
            await pause(every_s if again_in_s is None else again_in_s, self._draining, *hints)

    async def _beat(self) -> float | None:
        async with self._beating:
            return await self._beat_once()

    async def _beat_once(self) -> float | None:
        pulse = processes.Pulse(following=len(self._polling), poll_lag_s=self._polling.lag_s)
        async with self._context.engine.begin() as connection:
            is_clock = await processes.heartbeat(
                connection, self._context.owner, clocks=self._context.tempo.clocks, pulse=pulse
            )
        if is_clock is None:
            return await self._start_over()
        if is_clock and not self._is_clock:
            _log.info("clock_seated", process=self._context.owner.id)
            self._is_clock = True
            self._submitting.wake()
            self._rescue_due.set()
        return None

    async def _stand_by(self) -> float | None:
        """Take a seat that has become free, without waiting for the next heartbeat."""
        if self._is_clock:
            return None
        context = self._context
        async with context.engine.connect() as connection:
            is_free = await processes.has_free_seat(connection, context.owner, clocks=context.tempo.clocks)
        return await self._beat() if is_free else None

    async def _start_over(self) -> float | None:
        """The lease lapsed while this process was away: what it followed is somebody else's."""
        _log.warning("lease_lost", process=self._context.owner.id, followed=len(self._polling))
        self._polling.drop()
        self._is_clock = False
        async with self._context.engine.begin() as connection:
            owner = await processes.register_again(connection, self._context.owner)
        self._context = self._context.owned_by(owner)
        return 0.0

    async def _look_after_account(self) -> float | None:
        """Ask about an account that may send nothing; everything stays queued meanwhile (P7)."""
        if not self._is_clock:
            return None
        if await look_after_account(self._context):
            self._submitting.wake()
        return None

    async def _hints(self) -> float | None:
        """Ask now about tasks that the platform has called back about."""
        if self._context.callback_base_url is None:
            return _WITHOUT_CALLBACKS_S
        if self._is_clock:
            self._polling.hasten(await take_hints(self._context))
        return None

    def _ended(self) -> None:
        """Attempts have ended: places are free."""
        self._submitting.wake()

    async def _rescue(self) -> float | None:
        if not self._is_clock:
            await self._lapse()
            return None
        self._polling.follow(await adopt(self._context))
        if await pass_deadlines(self._context) + await complete_batches(self._context):
            self._context.outbox_due.set()
        return None

    async def _lapse(self) -> None:
        """Free the seats of the dead: who stands by waits for one."""
        async with self._context.engine.begin() as connection:
            await processes.lapse(connection, lease_s=self._context.tempo.lease_s)

    async def _inputs(self) -> float | None:
        if not self._is_clock:
            return None
        if (waits_s := self._context.doubts.holds_for_s) > 0:
            return waits_s
        done = await upload_inputs(self._context)
        if done.released:
            self._submitting.wake()
        if done.failed:
            self._context.outbox_due.set()
        return 0.0 if done.has_more else None

    async def _catch_up(self) -> float | None:
        self._polling.follow(await catch_up(self._context))
        return None

    async def _until_drained(self, work: Coroutine[None, None, float | None]) -> float | None:
        """Send what is to leave; draining waits for no receiver and no broker: its row comes again."""
        sending = asyncio.ensure_future(work)
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({sending, draining}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({sending}, timeout=_RECEIVER_DRAIN_S)
            return sending.result() if sending.done() else None
        finally:
            sending.cancel()
            draining.cancel()

    async def _outbox(self) -> float | None:
        return 0.0 if await archive(self._context) else None

    async def _links(self) -> float | None:
        return 0.0 if await announce(self._context) else None

    async def _tell_receivers(self) -> None:
        """Tell receivers of signals beside all else; draining waits a moment for those that are at it."""
        await self._repeat(
            "signals", self._signals, every_s=_OUTBOX_EVERY_S, hint=self._context.outbox_due.signals
        )
        await finish_signals(self._context, within_s=_RECEIVER_DRAIN_S)

    async def _signals(self) -> float | None:
        return 0.0 if await send_signals(self._context) else None

    async def _tell_progress(self) -> None:
        news = self._context.progress
        await self._repeat("progress", self._progress, every_s=_PROGRESS_EVERY_S, hint=news.due)
        await news.aclose()

    async def _progress(self) -> float | None:
        # What is newer takes its turn, however often it is said meanwhile.
        more_in_s = await tell_progress(self._context)
        if more_in_s is not None:
            await pause(more_in_s, self._draining)
            return 0.0
        return None

    async def _forget(self) -> float | None:
        if self._is_clock:
            await forget_signals(self._context)
        return None

    async def _recount(self) -> float | None:
        if self._is_clock:
            await recount(self._context.engine, self._context.owner.account_id)
        return None

    async def _partitions(self) -> float | None:
        await prepare_partitions(self._context)
        return None
