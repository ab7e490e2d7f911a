"""A worker killed with -9 in mid-run and started again: every job ends, none is sent twice."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

JOBS = 60
DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_killed_in_mid_run_every_job_ends_and_none_is_sent_twice(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": [100, 400]})  # platform time, at 100 x: one to four seconds
    told = environment | {"RUNWARE_JOBS_TRANSPORT": transport, "RUNWARE_JOBS_SUBMIT_GROUP_SIZE": "10"}
    batch = jobs.enqueue_many(
        [{"positivePrompt": f"street {number}"} for number in range(JOBS)], name="killed", defaults=DEFAULTS
    )

    victim = start_worker(told, log=tmp_path / "victim.log")
    try:
        poll_until(lambda: batch.refresh().counts.get("running", 0) >= JOBS // 2, what="half of it running")
        poll_until(lambda: batch.refresh().counts.get("succeeded", 0) >= 1, what="a first result")
    finally:
        victim.kill()
    at_the_kill = batch.refresh().counts
    with running_worker(told, log=tmp_path / "successor.log"):
        batch.wait(60)

    ledger = emulator.ledger()
    tasks = ledger["tasks"]
    ended = jobs.list(batch=batch.id, limit=500)
    assert at_the_kill.get("succeeded", 0) < JOBS
    assert batch.counts == {"succeeded": JOBS}
    assert {job.task_uuid for job in ended} == set(tasks)
    assert [task for task in tasks.values() if task["submits"] != 1 or task["accepted"] != 1] == []
    assert sum((job.cost_usd or Decimal(0) for job in ended), Decimal(0)) == Decimal(
        ledger["totals"]["billed_usd"]
    )
    assert all(len(job.results) == 1 and len(job.attempts) == 1 for job in ended)


def test_a_worker_that_is_asked_to_end_gives_back_what_it_follows(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": 500})
    with running_worker(environment, log=tmp_path / "first.log") as first:
        job = jobs.enqueue({**DEFAULTS, "positivePrompt": "a slow river"})
        poll_until(lambda: job.refresh().state == "running", what="the job running")
        assert first.stop() == 0

    with running_worker(environment, log=tmp_path / "second.log"):
        job.wait(30)

    [task] = emulator.ledger()["tasks"].values()
    assert (task["submits"], len(job.attempts)) == (1, 1)


def test_worker_that_stood_by_does_what_is_due_when_the_one_with_the_seat_is_killed(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """Deadlines and ended batches, too: nobody else looks at them."""
    emulator.configure(latencies={"image": 10_000_000})
    told = environment | {"RUNWARE_JOBS_CLOCKS": "1"}
    seated = start_worker(told, log=tmp_path / "seated.log")
    try:
        seated.wait_until_ready()
        poll_until(lambda: "clock_seated" in seated.log.read_text(), what="a seat")
        with running_worker(told, log=tmp_path / "standing.log") as standing:
            batch = jobs.enqueue_many([{"positivePrompt": "x"}], name="b", defaults=DEFAULTS, deadline_s=2)
            poll_until(lambda: batch.refresh().counts.get("running"), what="the job running")
            seats_before = "clock_seated" in standing.log.read_text()
            seated.kill()
            poll_until(lambda: batch.refresh().counts.get("failed"), what="the end of a late job")
            poll_until(lambda: batch.refresh().state == "completed", what="the end of its batch")
    finally:
        if seated.process.poll() is None:
            seated.kill()

    assert not seats_before
