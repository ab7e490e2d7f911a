"""Uploads as jobs: media of every kind, models by their phases, and a worker that dies in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runware_jobs import JobFailed
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PNG = b"\x89PNG\r\n\x1a\n"
MODEL = {
    "category": "lora",
    "architecture": "flux1d",
    "format": "safetensors",
    "name": "Ink",
    "version": "1.0",
    "air": "acme:ink@1",
    "downloadURL": "https://example.com/ink.safetensors",
}
TRANSPORTS = pytest.mark.parametrize("transport", ["rest", "websocket"])


def over(environment: dict[str, str], transport: str) -> dict[str, str]:
    return environment | {"RUNWARE_JOBS_TRANSPORT": transport}


@TRANSPORTS
def test_files_bytes_and_urls_are_uploaded_and_named(
    transport: str, environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(PNG + bytes(300_000))
    with running_worker(over(environment, transport), log=tmp_path / "worker.log"):
        uploads = [
            jobs.upload(file),
            jobs.upload(PNG + bytes(100)),
            jobs.upload("https://example.com/photo.jpg"),
        ]
        results = [upload.wait(120).results for upload in uploads]

    for upload, [item] in zip(uploads, results, strict=True):
        assert set(item) == {"taskType", "taskUUID", "operation", "mediaUUID", "mediaURL"}
        assert item["taskUUID"] == upload.task_uuid
        assert (upload.kind, upload.state, upload.progress) == ("upload", "succeeded", 100)
    assert len({item["mediaUUID"] for [item] in results}) == 3


def test_uploaded_picture_is_used_by_its_uuid(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"):
        [item] = jobs.upload(PNG + bytes(100_000)).wait(120).results
        job = jobs.enqueue(
            {"taskType": "upscale", "model": "runware:501@1", "inputs": {"image": item["mediaUUID"]}}
        ).wait(120)

    assert job.results[0]["imageURL"]


@TRANSPORTS
def test_model_is_ready_after_its_phases(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"modelUpload": 300})  # three seconds here
    seen: set[Any] = set()
    with running_worker(over(environment, transport), log=tmp_path / "worker.log"):
        job = jobs.upload_model(MODEL)

        def is_ready() -> bool:
            seen.add(job.refresh().progress)
            return job.state == "succeeded"

        poll_until(is_ready, what="the model ready")

    assert {20, 40, 60, 80, 100} >= seen - {None}
    assert len(seen - {None}) >= 3
    [item] = job.results
    assert (item["status"], item["air"], item["taskType"]) == ("ready", "acme:ink@1", "modelUpload")
    [task] = emulator.ledger()["tasks"].values()
    assert (task["submits"], len(job.attempts)) == (1, 1)


@pytest.mark.parametrize("shape", ["phase", "processing"])
def test_model_is_ready_however_its_phases_are_told(
    shape: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"modelUpload": 100}, switches={"upload_poll": shape})
    with running_worker(environment, log=tmp_path / "worker.log"):
        job = jobs.upload_model(MODEL).wait(120)
    emulator.configure(switches={"upload_poll": "phases"})

    assert [item["status"] for item in job.results] == ["ready"]


@TRANSPORTS
def test_model_that_cannot_be_taken_fails_with_the_reason(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"modelUpload": 50})
    emulator.inject(
        {
            "on": "submit",
            "taskType": "modelUpload",
            "action": {"kind": "item_error", "code": "x", "message": "The file is no safetensors."},
        }
    )
    with running_worker(over(environment, transport), log=tmp_path / "worker.log"):
        job = jobs.upload_model(MODEL, max_attempts=1)
        with pytest.raises(JobFailed) as failed:
            job.wait(120)

    assert (failed.value.code, job.error and job.error["message"]) == (
        "provider",
        "The file is no safetensors.",
    )
    assert [failure["code"] for failure in job.failures] == ["provider"]
    assert job.results == []


def test_model_upload_outlives_the_worker_that_began_it(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"modelUpload": 600})
    job = jobs.upload_model(MODEL)
    victim = start_worker(environment, log=tmp_path / "victim.log")
    try:
        poll_until(lambda: job.refresh().progress, what="a first phase")
    finally:
        victim.kill()
    with running_worker(environment, log=tmp_path / "successor.log"):
        job.wait(120)

    [task] = emulator.ledger()["tasks"].values()
    assert (task["submits"], task["accepted"], len(job.attempts)) == (1, 1, 1)
    assert job.results[0]["status"] == "ready"


@pytest.mark.parametrize("lost", ["reset", "reset_after"])
def test_upload_whose_answer_was_lost_is_sent_again_under_its_own_uuid(
    lost: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.inject({"on": "any", "taskType": "mediaStorage", "count": 1, "action": {"kind": lost}})
    with running_worker(environment, log=tmp_path / "worker.log"):
        job = jobs.upload(PNG + bytes(1000)).wait(120)

    assert job.results[0]["taskUUID"] == job.attempts[0]["task_uuid"]
    assert len(job.attempts) == 1
