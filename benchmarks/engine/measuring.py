"""One run of one contender: what it took, and what the platform's own book says of it."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.emulated import most_at_once
from benchmarks.stage import Meter

from .workloads import numbers_by_task

if TYPE_CHECKING:
    from benchmarks.emulated import Emulated
    from benchmarks.stage import Engines

    from .contenders import Contender
    from .workloads import Workload

_LOOK_S = 0.25
_FEWEST = 16
_KILLED_AT = 0.4
COMES_BACK_WITHIN_S = 300.0
"""What is not known so long after a kill counts as lost."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `jobs` fewer than asked for: `wall_s` is what all of them would take."""

    name: str
    jobs: int
    wall_s: float
    is_scaled: bool
    messages_per_job: float
    lag_median_s: float
    lag_p95_s: float
    cpu_s_per_1000: float
    peak_mb: float
    in_flight: int
    engines_cpu_s_per_1000: float
    emulator_cpu_s_per_1000: float


@dataclass(frozen=True, slots=True)
class KillRow:
    """What a kill -9 of the worker has cost. `wall_s` ends with the last result that became known."""

    name: str
    jobs: int
    lost: int
    billed_twice: int
    wall_s: float


def measure(contender: Contender, workload: Workload, engines: Engines, emulated: Emulated) -> Row:
    """Let a contender do a workload, with nothing else running."""
    jobs = min(workload.jobs, max(_FEWEST, round(workload.jobs * contender.share)))
    part = workload.of(jobs)
    emulated.reset(**workload.latencies)
    contender.start(part)
    try:
        meter = Meter(
            {
                "workers": contender.processes,
                "engines": [engines.postgres, engines.valkey],
                "emulator": [emulated.process],
            },
            memory_of="workers",
        )
        meter.start()
        began_at = contender.begin()
        until_known(contender, jobs, give_up_s=60 + 400 * longest(workload) * jobs / 2_000)
        spent = meter.read()
        known = contender.known()
    finally:
        contender.stop()
    ledger = emulated.ledger()
    lags = sorted(one.known_at - ledger["tasks"][one.task_uuid]["finished_at"] for one in known)
    wall_s = max(one.known_at for one in known) - began_at
    thousands = jobs / 1_000
    return Row(
        name=contender.name,
        jobs=jobs,
        wall_s=round(wall_s * workload.jobs / jobs, 2),
        is_scaled=jobs < workload.jobs,
        messages_per_job=round(ledger["requests"]["total"] / jobs, 3),
        lag_median_s=round(statistics.median(lags), 3),
        lag_p95_s=round(lags[int(0.95 * (len(lags) - 1))], 3),
        cpu_s_per_1000=round(spent["workers"] / thousands, 3),
        peak_mb=round(meter.peak_mb, 1),
        in_flight=most_at_once(ledger["tasks"].values()),
        engines_cpu_s_per_1000=round(spent["engines"] / thousands, 3),
        emulator_cpu_s_per_1000=round(spent["emulator"] / thousands, 3),
    )


def measure_kill(contender: Contender, workload: Workload, emulated: Emulated) -> KillRow:
    """Kill its worker when 40 % are known, start it again, and wait until nothing new is known for a while."""
    emulated.reset(**workload.latencies)
    contender.start(workload)
    try:
        began_at = contender.begin()
        until_known(contender, int(workload.jobs * _KILLED_AT), give_up_s=300)
        contender.kill_and_restart()
        until_still(contender, workload.jobs, patience_s=contender.patience_s)
        known = contender.known()
    finally:
        contender.stop()
    numbers = numbers_by_task(emulated.tasks())
    bills: dict[int, int] = {}
    for task_uuid, entry in emulated.ledger()["tasks"].items():
        if float(entry["billed_usd"]) > 0:
            bills[numbers[task_uuid]] = bills.get(numbers[task_uuid], 0) + 1
    return KillRow(
        name=contender.name,
        jobs=workload.jobs,
        lost=workload.jobs - len({one.number for one in known}),
        billed_twice=sum(1 for times in bills.values() if times > 1),
        wall_s=round(max(one.known_at for one in known) - began_at, 1),
    )


def until_known(contender: Contender, jobs: int, *, give_up_s: float) -> None:
    """Wait until so many are known; a contender that never gets there ends the benchmark."""
    give_up_at = time.monotonic() + give_up_s
    while (known := contender.count()) < jobs:
        if time.monotonic() > give_up_at:
            sys.exit(f"{contender.name}: {known} of {jobs} are known after {give_up_s:.0f} s")
        time.sleep(_LOOK_S)


def until_still(contender: Contender, jobs: int, *, patience_s: float) -> None:
    """Wait until all are known, or no other became known for `patience_s`; not for ever."""
    most, since = 0, time.monotonic()
    give_up_at = since + COMES_BACK_WITHIN_S
    while most < jobs and time.monotonic() < min(since + patience_s, give_up_at):
        time.sleep(_LOOK_S)
        known = contender.count()
        if known > most:
            most, since = known, time.monotonic()


def longest(workload: Workload) -> float:
    """The longest that the platform takes for one task."""
    seconds = workload.seconds
    return float(max(seconds) if isinstance(seconds, list) else seconds)
