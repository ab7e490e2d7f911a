"""The platform calls a real API process, and a worker that would ask much later knows at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

PATH = "/v1/callbacks/runware/"
VIDEO = {
    "model": "google:3@3",
    "positivePrompt": "ocean waves",
    "width": 1280,
    "height": 720,
    "duration": 8,
}


@contextmanager
def running_api(environment: dict[str, str], *, log: Path) -> Iterator[str]:
    """Run `runware-jobs api`, access log and all; its URL."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runware_jobs", "api", "--port", "0"],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )

    def listening() -> str | None:
        for line in log.read_text().splitlines():
            if "api_listening" in line:
                url: str = json.loads(line)["url"]
                return url
        return None

    try:
        yield poll_until(listening, what="the API", within_s=60)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("label", "switches", "fails"),
    [
        ("flat", {"webhook_body": "flat"}, False),
        ("wrapped", {"webhook_body": "wrapped"}, False),
        ("a flat failure", {"webhook_failure": "flat"}, True),
        ("a list of errors", {"webhook_failure": "errors", "webhook_body": "wrapped"}, True),
        ("a failed item", {"webhook_failure": "item"}, True),
    ],
)
def test_job_ends_by_the_hint_and_its_token_is_nowhere(
    label: str,
    switches: dict[str, Any],
    fails: bool,
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    emulator.configure(latencies={"video": 50}, switches=switches)
    if fails:
        quoting = f"https://jobs.example{PATH}AAAAAAAAAAAAAAAA was not called"
        emulator.inject({"action": {"kind": "item_error", "code": "providerError", "message": quoting}})
    with running_api(environment, log=tmp_path / "api.log") as url:
        told = environment | {
            "RUNWARE_JOBS_CALLBACK_BASE_URL": url,
            "RUNWARE_JOBS_POLL_MIN_INTERVAL_S": "60",  # nobody asks of himself
        }
        with running_worker(told, log=tmp_path / "worker.log"):
            job = jobs.enqueue(VIDEO, max_attempts=1)
            poll_until(lambda: job.refresh().finished_at, what="the job's end")
        shown = httpx.get(f"{url}/v1/jobs/{job.id}").text + httpx.get(f"{url}/v1/jobs/{job.id}/events").text
    said = "".join((tmp_path / name).read_text() for name in ("api.log", "worker.log"))

    assert job.state == ("failed" if fails else "succeeded")
    assert emulator.ledger()["requests"]["polls"] == 1
    assert (f"{PATH}... was not called" in shown) == fails
    assert re.findall(f"{PATH}[A-Za-z0-9_-]", shown + said) == []
