"""Large inputs through real workers: a file on a producer's disk, uploaded once for all who use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

UPSCALE = {"taskType": "upscale", "model": "runware:501@1"}
JOBS = 1000


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_one_file_in_a_thousand_jobs_of_two_workers_is_uploaded_once(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"upscale": 50, "image": 50})
    file = tmp_path / "photo.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200_000))
    told = environment | {"RUNWARE_JOBS_TRANSPORT": transport}
    with (
        running_worker(told, log=tmp_path / "one.log"),
        running_worker(told, log=tmp_path / "other.log"),
    ):
        batch = jobs.enqueue_many(
            ({"inputs": {"image": file}} for _ in range(JOBS)), name="photos", defaults=UPSCALE
        ).wait(120)

    recent = httpx.get(f"{emulator.address}/_emulator/recent?limit=10000").json()["requests"]
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        stored = connection.execute("SELECT uploads FROM runware_jobs.input").fetchall()
    assert batch.counts == {"succeeded": JOBS}
    assert stored == [(1,)]
    # The upload, and each worker asks who it is twice: before it starts anything, and when it registers.
    assert sum(request["others"] for request in recent) <= 5
    ledger = emulator.ledger()
    assert (ledger["totals"]["refused"], ledger["totals"]["duplicates"]) == (0, 0)
    assert all(task["submits"] == 1 for task in ledger["tasks"].values())


def test_upload_that_the_platform_forgot_is_renewed_without_anybody_noticing(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
    file = tmp_path / "photo.png"
    file.write_bytes(picture)
    with running_worker(environment, log=tmp_path / "worker.log"):
        jobs.enqueue({**UPSCALE, "inputs": {"image": file}}).wait(120)
        emulator.reset()  # forgets its uploads
        job = jobs.enqueue({**UPSCALE, "inputs": {"image": file}}).wait(120)

    assert [attempt["state"] for attempt in job.attempts] == ["refused", "succeeded"]
    assert job.results[0]["imageURL"]
