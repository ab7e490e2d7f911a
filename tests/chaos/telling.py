"""Scenarios of the deliverer: killed at every point of a delivery, beside others, without its servers."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from runware_jobs.core.events import FINAL_EVENTS, EventType
from runware_jobs.core.signing import Vault, new_secret
from tests.support.polling import poll_until
from tests.support.traps import KILLING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.run import Run

# The points of a delivery: what the deliverer writes, and its request before and after the answer.
_WRITES = ("update outbox", "delete outbox", "insert delivery", "update receiver", "insert receiver")
_ARRIVED, _ANSWERED = "a webhook has arrived", "a webhook was answered"
_SPRINGS_WITHIN_S = 8.0
_TOLD_WITHIN_S = 3.0
_TOLD = sorted(set(EventType) - {EventType.JOB_PROGRESS, EventType.JOB_COST})
_TURNS_EVERY_S = 0.1
_KILLS = 6


def deliverer_killed(run: Run) -> None:
    """Kill -9 at each point of a delivery in turns, while receivers fail in every way."""
    _begin(run)
    run.start(0, is_ready=False)
    for number in range(_KILLS):
        _enqueue(run, 2)
        _until_told(run, 10)
        _strike(run, 0, point=(*_WRITES[:3], _ARRIVED, _ANSWERED)[number % 5])
        if 0 not in run.workers:
            _orphan(run)
            run.start(0, is_ready=False)


def deliverers_killed(run: Run) -> None:
    """Two deliverers at the same receivers; now one is killed, now the other."""
    _begin(run)
    for number in range(3):
        for seat in (0, 1):
            run.start(seat, is_ready=seat == 1)
        _enqueue(run, 3)
        _strike(run, number % 2, point=run.chance.choice(_WRITES[:2]))
        _enqueue(run, 2)
        for seat in list(run.workers):
            run.drain(seat)
        _orphan(run)
    run.start(0)


def deliverer_cut_off(run: Run) -> None:
    """Broker and database go away under two deliverers, and come back."""
    _begin(run)
    for seat in (0, 1):
        run.start(seat, is_ready=seat == 1)
    for number in range(4):
        _enqueue(run, 3)
        run.let_pass(0.0, 0.6)
        match number % 4:
            case 0:
                run.lane.cut_connections()
            case 1:
                run.lane.crash_postgres()
            case 2:
                run.lane.broker.close()
                run.lane.redis.flushall()
            case _:
                run.seat(0).postgres.close()
        run.let_pass(0.2, 0.6)
        run.lane.broker.open()
        run.seat(0).postgres.open()


def _begin(run: Run) -> None:
    receiver = run.lane.receiver
    receiver.begin(run.chance)
    run.plan.settings["CLOCKS"] = "20"  # the seats of the dead are taken until their leases lapse
    vault = Vault(run.plan.settings["SECRET_KEY"])
    with run.lane.connect() as connection:
        for path in ("good/1", "faulty/1", "faulty/2"):
            connection.execute(
                "INSERT INTO runware_jobs.endpoint (tenant, url, events, secrets) VALUES ('default', %s, %s, %s)",
                (receiver.url(path), _TOLD, [vault.encrypt(new_secret())]),
            )
    over = threading.Event()
    turning = threading.Thread(target=_turn_time_until, args=(run, over), daemon=True)
    turning.start()
    run.heals += [over.set, turning.join, receiver.heal]
    run.turns_time = True
    run.checks.append(lambda: _problems(run))


def _enqueue(run: Run, count: int) -> None:
    run.enqueue(count)
    run.enqueue(1, webhook_url=run.lane.receiver.url("good/of-job"))
    run.enqueue(1, webhook_url=run.lane.receiver.url("gone/of-job"))


def _until_told(run: Run, count: int) -> None:
    """Let so many webhooks arrive before the next blow, or some seconds pass."""
    arrivals = run.lane.receiver.arrivals
    before = len(arrivals)
    with suppress(AssertionError):
        poll_until(lambda: len(arrivals) >= before + count, what="webhooks", within_s=_TOLD_WITHIN_S)


def _strike(run: Run, seat: int, *, point: str) -> None:
    """Let the worker of a seat be killed at this point; what never comes within seconds is let go."""
    moment = run.chance.choice(KILLING)
    worker = run.workers[seat]
    if point in {_ARRIVED, _ANSWERED}:
        act: Callable[[], None] = run.killing(seat, moment).act
        run.lane.receiver.strike_next(act, before_answer=point == _ARRIVED)
    else:
        nth = run.chance.randint(1, 3)
        run.seat(seat).traps.arm(lambda said: point in said, run.killing(seat, moment), nth=nth)
    poll_until(
        lambda: worker.has_ended or worker.said("worker_ready"), what="a worker killed or ready", within_s=60
    )
    if worker.wait(_SPRINGS_WITHIN_S):
        run.has_died(seat)
        run.figures.struck[f"{point} | {moment}"] += 1
    else:
        run.seat(seat).traps.clear()
        run.lane.receiver.disarm()
        run.figures.counts["never came"] += 1


def _turn_time_until(run: Run, over: threading.Event) -> None:
    """Let the waits of the schedule be over at once, again and again; what somebody holds stays his."""
    while not over.wait(_TURNS_EVERY_S):
        with suppress(psycopg.OperationalError), run.lane.connect() as connection:
            connection.execute(
                "UPDATE runware_jobs.outbox SET due_at = now(), attempts = LEAST(attempts, 2)"
                " WHERE NOT is_dead AND holder IS NULL AND due_at > now()"
            )
            connection.execute("UPDATE runware_jobs.receiver SET rests_until = now()")


def _orphan(run: Run) -> None:
    """Let the time of all holders be over: nobody is alive."""
    with run.lane.connect() as connection:
        connection.execute("UPDATE runware_jobs.outbox SET due_at = now() WHERE NOT is_dead")


def _problems(run: Run) -> list[str]:
    events = run.read("SELECT id::text, job_id::text, seq, type FROM event")
    own = {
        row["id"]: row["webhook_url"].rsplit("/", 2)[1:]
        for row in run.read("SELECT id::text, webhook_url FROM job WHERE webhook_url IS NOT NULL")
    }
    wanted: dict[str, set[str]] = {
        path: {event["id"] for event in events if event["type"] in _TOLD and event["job_id"] is not None}
        for path in ("good/1", "faulty/1", "faulty/2")
    }
    wanted["good/of-job"] = {
        event["id"]
        for event in events
        if event["type"] in FINAL_EVENTS and own.get(event["job_id"], [""])[0] == "good"
    }
    return run.lane.receiver.problems(events, wanted)
