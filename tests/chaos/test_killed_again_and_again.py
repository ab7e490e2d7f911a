"""Workers killed at random moments while the platform loses answers; then the books are compared.

A short seeded run belongs to the tests; `make chaos` runs more rounds
(CHAOS_ROUNDS) from another seed (CHAOS_SEED) and prints the figures.
"""

from __future__ import annotations

import random
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Job, Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

JOBS = 80
KILLS = 3
DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}


def test_books_agree_after_random_kills_and_lost_answers(
    chaos_seed: int,
    chaos_rounds: int,
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    for number in range(chaos_rounds):
        figures = _round(chaos_seed + number, environment, jobs, emulator, tmp_path)
        print(f"seed {chaos_seed + number}: {figures}")  # noqa: T201  figures are what make chaos is run for


def _round(
    seed: int, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> dict[str, object]:
    chance = random.Random(seed)
    emulator.reset()
    emulator.configure(latencies={"image": [50, 300]})
    emulator.inject(
        {
            "on": "submit",
            "rate": 0.2,
            "action": {"kind": "lose_answer", "how": chance.choice(["reset", "status"])},
        },
        {"on": "submit", "rate": 0.05, "action": {"kind": "reset"}},
        {"on": "poll", "rate": 0.1, "action": {"kind": "status", "status": 503}},
    )
    told = environment | {
        "RUNWARE_JOBS_TRANSPORT": chance.choice(["rest", "websocket"]),
        "RUNWARE_JOBS_SUBMIT_GROUP_SIZE": str(chance.choice([1, 7, 50])),
        "RUNWARE_JOBS_LOST_AFTER_S": "4",
    }
    batch = jobs.enqueue_many(
        ({"positivePrompt": f"street {number}"} for number in range(JOBS)),
        name=f"chaos {seed}",
        defaults=DEFAULTS,
    )
    for kill in range(KILLS):
        victim = start_worker(told, log=tmp_path / f"victim-{seed}-{kill}.log")
        try:
            victim.wait_until_ready()
            threading.Event().wait(chance.uniform(0.0, 1.5))  # the moment of the kill is the case
        finally:
            victim.kill()
    with running_worker(told, log=tmp_path / f"last-{seed}.log"):
        poll_until(lambda: batch.refresh().finished == JOBS, what="every job final", within_s=120)
        lost = _check_lost(jobs.list(batch=batch.id, state="failed", limit=500), emulator.ledger())
        for job in lost:
            # A person decides: nobody else may pay a second time for what is unclear.
            job.retry(accept_double_billing=True).wait(60)

    ledger = emulator.ledger()
    ended = jobs.list(batch=batch.id, limit=500)
    paid = {task for task, entry in ledger["tasks"].items() if entry["accepted"]}
    figures: dict[str, object] = {
        "jobs": len(ended),
        "tasks paid": len(paid),
        "duplicates refused": ledger["totals"]["duplicates"],
        "settled": sum(1 for job in ended if any(attempt["settlement"] for attempt in job.attempts)),
        "lost, then retried by hand": len(lost),
        "requests": ledger["requests"]["total"],
    }
    assert batch.refresh().counts == {"succeeded": JOBS}, figures
    assert {job.task_uuid for job in ended} == paid, figures
    assert all(len(job.results) == 1 and len(job.attempts) == job.run for job in ended), figures
    assert sum((job.cost_usd or Decimal(0) for job in ended), Decimal(0)) == Decimal(
        ledger["totals"]["billed_usd"]
    ), figures
    for job in ended:
        _check_events(job)
    return figures


def _check_lost(lost: list[Job], ledger: dict[str, Any]) -> list[Job]:
    """What stays unknown says so: its one resend was used up, and the platform never had it."""
    for job in lost:
        [attempt] = job.attempts
        assert (attempt["state"], job.billing) == ("lost", "unclear"), job.to_dict()
        assert {"step": "archive", "answer": "unknown"}.items() <= attempt["settlement"][-1].items() or any(
            step["step"] == "resend" for step in attempt["settlement"]
        ), job.to_dict()
        assert not ledger["tasks"].get(attempt["task_uuid"], {}).get("accepted"), job.to_dict()
    return lost


def _check_events(job: Job) -> None:
    events = [(event["seq"], event["type"]) for event in job.events()]
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1)), (job.id, events)
    if job.run == 1:
        assert [type_ for _, type_ in events if type_ != "job.result"] == [
            "job.queued",
            "job.submitted",
            "job.succeeded",
        ], (job.id, events)
