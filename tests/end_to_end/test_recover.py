"""A database restored from a copy that was made in mid-run: every job ends, and none is paid twice."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.cli.commands import Commands
from tests.support.copies import Copy
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

JOBS = 80
DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}


@pytest.mark.parametrize(
    ("label", "switches"),
    [
        ("everything is remembered", {}),
        (
            "results are forgotten within seconds, the archive has them",
            {"retention_s": 300, "conflict": "running"},
        ),
        (
            "unknown is an error, conflict lasts while it runs",
            {"unknown_task": "error", "conflict": "running"},
        ),
    ],
)
def test_restored_from_a_copy_of_mid_run_each_job_is_paid_once(
    label: str,
    switches: dict[str, object],
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    emulator.configure(latencies={"image": [100, 300]}, switches=switches)  # one to three seconds
    # Some fail for a reason that passes and go on to another attempt after the copy.
    emulator.inject(
        {
            "on": "submit",
            "rate": 0.2,
            "seed": 7,
            "count": 10,
            "action": {"kind": "item_error", "code": "timeoutProvider"},
        }
    )
    told = environment | {"RUNWARE_JOBS_SUBMIT_GROUP_SIZE": "8", "RUNWARE_JOBS_MAX_IN_FLIGHT": "24"}
    batch = jobs.enqueue_many(
        [{"positivePrompt": f"street {number}"} for number in range(JOBS)], name="r", defaults=DEFAULTS
    )
    with running_worker(told, log=tmp_path / "first.log"):
        poll_until(lambda: batch.refresh().counts.get("succeeded", 0) >= 5, what="some have ended")
        copy = Copy(environment["RUNWARE_JOBS_DATABASE_URL"])
        poll_until(lambda: batch.refresh().counts.get("succeeded", 0) >= JOBS // 2, what="half have ended")
    copy.restore()
    at_the_copy = batch.refresh().counts

    seen = poll_until(lambda: _recover(tmp_path, told, copy), what="recovered", within_s=60)
    again = _recover(tmp_path, told, copy)
    with running_worker(told, log=tmp_path / "second.log"):
        batch.wait(90)

    ledger = emulator.ledger()
    ended = jobs.list(batch=batch.id, limit=500)
    accepted = {uuid for uuid, task in ledger["tasks"].items() if task["accepted"]}
    assert at_the_copy.get("queued", 0) > 0
    assert (seen["is_resumed"], again["is_resumed"], again["found"]) == (True, True, 0)
    assert seen["found"] > 0
    assert batch.counts == {"succeeded": JOBS}
    assert [task for task in ledger["tasks"].values() if task["accepted"] > 1] == []
    assert accepted == {attempt["task_uuid"] for job in ended for attempt in job.attempts}
    assert Decimal(ledger["totals"]["billed_usd"]) == sum(
        (job.cost_usd or Decimal(0) for job in ended), Decimal(0)
    )


def _recover(folder: Path, told: dict[str, str], copy: Copy) -> dict[str, object]:
    done = Commands(folder, told).run("recover", "--since", copy.taken_at.isoformat(), "--json")
    if "workers are alive" in done.stderr:
        return {}  # the lease of the worker that the copy knows has not lapsed yet
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
