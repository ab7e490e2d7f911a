"""The emulator's time: what a clock is, and one schedule for everything that must happen later.

A task's state is a pure function of the time, so most tasks never need the schedule for being polled.
It exists for what the platform does unasked: billing at the moment of finishing, results pushed to
whoever waits, webhooks and their retries. One heap and one timer of the event loop serve them all;
there is no asyncio task per Runware task.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock(Protocol):
    """Whatever tells the time."""

    def now_s(self) -> float:
        """Unix time in seconds."""
        ...


class SystemClock:
    """The machine's wall clock; unix time, so that tasks of a state file stay meaningful."""

    def now_s(self) -> float:
        return time.time()


class Schedule:
    """Callbacks by due time. `run_due` runs them; a started schedule does so by itself."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._order = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    def call_at(self, at_s: float, callback: Callable[[Any], None], argument: Any) -> None:
        """Call `callback(argument)` once, at or after unix time `at_s`; never for infinity."""
        if at_s == float("inf"):
            return
        heapq.heappush(self._due, (at_s, next(self._order), callback, argument))
        if at_s < self._timer_at:
            self._arm(at_s)

    def run_due(self) -> None:
        """Run everything whose time has come, in order of due time."""
        now = self._clock.now_s()
        while self._due and self._due[0][0] <= now:
            _, _, callback, argument = heapq.heappop(self._due)
            callback(argument)

    def start(self) -> None:
        """Let the running event loop drive this schedule; calling it again is harmless."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop = loop
        self._rearm()

    def stop(self) -> None:
        """Stop the timer; what is due stays in the schedule."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None
        self._timer_at = float("inf")

    def _arm(self, at_s: float) -> None:
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at_s
        self._timer = self._loop.call_later(max(0.0, at_s - self._clock.now_s()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.run_due()
        self._rearm()

    def _rearm(self) -> None:
        self._timer_at = float("inf")
        if self._due:
            self._arm(self._due[0][0])
