"""`make chaos`: many seeded runs in lanes of their own, a line of figures for each, and a table at the end.

CHAOS_RUNS (how many), CHAOS_SEED (of the first), CHAOS_SCENARIO (names or parts of names),
CHAOS_LANES (how many at once), CHAOS_FOLDER (where failures leave their evidence).
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.figures import Figures, line_of, print_table, say
from tests.chaos.lane import open_lane
from tests.chaos.plan import make_plan
from tests.chaos.playing import play
from tests.chaos.scenarios import SCENARIOS, scenarios_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def main(environment: Mapping[str, str]) -> int:
    """Run them all; 1 when a run found something."""
    runs, seed = int(environment.get("CHAOS_RUNS", "20")), int(environment.get("CHAOS_SEED", "1"))
    lanes = min(runs, int(environment.get("CHAOS_LANES", "2")))
    folder = Path(environment.get("CHAOS_FOLDER") or tempfile.mkdtemp(prefix="chaos-")).resolve()
    listed = scenarios_for(seed, runs, only=environment.get("CHAOS_SCENARIO", ""))
    context = multiprocessing.get_context("spawn")
    wanted: Any = context.Queue()
    told: Any = context.Queue()
    for item in listed:
        wanted.put(item)
    for _ in range(lanes):
        wanted.put(None)
    processes = [
        context.Process(target=_work, args=(str(folder), number, lanes, wanted, told), name=f"lane-{number}")
        for number in range(lanes)
    ]
    started = time.monotonic()
    for process in processes:
        process.start()
    figures = list(_hear(processes, told))
    for process in processes:
        process.join(60)
    print_table(figures, seconds=time.monotonic() - started)
    failed = [one for one in figures if one.problems]
    if failed:
        say(f"{len(failed)} of {len(figures)} runs found something; evidence in {folder}")
    return 1 if failed else 0


def _hear(processes: list[Any], told: Any) -> Iterator[Figures]:
    """Give each run's figures as its lane tells them, until every lane has ended."""
    working = len(processes)
    while working:
        try:
            one = told.get(timeout=1)
        except queue.Empty:
            if not any(process.is_alive() for process in processes):
                return
            continue
        if isinstance(one, Figures):
            say(line_of(one))
            yield one
            continue
        working -= 1
        if one is not None:
            yield Figures("lane", 0, problems=[one])
            say(f"a lane broke: {one}")


def _work(folder: str, number: int, lanes: int, wanted: Any, told: Any) -> None:
    for name in list(os.environ):
        if name.startswith("RUNWARE_"):
            del os.environ[name]
    try:
        with open_lane(Path(folder) / f"lane-{number}", number=number, lanes=lanes) as lane:
            parent = multiprocessing.parent_process()
            while (item := wanted.get()) is not None:
                if parent is not None and not parent.is_alive():
                    return  # nobody listens any more
                name, seed = item
                where = Path(folder) / f"{name}-{seed}"
                told.put(play(lane, make_plan(name, seed), SCENARIOS[name], where))
    except BaseException:
        told.put(traceback.format_exc())
        raise
    told.put(None)
