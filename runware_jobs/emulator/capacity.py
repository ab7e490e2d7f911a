"""A model with limited room: some tasks run, some wait for their turn, and the next is turned away."""

from __future__ import annotations

import heapq


class ModelQueue:
    """Runs `running` tasks at a time and lets `queued` more wait, first come, first served."""

    def __init__(self, running: int, queued: int) -> None:
        self._room = running + queued
        self._free_at = [0.0] * max(1, running)
        self._ends: list[float] = []

    def wait_s(self, now: float) -> float | None:
        """How long a task that comes now waits for its turn; None when there is no room for it."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        if len(self._ends) >= self._room:
            return None
        return max(0.0, self._free_at[0] - now)

    def enter(self, ends_at: float) -> None:
        """Give the next free place to a task that leaves it at `ends_at`."""
        heapq.heapreplace(self._free_at, ends_at)
        heapq.heappush(self._ends, ends_at)
