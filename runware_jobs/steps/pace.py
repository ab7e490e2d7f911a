"""Pace: one turn for each request to the platform, counted over all processes of an account."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from runware_jobs.store.rates import reserve_turns

from .record import committed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# A turn that is not used by then is lost: saved up, turns would make a burst. Together
# with `store.rates.PACE` this keeps any two seconds within what is allowed.
_USED_WITHIN_S: Final = 0.1


class Pace:
    """The turns of one process. `clock` gives seconds that only grow."""

    def __init__(
        self, engine: AsyncEngine, account_id: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._account_id = account_id
        self._clock = clock
        self._turns: deque[float] = deque()
        self._line = asyncio.Lock()
        self._given_back = asyncio.Event()

    async def turn(self) -> float:
        """Wait until one request may leave; send it at once, since a turn does not keep.

        First come, first served. While the database is away this waits. What it gives
        is the turn itself, for `give_back`.
        """
        async with self._line:
            while (turn := self.take()) is None:
                self._given_back.clear()
                if self._turns:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._turns[0] - self._clock()):
                            await self._given_back.wait()
                else:
                    waits_s = await committed(self._engine, self._reserve, at_once=True)
                    # Counted from when the answer is here: a turn may come late, never early.
                    now = self._clock()
                    self._turns.extend(now + wait_s for wait_s in waits_s)
        return turn

    def take(self) -> float | None:
        """Take a turn that this process holds already and that has come; None when there is none."""
        now = self._clock()
        while self._turns and self._turns[0] < now - _USED_WITHIN_S:
            self._turns.popleft()
        if not self._turns or self._turns[0] > now:
            return None
        return self._turns.popleft()

    def give_back(self, turn: float) -> None:
        """Give back a turn with which nothing was sent: the next request may use it."""
        self._turns.appendleft(turn)
        self._given_back.set()

    async def _reserve(self, connection: AsyncConnection) -> tuple[float, ...]:
        return await reserve_turns(connection, self._account_id)
