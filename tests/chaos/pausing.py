"""Scenarios in which a worker stands still past its lease, and goes on when others have its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.traps import Moment, Strike

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.run import Run

_COMES_WITHIN_S = 15.0
_LAPSED = "SELECT count(*) FROM process WHERE stopped_at IS NOT NULL"
_SETTLED = """
    SELECT (count(*) > 0 AND bool_and(attempt.state = 'ended' OR attempt.owner_id IS DISTINCT FROM
        (SELECT min(id) FROM process)))::int FROM attempt"""


def paused(run: Run) -> None:
    """A worker is stopped at any moment, and continued after its lease has lapsed."""
    run.start(0)
    run.start(1)
    for _ in range(2):
        run.enqueue(run.plan.jobs // 2)
        run.let_pass(0.0, 0.5)
        seat = run.chance.randrange(2)
        before = run.count(_LAPSED)
        run.stop(seat)
        run.enqueue(3)
        run.until(f"SELECT (({_LAPSED}) > {before})::int", what="the lease of a stopped worker lapsed")
        run.let_pass(0.0, 2.0)
        run.go_on(seat)


def paused_before_send(run: Run) -> None:
    """Stopped when the claim is committed and nothing is sent; its successor has settled when it goes on."""
    _paused_at(run, lambda said: said.startswith("sql COMMIT") and "insert attempt" in said, Moment.BETWEEN)


def paused_at_send(run: Run) -> None:
    """Stopped with the submit on the wire."""
    _paused_at(
        run,
        lambda said: not said.startswith("sql") and "Inference" in said,
        run.chance.choice([Moment.BEFORE, Moment.BETWEEN, Moment.AFTER]),
    )


def paused_before_record(run: Run) -> None:
    """Stopped between the answer of the platform and the transaction that records it."""
    _paused_at(run, lambda said: said.startswith("sql update attempt"), Moment.BEFORE)


def paused_before_resend(run: Run) -> None:
    """Stopped when the mark of a resend is committed and nothing is sent again."""
    run.plan.settings["RECONCILE_RESEND"] = "auto"
    # The first sends never arrive, so that the only way on is a resend.
    run.rule({"on": "submit", "taskType": "imageInference", "count": 3, "action": {"kind": "reset"}})
    _paused_at(run, lambda said: said.startswith("sql COMMIT") and "mark of a resend" in said, Moment.BETWEEN)


def _paused_at(run: Run, wants: Callable[[str], bool], moment: Moment) -> None:
    run.start(0)
    trap = run.seat(0).traps.arm(wants, Strike(moment, act=lambda: run.stop(0), cuts=False))
    jobs = run.enqueue(run.plan.jobs // 2)
    assert trap.sprung.wait(_COMES_WITHIN_S), "the point to stop at never came"
    run.start(1)
    if run.chance.random() < 0.3:
        run.cancel(run.chance.choice(jobs))
    run.until(_SETTLED, what="the successor has what the stopped worker had")
    if run.chance.random() < 0.7:
        run.until_share_is_final(1.0)
    run.go_on(0)
    run.enqueue(run.plan.jobs // 2)
    run.until_share_is_final(0.5)
