"""From params to results, through a real worker process."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from standardwebhooks.webhooks import Webhook

from runware_jobs import InvalidJob, JobFailed
from runware_jobs.core.signing import Vault
from runware_jobs.store.database import open_engine
from runware_jobs.store.endpoints import read_endpoints
from tests.support.polling import poll_until
from tests.support.receiver import running_receiver
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "positivePrompt": "a lighthouse at dusk", "width": 512, "height": 512}
QUICK = {"image": [50, 150], "video": 200, "training": 300}
"""Seconds of platform time; the emulator is a hundred times as fast."""

RECEIVERS = """
import json, pathlib
from runware_jobs.signals import on_progress, on_result, on_state

def note(kind, job, event, **_):
    with pathlib.Path({path!r}).open("a") as file:
        file.write(json.dumps([kind, job["id"], event["type"], event["data"]]) + "\\n")

@on_result.connect(weak=False)
def result(job, event, **_):
    note("result", job, event)

@on_progress.connect(weak=False)
def progress(job, event, **_):
    note("progress", job, event)

@on_state.connect(weak=False)
def state(job, event, **_):
    note("state", job, event)
"""


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_every_kind_of_job_reaches_its_result(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies=QUICK)
    with running_worker({**environment, "RUNWARE_JOBS_TRANSPORT": transport}, log=tmp_path / "worker.log"):
        image = jobs.enqueue({**IMAGE, "numberResults": 3})
        video = jobs.enqueue(
            {
                "model": "google:3@3",
                "positivePrompt": "ocean waves",
                "width": 1280,
                "height": 720,
                "duration": 8,
            }
        )
        upload = jobs.upload(b"\x89PNG\r\n\x1a\n" + bytes(20_000))
        training = jobs.train(
            {
                "model": "runware:qwen-image@style-lora-training",
                "inputs": {"dataset": "https://example.com/dataset.zip"},
                "importModel": {"air": "acme:style@1", "name": "Style"},
            }
        )
        batch = jobs.enqueue_many(
            ({"positivePrompt": f"hill {number}", "custom_id": f"c{number}"} for number in range(120)),
            name="hills",
            defaults={key: IMAGE[key] for key in ("model", "width", "height")},
        )

        assert len(image.wait(60).results) == 3
        assert video.wait(60).results[0]["videoURL"].startswith("http")
        assert "mediaUUID" in upload.wait(60).results[0]
        assert training.wait(120).results[0]["air"]
        assert batch.wait(60).counts == {"succeeded": 120}

    ledger = emulator.ledger()
    done = [image, video, training, *(job for job in jobs.list(batch=batch.id, limit=200))]
    assert all(entry["submits"] == 1 for entry in ledger["tasks"].values())
    assert sum((job.cost_usd or Decimal(0) for job in done), Decimal(0)) == Decimal(
        ledger["totals"]["billed_usd"]
    )
    assert ledger["requests"]["websocket" if transport == "rest" else "rest"] == 0


def test_what_the_platform_refuses_fails_with_its_parameter(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    with running_worker(environment, log=tmp_path / "worker.log"):
        job = jobs.enqueue({**IMAGE, "width": 7})
        with pytest.raises(JobFailed) as failed:
            job.wait(30)

    assert failed.value.code == "validation"
    assert failed.value.parameter is not None
    assert "width" in failed.value.parameter
    assert [attempt["state"] for attempt in job.attempts] == ["refused"]


def test_a_webhook_arrives_signed(environment: dict[str, str], jobs: Jobs, tmp_path: Path) -> None:
    with running_receiver() as receiver, running_worker(environment, log=tmp_path / "worker.log"):
        job = jobs.enqueue(IMAGE, webhook_url=f"{receiver.url}/hooks", metadata={"user": 7})
        headers, body = poll_until(receiver.first, what="a webhook")
        job.wait(30)

    secret = _tenant_secret(environment)
    event: dict[str, Any] = Webhook(secret).verify(body, headers)
    assert event["type"] == "job.succeeded"
    assert event["job_id"] == job.id
    assert event["data"]["results"] == job.results
    assert event["data"]["metadata"] == {"user": 7}


def test_receivers_in_a_module_of_imports_hear_results_and_states(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies=QUICK)
    heard = tmp_path / "heard.jsonl"
    (tmp_path / "my_receivers.py").write_text(RECEIVERS.format(path=str(heard)))
    told = environment | {"RUNWARE_JOBS_IMPORTS": "my_receivers", "PYTHONPATH": str(tmp_path)}
    with running_worker(told, log=tmp_path / "worker.log"):
        job = jobs.enqueue(IMAGE).wait(30)
        training = jobs.train(
            {
                "model": "runware:qwen-image@style-lora-training",
                "inputs": {"dataset": "https://example.com/dataset.zip"},
                "importModel": {"air": "acme:style@2", "name": "Style"},
            }
        ).wait(120)

        def finished() -> list[list[Any]] | None:
            notes = [json.loads(line) for line in heard.read_text().splitlines()] if heard.exists() else []
            ends = [note[1] for note in notes if note[2] == "job.succeeded"]
            return notes if {job.id, training.id} <= set(ends) else None

        notes = poll_until(finished, what="both ends heard")

    of_job = [(kind, type_) for kind, job_id, type_, _ in notes if job_id == job.id and kind != "progress"]
    assert of_job == [
        ("state", "job.queued"),
        ("state", "job.submitted"),
        ("result", "job.result"),
        ("state", "job.succeeded"),
    ]
    [result] = [data for kind, job_id, _, data in notes if kind == "result" and job_id == job.id]
    assert result["result"] == job.results[0]
    assert any(kind == "progress" and job_id == training.id for kind, job_id, _, _ in notes)


def test_a_producer_with_only_a_broker_makes_a_job_of_its_task_id(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    task_id = "0f3b7a52-6a67-4b0e-9d3c-7d1f2a5b8c11"
    producer = Celery(broker=environment["RUNWARE_JOBS_BROKER_URL"], set_as_current=False)
    with running_worker(environment, log=tmp_path / "worker.log"):
        for _ in range(2):  # a message that is delivered twice is one job
            producer.send_task(
                "runware_jobs.run",
                args=[IMAGE],
                kwargs={"tags": ["broker"]},
                task_id=task_id,
                queue="runware_jobs",
            )
        poll_until(lambda: jobs.list(tag="broker"), what="the job of the task")
        job = jobs.get(task_id).wait(30)

    assert job.id == task_id
    assert len(jobs.list(tag="broker")) == 1
    assert job.state == "succeeded"


def test_wrong_params_are_refused_before_anything_is_written(jobs: Jobs) -> None:
    with pytest.raises(InvalidJob, match="apiKey"):
        jobs.enqueue({**IMAGE, "apiKey": "sk-secret"})
    with pytest.raises(InvalidJob, match="job number 1 of the batch"):
        jobs.enqueue_many([IMAGE, {"model": "nobody:1@1", "positivePrompt": "x"}])

    assert jobs.list() == []


def test_a_wrong_job_far_into_a_batch_leaves_nothing_of_it_to_run(jobs: Jobs) -> None:
    with pytest.raises(InvalidJob, match="job number 1500 of the batch"):
        jobs.enqueue_many([IMAGE] * 1500 + [{"model": "nobody:1@1", "positivePrompt": "x"}])

    assert jobs.list(state="queued") == []
    assert len(jobs.list(state="canceled", limit=500)) == 500  # of the thousand that were in


def _tenant_secret(environment: dict[str, str]) -> str:
    import asyncio

    async def read() -> bytes:
        engine = open_engine(environment["RUNWARE_JOBS_DATABASE_URL"], pool_size=1)
        async with engine.connect() as connection:
            [endpoint] = await read_endpoints(connection, tenant="default")
        await engine.dispose()
        return bytes(endpoint["secrets"][0])

    return Vault(environment["RUNWARE_JOBS_SECRET_KEY"]).decrypt(asyncio.run(read()))


def test_outputs_are_archived_when_there_is_an_archive(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    told = environment | {"RUNWARE_JOBS_ARCHIVE_URL": f"file://{tmp_path}/archive"}
    with running_worker(told, log=tmp_path / "worker.log"):
        job = jobs.enqueue(IMAGE).wait(30)
        url = poll_until(lambda: job.refresh().results[0].get("archived_url"), what="a copy of the picture")

    copy = Path(url.removeprefix("file://"))
    assert copy.is_relative_to(tmp_path / "archive")
    assert copy.read_bytes().startswith(b"\xff\xd8")
