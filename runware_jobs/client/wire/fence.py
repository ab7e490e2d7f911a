"""The instant after which no byte of a submit may leave this process.

A row in a database can be guarded, a POST cannot: whoever takes over an attempt must know that
the former owner sends nothing any more. The wall clock alone can be set back, a plain monotonic
clock stands still while the machine sleeps, so the fence asks both and believes the stricter.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runware_jobs.client.error_codes import SEND_WINDOW_PASSED
from runware_jobs.client.errors import RunwareError, create_runware_error

if TYPE_CHECKING:
    from collections.abc import Callable


def steady_s() -> float:
    """Seconds of a clock that never goes back and, where the system has one, counts suspension."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    # macOS has no CLOCK_BOOTTIME; its monotonic clock of Python counts suspension only in part, the wall clock fills in.
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class SendFence:
    """`send_before` (unix seconds, None for no limit), fixed on both clocks when it is made."""

    def __init__(
        self,
        send_before: float | None,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_s,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._wall_end = send_before
        self._steady_end = None if send_before is None else steady() + (send_before - wall())

    def has_passed(self) -> bool:
        """Say whether sending is forbidden now. Ask immediately before the write."""
        return self.left_s() <= 0

    def left_s(self) -> float:
        """Seconds left by the stricter clock; infinite without a limit, never negative."""
        if self._wall_end is None or self._steady_end is None:
            return float("inf")
        return max(0.0, min(self._wall_end - self._wall(), self._steady_end - self._steady()))


def fence_error() -> RunwareError:
    """Tell that the send window was over and that nothing was written."""
    return create_runware_error(
        SEND_WINDOW_PASSED,
        "The send window (send_before) had passed before the request could be written; nothing was sent.",
    )
