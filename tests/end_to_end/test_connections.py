"""A worker process holds a handful of connections to Postgres, however much it has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "width": 512, "height": 512}
OPEN = """SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'runware-jobs-worker'"""


def test_a_busy_worker_has_at_most_three_connections(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": [50, 300]})
    batch = jobs.enqueue_many(({"positivePrompt": f"heron {n}"} for n in range(400)), defaults=IMAGE)
    seen: set[int] = set()

    with (
        psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"], autocommit=True) as connection,
        running_worker(environment, log=tmp_path / "worker.log"),
    ):

        def has_ended() -> bool:
            seen.update(count for (count,) in connection.execute(OPEN))
            return batch.refresh().finished == 400

        poll_until(has_ended, what="every job final", within_s=60)

    assert max(seen) == 3
