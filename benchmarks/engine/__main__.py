"""The engine beside what one would use instead, in one run, against one emulator.

    make bench WHAT=engine
    make bench WHAT=engine ARGS="--jobs 200 --only A kill"

A: 2,000 images of 1 to 3 s. B: 200 videos of 30 s. C: 10,000 videos of 60 s at once in one
worker process. kill: the worker of A is killed at 40 % and started again. Each way has the
machine to itself; times are of one machine and one clock. Ratios count, not figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.emulated import Emulated, running_emulator
from benchmarks.stage import Engines, running_engines

from . import peers
from .measuring import measure, measure_kill
from .ours import Ours
from .showing import as_plain, show_kills, show_rows, show_targets, targets_of
from .workloads import IMAGES, MANY, VIDEOS

if TYPE_CHECKING:
    from .contenders import Contender
    from .measuring import KillRow, Row
    from .workloads import Workload

_WIDTH = 116
_PARTS = ("A", "B", "C", "kill")
# Eight at once need eleven minutes for A: they get a part of it, and the wall is scaled.
_PREFORK_SHARE = 0.05
_REHEARSED = 50


def main() -> None:
    """Measure and print; figures come as they are known."""
    parser = argparse.ArgumentParser(prog="make bench WHAT=engine", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--jobs", type=int, default=IMAGES.jobs, help="of A; B gets a tenth, C five times as many"
    )
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="which parts to run")
    parser.add_argument(
        "--ways", nargs="+", default=None, metavar="WORD", help="only ways whose name has a WORD"
    )
    parser.add_argument(
        "--transport", choices=("rest", "websocket"), help="ours: rest; the SDK's own: websocket"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, quiet=options.json)
    results: dict[str, list[Row]] = {}
    kills: list[KillRow] = []
    with running_engines(track_commit_timestamp="on") as engines, running_emulator() as emulated:
        for name, workload in {"A": IMAGES, "B": VIDEOS, "C": MANY}.items():
            if name not in options.only:
                continue
            scaled = workload.of(max(1, round(workload.jobs * options.jobs / IMAGES.jobs)))
            ways = chosen(ways_for(name, engines, emulated, options.transport), options.ways)
            results[name] = [measure(announced(way, name), scaled, engines, emulated) for way in ways]
            show_rows(console, title_of(scaled), results[name])
        if "kill" in options.only:
            ways = chosen(ways_to_kill(engines, emulated, options.transport), options.ways)
            kills = [measure_kill(announced(way, "kill"), IMAGES.of(options.jobs), emulated) for way in ways]
            show_kills(console, kills)
    targets = targets_of(results, kills)
    if targets:
        show_targets(console, targets)
    if options.json:
        print(json.dumps(as_plain(results, kills, targets)))


def announced(way: Contender, part: str) -> Contender:
    """Say on stderr what runs now: some take minutes."""
    print(f"{part}: {way.name}", file=sys.stderr, flush=True)
    return way


def title_of(workload: Workload) -> str:
    """Say what is done."""
    return f"{workload.name}, {workload.jobs:,} jobs"


def chosen(ways: list[Contender], words: list[str] | None) -> list[Contender]:
    """Keep those whose name has one of the words."""
    return [way for way in ways if words is None or any(word in way.name for word in words)]


def ways_for(part: str, engines: Engines, emulated: Emulated, transport: str | None) -> list[Contender]:
    """List who does a workload; only ours takes ten thousand at once."""
    ours: list[Contender] = [Ours(engines, emulated, workers, transport or "rest") for workers in (1, 2)]
    if part == "C":
        return ours[:1]
    if part == "B":
        ours.insert(0, Ours(engines, emulated, 1, transport or "rest", rehearsed=_REHEARSED))
    theirs = (engines, emulated, transport or "websocket")
    return [
        *ours,
        peers.script(*theirs),
        peers.saq(*theirs),
        peers.celery(*theirs, pool="threads 256"),
        peers.celery(*theirs, pool="prefork 8", share=_PREFORK_SHARE),
    ]


def ways_to_kill(engines: Engines, emulated: Emulated, transport: str | None) -> list[Contender]:
    """List whose worker is killed."""
    theirs = (engines, emulated, transport or "websocket")
    return [
        Ours(engines, emulated, 1, transport or "rest"),
        peers.script(*theirs),
        peers.saq(*theirs),
        peers.celery(*theirs, pool="threads 256"),
        peers.celery(*theirs, pool="threads 256", late=True),
    ]


if __name__ == "__main__":
    main()
