"""The time in which a send may leave, measured from before it was decided.

`send_before` of the client is wall time, fixed on the steady clock only when the client
is called. Between the decision and that call a transaction passes, and with it perhaps
a stopped process or a wall clock that was set back: this counts on both from the start.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runware_jobs.client.wire.fence import steady_s

if TYPE_CHECKING:
    from collections.abc import Callable


class SendWindow:
    """Opened when it is made, `length_s` long. Open it before the transaction that decides to send."""

    def __init__(
        self,
        length_s: float,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady_s,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._wall_end = wall() + length_s
        self._steady_end = steady() + length_s

    def send_before(self) -> float:
        """Give the unix time after which nothing may leave, by the stricter clock; ask right before sending."""
        return min(self._wall_end, self._wall() + (self._steady_end - self._steady()))
