"""Traps on the way of a process' messages: at which one, before it leaves or after, what happens.

A relay shows every request to the traps of the process that sent it. They count each
kind of request, so that a clean run lists the points at which a process can be struck.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Moment(StrEnum):
    """When a strike falls, seen from one request."""

    BEFORE = "before it leaves"
    BETWEEN = "after it was answered, before the answer is passed on"
    AFTER = "after its answer was passed on"
    LATE = "it arrives late; its sender sees a reset at once"
    TWICE = "it arrives twice"


KILLING = (Moment.BEFORE, Moment.BETWEEN, Moment.AFTER)


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens at a request: `act` is called, and the connection breaks if it `cuts`."""

    moment: Moment
    act: Callable[[], None] = lambda: None
    cuts: bool = True
    delay_s: float = 0.0


@dataclass(slots=True, eq=False)
class Trap:
    """One armed strike: the `nth` request from now on that `wants` likes. `sprung` is set when it fell."""

    wants: Callable[[str], bool]
    strike: Strike
    nth: int = 1
    label: str = ""
    sprung: threading.Event = field(default_factory=threading.Event)


class Traps:
    """The traps of one process, and the count of everything it has said. Called from the relays' thread."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._armed: list[Trap] = []
        self._chances: list[tuple[Callable[[str], bool], float, random.Random, Strike]] = []
        self._lock = threading.Lock()

    def arm(self, wants: Callable[[str], bool], strike: Strike, *, nth: int = 1) -> Trap:
        """Lay a trap that springs once."""
        trap = Trap(wants, strike, nth)
        with self._lock:
            self._armed.append(trap)
        return trap

    def haunt(
        self, wants: Callable[[str], bool], strike: Strike, *, rate: float, chance: random.Random
    ) -> None:
        """Strike this share of the requests that `wants` likes, until `clear`."""
        with self._lock:
            self._chances.append((wants, rate, chance, strike))

    def clear(self) -> None:
        """Take all traps away; the counts stay."""
        with self._lock:
            self._armed.clear()
            self._chances.clear()

    def asked(self, label: str) -> Strike | None:
        """Count a request; give what is to happen to it."""
        with self._lock:
            self.seen[label] += 1
            for trap in self._armed:
                if not trap.wants(label):
                    continue
                trap.nth -= 1
                if trap.nth == 0:
                    self._armed.remove(trap)
                    trap.label = label
                    self.struck[f"{label} | {trap.strike.moment}"] += 1
                    return _telling(trap)
            for wants, rate, chance, strike in self._chances:
                if wants(label) and chance.random() < rate:
                    self.struck[f"{label} | {strike.moment}"] += 1
                    return strike
        return None


def _telling(trap: Trap) -> Strike:
    def act() -> None:
        trap.strike.act()
        trap.sprung.set()

    return Strike(trap.strike.moment, act, trap.strike.cuts, trap.strike.delay_s)
