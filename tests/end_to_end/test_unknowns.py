"""What nobody knows of the platform (PROTOCOL 17), on either side: every job ends, and none is paid twice.

One worker per case and many jobs, each under a fault of its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Job, Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "width": 512, "height": 512}
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MODEL = {
    "taskType": "modelUpload",
    "category": "lora",
    "architecture": "flux1d",
    "format": "safetensors",
    "name": "Old film",
    "version": "1.0",
    "air": "acme:100@1",
    "uniqueIdentifier": "0" * 64,
    "downloadURL": "https://files.example/film.safetensors",
}
# Each strikes the job of that prompt.
FAULTS: dict[str, dict[str, Any]] = {
    "answer lost": {"kind": "lose_answer"},
    "answer lost by a gateway": {"kind": "lose_answer", "how": "status", "status": 504},
    "never arrived": {"kind": "reset"},
    "gateway": {"kind": "status", "status": 502, "body": "html"},
    "busy": {"kind": "status", "status": 429, "body": "task"},
    "truncated": {"kind": "truncate"},
    "single error": {"kind": "error_shape", "shape": "single", "scoped": False},
}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("as it is by default", "rest", {}),
    (
        "everything is forgotten soon",
        "rest",
        {
            "conflict": "running",
            "unknown_task": "error",
            "retention_s": 30,
            "failure_form": "B",
            "empty_errors": True,
        },
    ),
    (
        "polls speak another tongue",
        "rest",
        {
            "poll_task_type": "getResponse",
            "running_status": "pending",
            "partial_status": 400,
            "multi_poll": False,
            "upload_poll": "phase",
        },
    ),
    (
        "a socket that knows nothing",
        "websocket",
        {"unknown_task": "empty", "conflict": "running", "result_index": True, "upload_poll": "processing"},
    ),
    (
        "few tasks in small messages",
        "rest",
        {
            "max_tasks": 3,
            "duplicate_overwrites_archive": False,
            "running_status": "queued",
        },
    ),
    ("a cost is that of the whole task", "rest", {"cost_per": "task", "unknown_task": "error"}),
]


@pytest.mark.parametrize(("label", "transport", "switches"), CASES, ids=[case[0] for case in CASES])
def test_every_job_ends_and_is_paid_once(
    label: str,
    transport: str,
    switches: dict[str, Any],
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    emulator.configure(latencies={"image": [50, 100], "modelUpload": 100}, switches=switches)
    for prompt, action in FAULTS.items():
        emulator.inject({"on": "submit", "count": 1, "prompt": prompt, "action": action})
    emulator.inject(
        {"on": "submit", "prompt": "one fails", "action": {"kind": "item_error", "items": [1]}},
        {"on": "submit", "count": 1, "taskType": "mediaStorage", "action": {"kind": "lose_answer"}},
    )
    told = environment | {
        "RUNWARE_JOBS_TRANSPORT": transport,
        # One message for each: a fault is about one job.
        "RUNWARE_JOBS_SUBMIT_GROUP_SIZE": "1",
        "RUNWARE_JOBS_COST_PER": switches.get("cost_per", "item"),
    }

    ordinary = [jobs.enqueue({**IMAGE, "positivePrompt": prompt}) for prompt in [*FAULTS, "plain"]]
    several = jobs.enqueue_many([{**IMAGE, "positivePrompt": "three", "numberResults": 3}], name="several")
    partial = jobs.enqueue({**IMAGE, "positivePrompt": "one fails", "numberResults": 3})
    media = jobs.upload(PICTURE)
    model = jobs.upload_model(MODEL)
    everything = [*ordinary, *jobs.list(batch=several.id), partial, media, model]
    with running_worker(told, log=tmp_path / "worker.log"):
        for job in everything:
            poll_until(
                lambda job=job: job.refresh().finished_at, what=f"the end of {job.to_dict()}", within_s=60
            )

    ledger = emulator.ledger()
    assert {job.state for job in everything} == {"succeeded"}
    assert [len(job.results) for job in ordinary] == [1] * len(ordinary)
    assert (len(partial.results), len(partial.failures)) == (2, 1)
    assert media.results[0]["mediaUUID"]
    assert model.results[0]["status"] in {"ready", "success"}
    assert [task for task in ledger["tasks"].values() if task["accepted"] > 1] == []
    billed_usd = Decimal(ledger["totals"]["billed_usd"])
    assert billed_usd == sum(map(_cost, everything), Decimal(0)) == _spent_usd(environment)
    assert several.refresh().cost_usd == _cost(everything[len(ordinary)])


def test_lost_and_stuck_tasks_are_followed_for_so_long_and_no_longer(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """Killed, drained, started again: what one process has seen, the next one knows."""
    emulator.configure(latencies={"image": 50}, switches={"conflict": "running"})
    emulator.inject(
        {"on": "submit", "prompt": "lost", "action": {"kind": "lost"}},
        {"on": "submit", "prompt": "stuck", "action": {"kind": "stuck"}},
    )
    told = environment | {"RUNWARE_JOBS_LOST_AFTER_S": "12", "RUNWARE_JOBS_STUCK_AFTER_S": "12"}
    lost, stuck = (jobs.enqueue({**IMAGE, "positivePrompt": prompt}) for prompt in ("lost", "stuck"))

    def missing_since() -> str | None:
        steps = _steps(environment, lost)
        return next((step["at"] for step in steps if step["answer"] == "unknown"), None)

    with running_worker(told, log=tmp_path / "first.log") as worker:
        first_seen = poll_until(missing_since, what="that it is unknown is written down")
        worker.kill()
    with running_worker(told, log=tmp_path / "second.log"):
        pass
    with running_worker(told, log=tmp_path / "third.log"):
        for job in (lost, stuck):
            poll_until(lambda job=job: job.refresh().finished_at, what=f"the end of {job.to_dict()}")

    assert [(job.state, job.error["code"], job.billing) for job in (lost, stuck)] == [
        ("failed", "notFound", "unclear"),
        ("failed", "timeout", "unclear"),
    ]
    assert [task["submits"] for task in emulator.ledger()["tasks"].values()] == [1, 1]
    assert [step["step"] for step in _steps(environment, lost)] == ["getResponse", "archive"]
    assert missing_since() == first_seen
    # Its age counts from the acceptance, and its absence from when it was seen first.
    assert lost.finished_at - datetime.fromisoformat(first_seen) >= timedelta(seconds=12)


def _steps(environment: dict[str, str], job: Job) -> list[dict[str, str]]:
    return [
        step
        for settlement in _read(environment, f"SELECT settlement FROM attempt WHERE job_id = '{job.id}'")
        for step in settlement
    ]


def _spent_usd(environment: dict[str, str]) -> Decimal:
    """Read what the account has spent, and check that its tenants have spent as much."""
    [spent] = _read(environment, "SELECT spent_usd FROM account")
    assert spent == sum(
        _read(environment, "SELECT cost_usd FROM attempt WHERE cost_usd IS NOT NULL"), Decimal(0)
    )
    return Decimal(spent)


def _read(environment: dict[str, str], statement: str) -> list[Any]:
    """Read one column past our own store."""
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        connection.execute("SET search_path TO runware_jobs")
        return [row[0] for row in connection.execute(statement)]  # type: ignore[call-overload]  # no literal


def _cost(job: Job) -> Decimal:
    return job.cost_usd or Decimal(0)
