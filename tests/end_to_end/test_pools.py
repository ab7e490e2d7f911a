"""Each pool of Celery that can hold our loop: one loop per process, started after any fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from celery import Celery

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}
CLASSES = {"prefork": "prefork:TaskPool", "solo": "solo:TaskPool", "threads": "thread:TaskPool"}
LOOPS = {"prefork": 4, "solo": 1, "threads": 1}


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads"])
def test_a_job_goes_through_a_worker_with_pool(
    pool: str, environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    asking = Celery(broker=environment["RUNWARE_JOBS_BROKER_URL"], set_as_current=False)
    with running_worker(environment, log=tmp_path / "worker.log", pool=pool, is_spawned=True):
        job = jobs.enqueue(IMAGE).wait(30)
        stats = poll_until(lambda: asking.control.inspect(timeout=2).stats(), what="the worker's stats")
        loops = poll_until(
            lambda: (count := _loops(environment)) >= LOOPS[pool] and count, what="every loop with its lease"
        )

    assert job.state == "succeeded"
    [told] = stats.values()
    assert told["pool"]["implementation"].endswith(CLASSES[pool])
    assert loops == LOOPS[pool]


def _loops(environment: dict[str, str]) -> int:
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        [count] = connection.execute("SELECT count(*) FROM runware_jobs.process").fetchone() or (0,)
    return int(count)
