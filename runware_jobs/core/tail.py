"""The newest events of a job, shared by everybody who follows it: each hears each event once, in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Numbered(Protocol):
    """What has a place in its job's order."""

    @property
    def seq(self) -> int:
        """Rises within a job."""


_E = TypeVar("_E", bound=Numbered)
KEPT: Final = 32
"""A job has a handful of events; who is further behind reads the table."""


class Tail(Generic[_E]):
    """Every event after `floor` up to `seq`, at most `keep` of them.

    `seq` is how far the job is known to have come. Whoever has heard all up to a number
    not below `floor` is served from here.
    """

    def __init__(self, seq: int, *, keep: int = KEPT) -> None:
        self.seq = self.floor = seq
        self._keep = keep
        self._events: deque[_E] = deque()

    def extend(self, events: Sequence[_E], *, seq: int) -> None:
        """Take what was read of the table: every event after our `seq`, and at least up to the number `seq`.

        What is known already is passed over, so that a look twice, or one that comes late
        with an older answer, changes nothing.
        """
        for event in events:
            if event.seq > self.seq:
                self._events.append(event)
                self.seq = event.seq
        # A month of events may be dropped; the job's number stays.
        self.seq = max(self.seq, seq)
        while len(self._events) > self._keep:
            self.floor = self._events.popleft().seq

    def restart(self, seq: int) -> None:
        """Keep nothing, because there was more than one look reads."""
        self._events.clear()
        self.seq = self.floor = max(self.seq, seq)

    def after(self, seq: int) -> list[_E] | None:
        """Give the events after `seq`, in order; None: the first of them are not here any more."""
        if seq < self.floor:
            return None
        return [event for event in self._events if event.seq > seq]
