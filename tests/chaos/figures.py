"""The figures of runs, and how they are said: a line each, and a table of all."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.traps import KILLING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = (
    "jobs",
    "paid",
    "duplicates",
    "settled",
    "adopted",
    "lost",
    "canceled",
    "failed",
    "kills",
    "stops",
    "requests",
)


@dataclass(slots=True)
class Figures:
    """What a run amounts to, in numbers."""

    scenario: str
    seed: int
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    folder: str = ""


def line_of(figures: Figures) -> str:
    """Say what one run amounts to; what it has found follows, a line each."""
    counts = figures.counts
    shown = " ".join(f"{name}={counts[name]}" for name in _SHOWN)
    others = " ".join(f"{name}={count}" for name, count in sorted(counts.items()) if name not in _SHOWN)
    line = f"{'FAILED' if figures.problems else 'ok    '} {figures.scenario:<22} seed={figures.seed:<6} {shown} {others} ({figures.seconds:.1f} s)"
    if not figures.problems:
        return line
    listed = "\n".join(f"       - {problem}" for problem in figures.problems[:8])
    more = f"\n       and {len(figures.problems) - 8} more" if len(figures.problems) > 8 else ""
    return f"{line}\n{listed}{more}\n       evidence: {figures.folder}"


def print_table(figures: Sequence[Figures], *, seconds: float) -> None:
    """Print the sums by scenario and of all, and how many kill points were struck."""
    by_scenario: dict[str, list[Figures]] = defaultdict(list)
    for one in figures:
        by_scenario[one.scenario].append(one)
    head = ("runs", "found", *_SHOWN, "s a run")
    say(f"\n{'scenario':<22}" + "".join(f"{name:>11}" for name in head))
    for name, runs in [*sorted(by_scenario.items()), ("all", list(figures))]:
        sums: Counter[str] = sum((one.counts for one in runs), Counter())
        cells = [len(runs), sum(1 for one in runs if one.problems), *(sums[shown] for shown in _SHOWN)]
        mean = sum(one.seconds for one in runs) / max(1, len(runs))
        say(f"{name:<22}" + "".join(f"{cell:>11}" for cell in cells) + f"{mean:>11.1f}")
    _say_coverage([one for one in figures if one.scenario.startswith("kill_")])
    say(f"{len(figures)} runs in {seconds:.0f} s")


def _say_coverage(figures: Sequence[Figures]) -> None:
    """Say at how many of the points that workers were seen to pass they were killed, at each of three moments."""
    if not figures:
        return
    struck = sum((one.struck for one in figures), Counter[str]())
    points = {label for one in figures for label in one.points}
    wanted = {f"{label} | {moment}" for label in points for moment in KILLING}
    missing = sorted(wanted - set(struck))
    say(f"killed at {len(wanted) - len(missing)} of {len(wanted)} pairs of message and moment; not yet at:")
    for one in missing[:30]:
        say(f"  {one}")
    if len(missing) > 30:
        say(f"  and {len(missing) - 30} more")


def say(line: str) -> None:
    """Tell whoever runs `make chaos`."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
