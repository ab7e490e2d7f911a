"""Scenarios in which people change their minds: cancel, retry, deadlines, priorities, budgets; and mixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.traps import KILLING, Moment, Strike

if TYPE_CHECKING:
    from tests.chaos.run import Run


def minds(run: Run) -> None:
    """Cancel, retry and deadlines at random moments, over tenants and priorities."""
    run.start(0)
    if run.chance.random() < 0.5:
        run.rule({"on": "submit", "rate": 0.2, "action": {"kind": "lose_answer"}})
    for _ in range(run.plan.jobs // 5):
        change_minds(run, 5)
        run.let_pass(0.0, 0.3)


def budgets(run: Run) -> None:
    """Batches with budgets that are used up, raised, paused and resumed, while workers die."""
    run.start(0)
    batches = [
        run.enqueue_batch(run.plan.jobs // 3, budget_usd=budget, priority=run.chance.randint(0, 9))
        for budget in (None, run.chance.choice([0.005, 0.02]), run.chance.choice([0.01, 0.05]))
    ]
    run.let_pass(0.0, 1.5)
    if run.chance.random() < 0.6:
        run.kill(0)
        run.start(0)
    run.try_(batches[0].pause)
    run.let_pass(0.0, 1.0)
    if run.chance.random() < 0.3:
        run.may_cancel.update(row["id"] for row in run.read("SELECT id::text FROM job"))
        run.try_(batches[1].cancel)
    run.check_budgets()
    for batch in batches:
        run.try_(lambda batch=batch: batch.resume(budget_usd=100))


def mixed(run: Run) -> None:
    """Anything may happen at any time."""
    chance = run.chance
    workers = chance.randint(1, 3)
    for seat in range(workers):
        run.start(seat)
    happenings = [
        lambda: _kill_one(run, workers),
        lambda: _trap_one(run, workers),
        run.lane.redis.flushall,
        lambda: run.try_(run.lane.cut_connections),
        lambda: _blink(run),
        lambda: run.rule({"on": "submit", "rate": 0.5, "for_s": 2, "action": {"kind": "lose_answer"}}),
        lambda: run.rule({"on": "any", "rate": 0.5, "for_s": 2, "action": {"kind": "status", "status": 503}}),
        lambda: _pause_one(run, workers),
        lambda: _crash(run),
        lambda: _restart_platform(run),
    ]
    run.seat(0).traps.haunt(
        lambda said: said.startswith("sql COMMIT"), Strike(Moment.BETWEEN), rate=0.03, chance=chance
    )
    for _ in range(6):
        change_minds(run, run.plan.jobs // 6)
        chance.choice(happenings)()
        run.let_pass(0.0, 0.8)
    run.until_share_is_final(0.5)


def change_minds(run: Run, count: int) -> None:
    """Enqueue a few jobs of several kinds of customers, and change something about some of them."""
    chance = run.chance
    for _ in range(count):
        options: dict[str, object] = {"priority": chance.randint(0, 9), "tenant": chance.choice("abc")}
        if chance.random() < 0.15:
            options["deadline_s"] = chance.uniform(0.3, 3.0)
        if chance.random() < 0.1:
            options["delay_s"] = chance.uniform(0.1, 1.0)
        [job] = run.enqueue(1, **options)
        if chance.random() < 0.25:
            run.let_pass(0.0, 0.2)
            run.cancel(job)
            if chance.random() < 0.6:
                run.let_pass(0.0, 0.3)
                run.retry(job)


def _kill_one(run: Run, workers: int) -> None:
    seat = run.chance.randrange(workers)
    run.kill(seat)
    run.start(seat, is_ready=False)


def _trap_one(run: Run, workers: int) -> None:
    seat = run.chance.randrange(workers)
    if seat not in run.workers or run.workers[seat].has_ended:
        return
    strike = run.killing(seat, run.chance.choice(KILLING))
    trap = run.seat(seat).traps.arm(lambda _: True, strike, nth=run.chance.randint(1, 40))
    if trap.sprung.wait(3):
        run.has_died(seat)
        run.start(seat, is_ready=False)


def _blink(run: Run) -> None:
    run.lane.broker.close()
    run.let_pass(0.0, 1.5)
    run.lane.broker.open()


def _pause_one(run: Run, workers: int) -> None:
    seat = run.chance.randrange(workers)
    run.stop(seat)
    run.let_pass(0.0, 6.0)
    run.go_on(seat)


def _crash(run: Run) -> None:
    run.figures.counts[f"Postgres: {run.lane.crash_postgres()}"] += 1


def _restart_platform(run: Run) -> None:
    run.lane.emulator.kill()
    run.let_pass(0.0, 1.0)
    run.lane.emulator.start()
