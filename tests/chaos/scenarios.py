"""Every scenario by its name, and which of them a seed takes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.chaos import breaking, killing, pausing, people, telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.run import Run

SCENARIOS: dict[str, Callable[[Run], None]] = {
    scenario.__name__: scenario
    for scenario in (
        killing.kill_points,
        killing.kill_anywhere,
        killing.two_workers,
        killing.four_workers,
        breaking.flush,
        breaking.broker_down,
        breaking.broker_away_a_minute,
        breaking.broker_late,
        breaking.postgres_crash,
        breaking.connections_cut,
        breaking.restore,
        breaking.platform_restart,
        breaking.answers,
        breaking.forgetful,
        breaking.storm,
        pausing.paused,
        pausing.paused_before_send,
        pausing.paused_at_send,
        pausing.paused_before_record,
        pausing.paused_before_resend,
        people.minds,
        people.budgets,
        people.mixed,
        telling.deliverer_killed,
        telling.deliverers_killed,
        telling.deliverer_cut_off,
    )
}

LONG = frozenset({"broker_away_a_minute"})
"""Those that take minutes: `make chaos` plays them, the test suite does not."""

# What there is most of to find takes more of the runs.
_WEIGHTS = {"kill_points": 6, "kill_anywhere": 2, "mixed": 4, "answers": 2, "connections_cut": 2}


def scenarios_for(seed: int, runs: int, *, only: str = "") -> list[tuple[str, int]]:
    """Give (scenario, seed) for this many runs; `only` keeps the names that contain one of its words."""
    words = [word for word in only.replace(",", " ").split() if word]
    names = [
        name
        for name in SCENARIOS
        if not words or any(word == name or (word not in SCENARIOS and word in name) for word in words)
    ]
    if not names:
        raise SystemExit(f"no scenario is called {only!r}; there are {', '.join(SCENARIOS)}")
    turn = [name for name in names for _ in range(_WEIGHTS.get(name, 1))]
    # Every scenario within one turn, whatever the number of runs; the order is always the same.
    random.Random(1).shuffle(turn)
    return [(turn[number % len(turn)], seed + number) for number in range(runs)]
