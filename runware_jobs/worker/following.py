"""The attempts a process follows, by when to ask about them next.

A message about a hundred tasks costs what a message about one costs. So it leaves when
enough are ripe to fill it, or when somebody is due, and then takes along all who are ripe.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from runware_jobs.steps.watch import Watch

    # An instant, a number that tells entries apart, and the watch it is about.
    Entry = tuple[float, int, Watch]

# How exactly the moment is met at which enough are ripe.
_TICK_S: Final = 0.02


class Following:
    """Watches in two heaps, by when they are due and by when they are ripe.

    Each task is followed once, also while it is being asked about.
    """

    def __init__(self) -> None:
        self._due: list[Entry] = []
        self._ripening: list[Entry] = []
        self._ripe: dict[UUID, Watch] = {}
        # Where a task waits. An entry whose number is another is left over in a heap.
        self._places: dict[UUID, int] = {}
        self._watches: dict[UUID, Watch] = {}
        self._hastened: dict[UUID, tuple[float, float]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watches: Iterable[Watch]) -> None:
        """Follow these; a task that is followed already stays as it is."""
        for watch in watches:
            if watch.task_uuid not in self._watches:
                self._watches[watch.task_uuid] = watch
                self._push(watch)

    def followed(self) -> Iterable[Watch]:
        """Give all that is followed, in no order."""
        return self._watches.values()

    def first_due_at(self) -> float | None:
        """Give the instant when the first is due; None when nothing waits."""
        self._drop_left_over(self._due)
        return self._due[0][0] if self._due else None

    def next_at(self, now: float, *, size: int) -> float | None:
        """Give the instant at which to look for a group of `size` again; `now` when there is one."""
        due_at = self.first_due_at()
        if due_at is None or due_at <= now or self._count_ripe(now) >= size:
            return due_at if due_at is None else now
        ripe_at = self._ripening[0][0] if self._ripening else due_at
        return min(due_at, max(ripe_at, now + _TICK_S))

    def take_group(self, now: float, *, size: int) -> list[Watch]:
        """Take up to `size` tasks for one message, the longest due first, then whoever is ripe.

        None unless one is due, or enough are ripe. One that is to be asked about alone is
        taken alone. What is taken is followed still, until it is put back.
        """
        due_at = self.first_due_at()
        is_full = self._count_ripe(now) >= size
        if due_at is None or (due_at > now and not is_full):
            return []
        taken: list[Watch] = []
        while self._due and self._due[0][0] <= now and len(taken) < size:
            if taken and (taken[0].is_alone or self._due[0][2].is_alone):
                break
            taken.append(heapq.heappop(self._due)[2])
            self._forget(taken[-1])
            self._drop_left_over(self._due)
        if taken and taken[0].is_alone:
            return taken
        company = (watch for watch in self._ripe.values() if not watch.is_alone)
        for watch in list(itertools.islice(company, size - len(taken))):
            taken.append(watch)
            self._forget(watch)
        return taken

    def put_back(self, taken: Sequence[Watch], left: Iterable[Watch]) -> None:
        """Go on with those of `taken` that are `left`; the others are done with."""
        keep = {watch.task_uuid for watch in left}
        for watch in taken:
            if self._watches.get(watch.task_uuid) is not watch:
                continue  # everything was dropped meanwhile: the lease was lost
            hastened = self._hastened.pop(watch.task_uuid, None)
            if watch.task_uuid in keep:
                self._push(watch)
                if hastened is not None:
                    self._bring_forward(watch, *hastened)
            else:
                del self._watches[watch.task_uuid]

    def hasten(self, task_uuids: Iterable[UUID], now: float, *, minimum_s: float = 0.0) -> None:
        """Make these due now, where they are followed; one that is being asked about is due afterwards.

        Either is due `minimum_s` after the platform was last asked about it at the soonest.
        """
        for task_uuid in task_uuids:
            watch = self._watches.get(task_uuid)
            if watch is None:
                continue
            if task_uuid in self._places:
                self._bring_forward(watch, now, minimum_s)
            else:
                self._hastened[task_uuid] = (now, minimum_s)

    def clear(self) -> None:
        """Follow nothing any more."""
        for kept in (self._due, self._ripening, self._ripe, self._places, self._watches, self._hastened):
            kept.clear()

    def _bring_forward(self, watch: Watch, now: float, minimum_s: float) -> None:
        at = now if watch.looked_at is None else max(now, watch.looked_at + minimum_s)
        if at < watch.due_at:
            watch.ripe_at = watch.due_at = at
            self._push(watch)

    def _push(self, watch: Watch) -> None:
        number = next(self._numbers)
        self._places[watch.task_uuid] = number
        self._ripe.pop(watch.task_uuid, None)
        heapq.heappush(self._due, (watch.due_at, number, watch))
        heapq.heappush(self._ripening, (watch.ripe_at, number, watch))

    def _forget(self, watch: Watch) -> None:
        del self._places[watch.task_uuid]
        self._ripe.pop(watch.task_uuid, None)

    def _count_ripe(self, now: float) -> int:
        self._drop_left_over(self._ripening)
        while self._ripening and self._ripening[0][0] <= now:
            watch = heapq.heappop(self._ripening)[2]
            self._ripe[watch.task_uuid] = watch
            self._drop_left_over(self._ripening)
        return len(self._ripe)

    def _drop_left_over(self, heap: list[Entry]) -> None:
        while heap and self._places.get(heap[0][2].task_uuid) != heap[0][1]:
            heapq.heappop(heap)
