"""The attempts a process follows, by when to ask about them next.

Neighbours in time are taken together, so that one request asks about many: whoever
is due within `slack_s` of the first goes along with it.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from runware_jobs.steps.watch import Watch


class Following:
    """A heap of watches. Each task is followed once, also while it is being asked about."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Watch]] = []
        self._tasks: set[UUID] = set()
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, watches: Iterable[Watch]) -> None:
        """Follow these; a task that is followed already stays as it is."""
        for watch in watches:
            if watch.task_uuid not in self._tasks:
                self._tasks.add(watch.task_uuid)
                self._push(watch)

    def next_due_at(self) -> float | None:
        """Give the instant when the first is due; None when nothing waits."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, *, slack_s: float) -> list[Watch]:
        """Take everything that is due by `now + slack_s`, if anything is due by `now`.

        What is taken is followed still, until it is put back.
        """
        taken: list[Watch] = []
        if not self._heap or self._heap[0][0] > now:
            return taken
        while self._heap and self._heap[0][0] <= now + slack_s:
            taken.append(heapq.heappop(self._heap)[2])
        return taken

    def put_back(self, taken: Sequence[Watch], left: Iterable[Watch]) -> None:
        """Go on with those of `taken` that are `left`; the others are done with."""
        keep = {watch.task_uuid for watch in left}
        for watch in taken:
            if watch.task_uuid not in self._tasks:
                continue  # everything was dropped meanwhile: the lease was lost
            if watch.task_uuid in keep:
                self._push(watch)
            else:
                self._tasks.discard(watch.task_uuid)

    def clear(self) -> None:
        """Follow nothing any more."""
        self._heap.clear()
        self._tasks.clear()

    def _push(self, watch: Watch) -> None:
        heapq.heappush(self._heap, (watch.due_at, next(self._order), watch))
