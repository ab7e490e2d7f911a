"""Scenarios in which workers die: at every point of every step, and several workers at random."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from tests.support.polling import poll_until
from tests.support.traps import KILLING, Moment

if TYPE_CHECKING:
    from tests.chaos.run import Run
    from tests.support.traps import Trap

_KILLS_A_RUN = 6
_COMES_WITHIN_S = 6.0


def kill_points(run: Run) -> None:
    """Kill -9 at a write or a request, each time another: before it, before its answer is heard, after.

    What points there are is learned on the way: each kill takes one that was struck least
    in this lane, among everything that workers have ever been seen to say.
    """
    run.plan.settings["CLOCKS"] = "20"  # the seats of the dead are taken until their leases lapse
    lane = run.lane
    if not lane.points:
        run.start(0)
        run.enqueue(6)
        run.enqueue_batch(4)
        run.until_share_is_final(1.0)
        lane.points.update(run.seat(0).traps.seen.keys())
        run.kill(0)
    run.enqueue(run.plan.jobs // 2)
    for _ in range(_KILLS_A_RUN):
        label, moment = _least_struck(run)
        trap = run.seat(0).traps.arm(lambda said, label=label: said == label, run.killing(0, moment))
        if 0 not in run.workers:
            run.start(0, is_ready=False)
        run.enqueue(2)
        if run.chance.random() < 0.3:
            run.enqueue_batch(2)
        lane.tried[label, moment] += 1
        if _springs(run, trap):
            lane.struck[label, moment] += 1
            run.has_died(0)
        else:
            run.seat(0).traps.clear()
            run.figures.counts["never came"] += 1
        lane.points.update(run.seat(0).traps.seen.keys())


def kill_anywhere(run: Run) -> None:
    """Kill -9 at the Nth message of a worker's life, whatever it is."""
    run.plan.settings["CLOCKS"] = "20"
    run.enqueue(run.plan.jobs)
    for _ in range(_KILLS_A_RUN):
        moment = run.chance.choice(KILLING)
        trap = run.seat(0).traps.arm(lambda _: True, run.killing(0, moment), nth=run.chance.randint(1, 120))
        if 0 not in run.workers:
            run.start(0, is_ready=False)
        if _springs(run, trap):
            run.has_died(0)
        else:
            run.seat(0).traps.clear()


def two_workers(run: Run) -> None:
    """Two workers, one of them killed again and again."""
    _several(run, 2)


def four_workers(run: Run) -> None:
    """Four workers on two clocks' seats, any of them killed."""
    _several(run, 4)


def _several(run: Run, count: int) -> None:
    for seat in range(count):
        run.start(seat, is_ready=seat == count - 1)
    for _ in range(3):
        run.enqueue(run.plan.jobs // 3)
        seat = run.chance.randrange(count)
        if run.chance.random() < 0.5:
            trap = run.seat(seat).traps.arm(
                lambda said: "attempt" in said or not said.startswith("sql"),
                run.killing(seat, run.chance.choice(KILLING)),
                nth=run.chance.randint(1, 12),
            )
            if trap.sprung.wait(_COMES_WITHIN_S / 2):
                run.has_died(seat)
            run.seat(seat).traps.clear()
        else:
            run.let_pass(0.0, 1.0)
            run.kill(seat)
        if seat not in run.workers:
            run.start(seat, is_ready=False)


def _springs(run: Run, trap: Trap) -> bool:
    """Wait for a trap: as long as the worker starts, and some seconds more."""
    worker = run.workers[0]
    poll_until(
        lambda: trap.sprung.is_set() or worker.has_ended or worker.said("worker_ready"),
        what="a worker killed or ready",
        within_s=60,
    )
    return trap.sprung.wait(_COMES_WITHIN_S)


def _least_struck(run: Run) -> tuple[str, Moment]:
    lane = run.lane
    own = [label for label in sorted(lane.points) if zlib.crc32(label.encode()) % lane.lanes == lane.number]
    cases = [(label, moment) for label in own for moment in KILLING]
    run.chance.shuffle(cases)
    return min(cases, key=lambda case: (lane.struck[case] + lane.tried[case], case[0].endswith("of reads")))
