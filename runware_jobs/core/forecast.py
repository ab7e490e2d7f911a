"""What many jobs would cost and how long they would take, from what was learned of their models.

Pure arithmetic for `batch estimate`. It says what is not known instead of guessing it,
and assumes that nobody else is served meanwhile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .states import Lane


@dataclass(frozen=True, slots=True, order=True)
class Sort:
    """Jobs that cost the same and take the same time."""

    lane: Lane
    learned_as: str
    size: str


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of a sort: dollars per result, seconds per task; None where nothing is."""

    price_usd: Decimal | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What may be in flight at once: of all, of each lane, of each model in its lane; and what is sent."""

    in_flight: int
    requests_per_s: float
    group_size: int
    by_lane: Mapping[Lane, int] = field(default_factory=dict)
    by_model: Mapping[tuple[Lane, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The jobs of one sort; `cost_usd` None while no price is known."""

    sort: Sort
    jobs: int
    results: int
    learned: Learned
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is to be expected.

    `cost_usd` and `duration_s` are of those jobs whose price or duration is known;
    `unpriced_jobs` and `untimed_jobs` count the others. `affordable_jobs` is how many of
    them, in their order, a budget pays for; None without a budget, or where a price is
    missing before it is used up.
    """

    parts: tuple[Part, ...]
    jobs: int
    results: int
    cost_usd: Decimal
    unpriced_jobs: int
    duration_s: float
    untimed_jobs: int
    affordable_jobs: int | None


def forecast(
    jobs: Sequence[tuple[Sort, int]],
    learned: Mapping[Sort, Learned],
    room: Room,
    *,
    budget_usd: Decimal | None,
) -> Forecast:
    """Say what `jobs` (each a sort and how many results it asks for, in their order) amount to."""
    counted: Counter[Sort] = Counter()
    results: Counter[Sort] = Counter()
    for sort, asked in jobs:
        counted[sort] += 1
        results[sort] += asked
    parts = [
        _part(sort, counted[sort], results[sort], learned.get(sort, Learned())) for sort in sorted(counted)
    ]
    return Forecast(
        parts=tuple(parts),
        jobs=len(jobs),
        results=sum(results.values()),
        cost_usd=sum((part.cost_usd for part in parts if part.cost_usd is not None), Decimal(0)),
        unpriced_jobs=sum(part.jobs for part in parts if part.cost_usd is None),
        duration_s=_duration_s(parts, room),
        untimed_jobs=sum(part.jobs for part in parts if part.learned.duration_s is None),
        affordable_jobs=None if budget_usd is None else _affordable(jobs, learned, budget_usd),
    )


def _part(sort: Sort, jobs: int, results: int, learned: Learned) -> Part:
    cost_usd = None if learned.price_usd is None else learned.price_usd * results
    return Part(sort=sort, jobs=jobs, results=results, learned=learned, cost_usd=cost_usd)


def _affordable(
    jobs: Iterable[tuple[Sort, int]], learned: Mapping[Sort, Learned], budget_usd: Decimal
) -> int | None:
    left_usd, paid = budget_usd, 0
    for sort, asked in jobs:
        price_usd = learned.get(sort, Learned()).price_usd
        if price_usd is None:
            return None
        left_usd -= price_usd * asked
        if left_usd < 0:
            break
        paid += 1
    return paid


def _duration_s(parts: Sequence[Part], room: Room) -> float:
    """Take the narrowest of all ways through, and the longest task: the last one starts late."""
    timed = [(part, part.learned.duration_s) for part in parts if part.learned.duration_s is not None]
    if not timed:
        return 0.0
    ways = [(room.in_flight, timed)]
    ways += [
        (places, [one for one in timed if one[0].sort.lane is lane]) for lane, places in room.by_lane.items()
    ]
    ways += [
        (places, [one for one in timed if (one[0].sort.lane, one[0].sort.learned_as) == model])
        for model, places in room.by_model.items()
    ]
    through_s = max(sum(part.jobs * each_s for part, each_s in way) / places for places, way in ways)
    sending_s = sum(part.jobs for part, _ in timed) / room.group_size / room.requests_per_s
    longest_s = max(each_s for _, each_s in timed)
    # Where everything is in flight at once, the whole takes as long as its longest task.
    waits_s = 0.0 if through_s <= longest_s else through_s - longest_s
    return max(waits_s, sending_s) + longest_s
