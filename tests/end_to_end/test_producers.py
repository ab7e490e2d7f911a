"""Producers as programs: they end, they fork, they join their caller's transaction."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy

from runware_jobs.store.database import sync_url

if TYPE_CHECKING:
    from runware_jobs import Jobs

pytestmark = pytest.mark.slow

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}

NEVER_CLOSED = """
from runware_jobs import Jobs
jobs = Jobs()
print(jobs.enqueue({"model": "runware:400@1", "positivePrompt": "a heron"}).id)
"""

FORKED = """
import os
from runware_jobs import Jobs
jobs = Jobs()
jobs.enqueue({"model": "runware:400@1", "positivePrompt": "the parent's"})
child = os.fork()
if child == 0:
    print(jobs.enqueue({"model": "runware:400@1", "positivePrompt": "the child's"}).id, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(jobs.enqueue({"model": "runware:400@1", "positivePrompt": "the parent's again"}).id)
"""


@pytest.mark.parametrize(
    ("program", "count"), [(NEVER_CLOSED, 1), (FORKED, 3)], ids=["never closed", "forked"]
)
def test_a_program_ends_with_its_jobs_committed(
    program: str, count: int, environment: dict[str, str], jobs: Jobs
) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert len(jobs.list()) == count
    assert set(ran.stdout.split()) <= {job.id for job in jobs.list()}


def test_a_job_exists_exactly_when_its_callers_transaction_commits(
    environment: dict[str, str], jobs: Jobs
) -> None:
    url = environment["RUNWARE_JOBS_DATABASE_URL"]
    engine = sqlalchemy.create_engine(sync_url(url))
    with engine.connect() as connection:
        jobs.enqueue(IMAGE, session=connection, tags=["rolled back"])
        connection.rollback()
        kept = jobs.enqueue(IMAGE, session=connection, tags=["kept"])
        assert jobs.list() == []
        connection.commit()
    engine.dispose()
    with psycopg.connect(url) as connection:
        also = jobs.enqueue(IMAGE, session=connection, idempotency_key="k1")

    assert {job.id for job in jobs.list()} == {kept.id, also.id}
    assert jobs.enqueue(IMAGE, idempotency_key="k1").id == also.id
