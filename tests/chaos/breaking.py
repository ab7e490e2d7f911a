"""Scenarios in which what workers rely on breaks: broker, database, platform, and the ways between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.traps import Moment, Strike

if TYPE_CHECKING:
    from tests.chaos.run import Run


def flush(run: Run) -> None:
    """FLUSHALL of the broker, again and again."""
    run.start(0)
    for _ in range(4):
        run.enqueue(run.plan.jobs // 4)
        run.lane.redis.flushall()
        run.let_pass(0.0, 0.5)
        run.lane.redis.flushall()


def broker_down(run: Run) -> None:
    """The broker is away for seconds while jobs come and run."""
    run.start(0)
    run.enqueue(run.plan.jobs // 2)
    run.lane.broker.close()
    run.enqueue(run.plan.jobs // 2)
    if run.chance.random() < 0.5:
        run.kill(0)
        run.lane.broker.open()
        run.start(0)
        run.lane.broker.close()
    run.until_share_is_final(run.chance.uniform(0.6, 1.0))
    run.let_pass(0.0, 4.0)
    run.lane.broker.open()
    run.enqueue(5)


def broker_away_a_minute(run: Run) -> None:
    """The broker is away for a minute, in which jobs come, run and end, and a worker dies and starts again."""
    run.start(0)
    run.enqueue(run.plan.jobs // 3)
    run.lane.broker.close()
    for _ in range(3):
        run.enqueue(run.plan.jobs // 4)
        run.let_pass(19.0, 21.0)
        if run.chance.random() < 0.5:
            run.kill(0)
            run.start(0, is_ready=False)
    run.until_share_is_final(1.0)
    run.lane.broker.open()
    run.enqueue(5)


def broker_late(run: Run) -> None:
    """The broker is not there when the worker starts."""
    run.lane.broker.close()
    run.enqueue(run.plan.jobs)
    run.start(0, is_ready=False)
    run.let_pass(1.0, 4.0)
    run.lane.broker.open()
    run.enqueue(3)


def postgres_crash(run: Run) -> None:
    """Postgres stops as in a crash while everything is under way."""
    run.start(0)
    if run.chance.random() < 0.5:
        run.start(1)
    for _ in range(2):
        run.enqueue(run.plan.jobs // 2)
        run.let_pass(0.0, 0.8)
        run.figures.counts[f"Postgres: {run.lane.crash_postgres()}"] += 1


def connections_cut(run: Run) -> None:
    """Connections to Postgres break in mid-transaction, and between a COMMIT and its answer."""
    traps = run.seat(0).traps
    run.start(0)
    for wants, moment, rate in (
        (lambda said: said.startswith("sql COMMIT"), Moment.BETWEEN, 0.15),
        (lambda said: said.startswith("sql COMMIT"), Moment.BEFORE, 0.08),
        (lambda said: said.startswith("sql") and "BEGIN" not in said, Moment.BEFORE, 0.02),
        (lambda said: said.startswith("sql"), Moment.BETWEEN, 0.02),
    ):
        traps.haunt(wants, Strike(moment), rate=rate, chance=run.chance)
    for _ in range(3):
        run.enqueue(run.plan.jobs // 3)
        run.let_pass(0.0, 1.0)
        run.try_(run.lane.cut_connections)
    run.until_share_is_final(0.5)


def restore(run: Run) -> None:
    """The database is restored from a copy taken in mid-run; `recover` settles what was sent since."""
    run.plan.settings["RECONCILE_RESEND"] = "auto"
    run.start(0)
    run.enqueue(run.plan.jobs)
    run.until_share_is_final(run.chance.choice([0.0, 0.2, 0.5]))
    [since] = run.read("SELECT now() AS at")
    copy = run.lane.copy_of_database()
    run.until_share_is_final(run.chance.uniform(0.5, 1.0))
    run.kill(0)
    run.jobs.close()
    run.lane.restore_database(copy)
    run.reopen_producer()
    run.recover(since["at"])
    run.start(0)


def platform_restart(run: Run) -> None:
    """The platform dies, refuses connections for a while, and comes back with what it had promised."""
    run.start(0)
    for _ in range(2):
        run.enqueue(run.plan.jobs // 2)
        run.let_pass(0.0, 0.7)
        run.lane.emulator.kill()
        if run.chance.random() < 0.5:
            run.lane.platform.close()
        run.let_pass(0.0, 2.0)
        run.lane.emulator.start()
        run.lane.platform.open()


def answers(run: Run) -> None:
    """Answers of the platform are lost, late, doubled and out of order; requests arrive late, or twice."""
    chance = run.chance
    rules: list[dict[str, Any]] = [
        {
            "on": "submit",
            "rate": 0.15,
            "action": {"kind": "lose_answer", "how": chance.choice(["reset", "status"])},
        },
        {"on": "submit", "rate": 0.05, "action": {"kind": "lose_answer", "how": "silence"}},
        {"on": "submit", "rate": 0.1, "action": {"kind": "delay", "seconds": chance.uniform(0.5, 2.0)}},
        {"on": "submit", "rate": 0.05, "action": {"kind": "reset"}},
        {"on": "poll", "rate": 0.1, "action": {"kind": "delay", "seconds": chance.uniform(0.2, 1.5)}},
        {"on": "poll", "rate": 0.1, "action": {"kind": "lose_answer", "how": "reset"}},
        {"on": "any", "rate": 0.03, "action": {"kind": "drop_socket"}},
        {"on": "any", "rate": 0.02, "action": {"kind": "half_open", "seconds": 3}},
    ]
    run.rule(*chance.sample(rules, 4))
    traps = run.seat(0).traps
    if run.plan.switches["conflict"] == "running":
        # Where the platform knows the UUIDs of running tasks only, nothing but the grace tells
        # a request that was lost from one that is still on its way.
        run.plan.settings["RECONCILE_GRACE_S"] = "5"
    run.start(0)
    for moment, rate in (
        (Moment.LATE, 0.1),
        (Moment.TWICE, 0.1),
        (Moment.BETWEEN, 0.05),
        (Moment.BEFORE, 0.05),
    ):
        strike = Strike(moment, delay_s=chance.uniform(0.2, 2.5))
        traps.haunt(_is_task, strike, rate=rate, chance=chance)
    for _ in range(3):
        run.enqueue(run.plan.jobs // 3)
        run.let_pass(0.0, 1.0)
    run.until_share_is_final(0.6)


def forgetful(run: Run) -> None:
    """The platform forgets finished tasks in a second: what came of them stands in the archive."""
    run.rule({"on": "poll", "rate": 0.3, "action": {"kind": "status", "status": 503}})
    run.start(0)
    run.enqueue(run.plan.jobs)
    run.let_pass(0.0, 1.0)
    run.kill(0)
    run.start(0)


def storm(run: Run) -> None:
    """429, 503 and other 5xx, in storms."""
    chance = run.chance
    run.start(0)
    kinds: list[dict[str, Any]] = [
        {"kind": "status", "status": 429, "retry_after": 1},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 503, "body": "task"},
        {"kind": "status", "status": 503, "body": "html"},
        {"kind": "status", "status": 500, "body": "empty"},
        {"kind": "status", "status": 504},
        {"kind": "capacity", "running": 3, "queued": 4},
        {"kind": "item_error", "code": "providerError"},
    ]
    for action in chance.sample(kinds, 3):
        on = "submit" if action["kind"] != "status" else chance.choice(["submit", "any"])
        run.rule({"on": on, "rate": chance.uniform(0.1, 0.5), "for_s": 4, "action": action})
        run.enqueue(run.plan.jobs // 3)
        run.let_pass(0.2, 1.0)


def _is_task(said: str) -> bool:
    return not said.startswith("sql") and ("Inference" in said or "getResponse" in said)
