"""Trainings: hours of platform time, in which workers come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runware_jobs import Jobs

# A training is asked about by the minute, at whatever speed the platform's time passes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WITHIN_S = 200

SPEED = 1600
"""A training of two hours takes 4.5 s: longer than until its first poll, and over when the lease of a dead worker lapses."""

HOUR_S = 3600
TRAINING = {
    "model": "runware:qwen-image@style-lora-training",
    "inputs": {"dataset": "https://example.com/dataset.zip"},
    "importModel": {"air": "acme:style@1", "name": "Style"},
}


@pytest.fixture
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator of our own, on which a training of two hours takes seconds."""
    with running_emulator(log=tmp_path_factory.mktemp("fast") / "log", speed=SPEED) as process:
        process.configure(latencies={"training": 2 * HOUR_S}, balance_usd=1000)
        yield process


def only_task(emulator: EmulatorProcess) -> dict[str, Any]:
    """The one task that the platform was sent, as its ledger has it."""
    [task] = emulator.ledger()["tasks"].values()
    assert isinstance(task, dict)
    return task


def has_ended(emulator: EmulatorProcess) -> bool:
    return bool(only_task(emulator)["state"] == "success")


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_trainings_of_two_hours_watched_canceled_and_taken_up_again(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    # In one test, because each of them is asked about once in a minute.
    seen: list[Any] = []
    told = environment | {"RUNWARE_JOBS_TRANSPORT": transport, "RUNWARE_JOBS_LOST_AFTER_S": "2"}
    with running_worker(told, log=tmp_path / "worker.log"):
        job, canceled, resumed = (jobs.train(TRAINING) for _ in range(3))
        for one in (canceled, resumed):
            poll_until(lambda one=one: one.refresh().state == "running", what="the training running")
            one.cancel()
        at_once = (canceled.state, canceled.billing, canceled.cost_usd)
        resumed.retry()

        def is_over() -> bool:
            seen.append(job.refresh().progress)
            assert job.state != "failed", job.error
            return job.is_final

        poll_until(is_over, what="the end of the training", within_s=WITHIN_S)
        resumed.wait(WITHIN_S)
        poll_until(lambda: canceled.refresh().billing == "billed", what="its cost", within_s=WITHIN_S)

    tasks = emulator.ledger()["tasks"]
    assert {task["submits"] for task in tasks.values()} == {1}
    assert len(tasks) == 3
    for one in (job, canceled, resumed):
        assert float(one.cost_usd or 0) == float(tasks[one.task_uuid]["billed_usd"]) > 0

    told_progress = [value for value in seen if value is not None]
    assert told_progress == sorted(told_progress)
    assert 0 < told_progress[0] < told_progress[-1] == 100
    [item] = job.results
    assert (item["status"], item["air"], item["taskUUID"]) == ("success", "acme:style@1", job.task_uuid)
    assert item["outputs"]["files"]
    assert tasks[job.task_uuid]["polls"] <= 4

    assert at_once == ("canceled", "detached", None)
    assert (canceled.state, len(canceled.results)) == ("canceled", 1)
    assert [event["type"] for event in canceled.events()][-1] == "job.cost"
    assert (resumed.state, resumed.run) == ("succeeded", 1)


def test_worker_killed_in_the_middle_of_a_training_costs_nothing(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    job = jobs.train(TRAINING)
    victim = start_worker(environment, log=tmp_path / "victim.log")
    try:
        poll_until(lambda: (job.refresh().progress or 0) > 0, what="some progress", within_s=WITHIN_S)
    finally:
        victim.kill()
    with running_worker(environment, log=tmp_path / "successor.log"):
        job.wait(WITHIN_S)

    task = only_task(emulator)
    assert (job.state, len(job.attempts)) == ("succeeded", 1)
    assert (task["submits"], task["accepted"]) == (1, 1)


@pytest.mark.parametrize(
    ("label", "switches"),
    [("the platform keeps its answer", {}), ("only the archive has it", {"retention_s": 0.5})],
)
def test_training_outlives_every_worker(
    label: str,
    switches: dict[str, Any],
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    emulator.configure(switches=switches)
    told = environment | {"RUNWARE_JOBS_LOST_AFTER_S": "2"}
    job = jobs.train(TRAINING)
    with running_worker(told, log=tmp_path / "first.log") as first:
        poll_until(lambda: job.refresh().state == "running", what="the training running")
        assert first.stop() == 0
    poll_until(lambda: has_ended(emulator), what="the training over, with nobody there")

    with running_worker(told, log=tmp_path / "second.log"):
        job.wait(WITHIN_S)

    assert (job.results[0]["air"], len(job.attempts)) == ("acme:style@1", 1)
    assert only_task(emulator)["submits"] == 1
