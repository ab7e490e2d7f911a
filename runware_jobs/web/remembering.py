"""Answers that are costly to get and may be a moment old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

_T = TypeVar("_T")
_LEAST_S: Final = 1.0
_SHARE: Final = 20
"""An answer is kept for at least so many times as long as it took to get: counting a
million rows for every open dashboard never takes more than a twentieth of the database."""


class Remembered(Generic[_T]):
    """Keeps the last answer for each key; many askers at once make one question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[Hashable, tuple[float, _T]] = {}
        self._locks: dict[Hashable, asyncio.Lock] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Give the remembered answer, or ask for a new one; what `ask` raises is not remembered."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            good_until, answer = self._answers.get(key, (0.0, None))
            if answer is None or self._clock() >= good_until:
                started = self._clock()
                answer = await ask()
                ended = self._clock()
                self._answers[key] = (ended + max(_LEAST_S, _SHARE * (ended - started)), answer)
            return answer
