"""What waiting costs, and what a job costs Postgres: bytes of WAL, commits, connections, memory.

    make bench WHAT=resting
    make bench WHAT=resting ARGS="--trainings 1000 --minutes 2"

In flight: trainings of two hours in one worker; once all are accepted, everything written in
some minutes is counted and extrapolated to an hour. Whole run: images from enqueue to the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.emulated import Emulated, running_emulator
from benchmarks.stage import (
    Engines,
    Meter,
    environment_for,
    memory_bytes,
    running_engines,
    settings_for,
    start_worker,
)
from runware_jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Callable

_IMAGE = {"taskType": "imageInference", "model": "runware:400@1", "width": 1024, "height": 1024}
_HOUR_S = 3_600.0
_PATIENCE_S = 900.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Counted:
    """What Postgres had done up to a moment."""

    wal_bytes: int
    commits: int
    writes: int
    at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Trainings in flight; per job where the name says so."""

    in_flight: int
    measured_s: float
    wal_bytes_per_job_hour: float
    writes_per_job_hour: float
    messages_per_job_hour: float
    worker_cpu_s_per_hour: float
    connections: int
    rss_mb_idle: float
    rss_mb_per_1000: float


@dataclass(frozen=True, slots=True)
class WholeRun:
    """Images from enqueue to the last one known. `commits` counts every transaction, also those that only read."""

    jobs: int
    wal_bytes_per_job: float
    commits_per_job: float
    writes_per_job: float
    connections: int


def main() -> None:
    """Measure both and print them."""
    parser = argparse.ArgumentParser(prog="make bench WHAT=resting", description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", type=int, default=10_000)
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="how long to count, once all are in flight"
    )
    parser.add_argument(
        "--settle-minutes",
        type=float,
        default=7.0,
        help="how long before: young trainings are asked about more often",
    )
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with running_engines() as engines, running_emulator() as emulated:
        run = whole_run(engines, emulated, options.images)
        minutes = options.settle_minutes, options.minutes
        waiting = wait(engines, emulated, options.trainings, *(60 * each for each in minutes))
    if options.json:
        print(json.dumps({"waiting": asdict(waiting), "whole_run": asdict(run)}))
    else:
        show(waiting, run)


def whole_run(engines: Engines, emulated: Emulated, count: int) -> WholeRun:
    """Run images and count what Postgres did for them."""
    emulated.reset(image=[1, 3])
    engines.empty()
    worker = start_worker(environment_for(engines, emulated), log=engines.folder / "worker.log")
    connections: list[int] = []
    try:
        with Jobs(settings_for(engines, emulated)) as jobs:
            before = counted(engines)
            tasks = [{**_IMAGE, "positivePrompt": f"a lighthouse at dusk, number {n}"} for n in range(count)]
            jobs.enqueue_many(tasks)
        until(lambda: done(engines, connections), count)
        after = counted(engines)
        # Each look of ours was a transaction too.
        looks = 2 * len(connections)
    finally:
        worker.stop()
    return WholeRun(
        jobs=count,
        wal_bytes_per_job=round((after.wal_bytes - before.wal_bytes) / count),
        commits_per_job=round((after.commits - before.commits - looks) / count, 3),
        writes_per_job=round((after.writes - before.writes) / count, 3),
        connections=max(connections),
    )


def wait(engines: Engines, emulated: Emulated, count: int, settle_s: float, seconds: float) -> Waiting:
    """Get trainings into flight, and count for some seconds when the last was accepted `settle_s` ago."""
    emulated.reset(training=[6_300, 8_100])
    engines.empty()
    worker = start_worker(environment_for(engines, emulated), log=engines.folder / "worker.log")
    try:
        idle_bytes = memory_bytes([worker.tree])
        with Jobs(settings_for(engines, emulated)) as jobs:
            jobs.enqueue_many([training(n) for n in range(count)], kind="training")
        until(lambda: accepted(engines), count)
        time.sleep(settle_s)
        # Postgres takes one every five minutes, and writes every page that is touched after it in full.
        engines.query("CHECKPOINT")
        meter = Meter({"worker": [worker.tree]}, memory_of="worker")
        before, messages = counted(engines), emulated.ledger()["requests"]["total"]
        meter.start()
        time.sleep(seconds)
        after, messages = counted(engines), emulated.ledger()["requests"]["total"] - messages
        spent = meter.read()
        users = connections_of(engines)
    finally:
        worker.stop()
    share = _HOUR_S / (after.at - before.at)
    return Waiting(
        in_flight=count,
        measured_s=round(after.at - before.at, 1),
        wal_bytes_per_job_hour=round((after.wal_bytes - before.wal_bytes) * share / count),
        writes_per_job_hour=round((after.writes - before.writes) * share / count, 3),
        messages_per_job_hour=round(messages * share / count, 2),
        worker_cpu_s_per_hour=round(spent["worker"] * share, 1),
        connections=users,
        rss_mb_idle=round(idle_bytes / 1e6, 1),
        rss_mb_per_1000=round((meter.peak_bytes - idle_bytes) / 1e6 / (count / 1_000), 2),
    )


def training(number: int) -> dict[str, Any]:
    """Give one training, with a model of its own to make."""
    return {
        "taskType": "training",
        "model": "runware:z-image@style-lora-training",
        "inputs": {"dataset": "https://files.example/set.zip"},
        "importModel": {"air": f"acme:watercolour{number}@1", "name": f"Watercolour {number}"},
    }


def counted(engines: Engines) -> Counted:
    """Read Postgres' own counters. A backend reports its commits when it has been idle for a moment."""
    engines.query("SELECT pg_stat_force_next_flush()")
    [(wal, commits, writes)] = engines.query(
        "SELECT pg_current_wal_lsn() - CAST('0/0' AS pg_lsn), (SELECT xact_commit FROM pg_stat_database"
        " WHERE datname = current_database()), CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
    )
    return Counted(int(wal), int(commits), int(writes), time.time())


def done(engines: Engines, connections: list[int]) -> int:
    """Count images that have succeeded, and note how many connections there are."""
    connections.append(connections_of(engines))
    return int(engines.query("SELECT count(*) FROM runware_jobs.job WHERE state = 'succeeded'")[0][0])


def accepted(engines: Engines) -> int:
    """Count tasks that the platform has accepted."""
    return int(engines.query("SELECT count(*) FROM runware_jobs.attempt WHERE state = 'accepted'")[0][0])


def connections_of(engines: Engines) -> int:
    """Count connections of workers and producers."""
    return int(
        engines.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runware-jobs-worker'")[
            0
        ][0]
    )


def until(look: Callable[[], int], wanted: int) -> None:
    """Wait until so many are there; if they never are, that is the end of the benchmark."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while (seen := look()) < wanted:
        if time.monotonic() > give_up_at:
            sys.exit(f"{seen} of {wanted} after {_PATIENCE_S:.0f} s")
        time.sleep(_LOOK_S)


def show(waiting: Waiting, run: WholeRun) -> None:
    """Print both."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    minutes = waiting.measured_s / 60
    for title, record in (
        (
            f"{waiting.in_flight:,} trainings in flight, counted for {minutes:.1f} min, as for an hour",
            waiting,
        ),
        (f"{run.jobs:,} images from enqueue to the end", run),
    ):
        table = Table("measure", "value", title=title, title_justify="left")
        for name, value in asdict(record).items():
            table.add_row(name.replace("_", " "), f"{value:,}")
        console.print(table)


if __name__ == "__main__":
    main()
