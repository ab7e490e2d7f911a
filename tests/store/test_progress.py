"""Progress is written without a move: only where the task is ours and under way, and waiting for nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runware_jobs.store.progress import write_progress
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import change_rows, read_job


@pytest.fixture
async def running(engine, owner):
    """A job that the platform works on: its id, and its task's."""
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
    return job_id, job.task_uuid


async def test_progress_is_the_jobs_and_is_told_once(engine, owner, running):
    job_id, task = running
    async with engine.begin() as connection:
        first = await write_progress(connection, owner, {task: 40})
        again = await write_progress(connection, owner, {task: 40})
        job = await read_job(connection, job_id)

    assert (first, again) == ({job_id: 40}, {})
    assert (job["progress"], job["state"]) == (40, "running")


@pytest.mark.parametrize(
    "since_then",
    [
        "UPDATE attempt SET epoch = epoch + 1",
        "UPDATE job SET run = run + 1",
        "UPDATE job SET state = 'canceled', finished_at = now()",
        "UPDATE attempt SET state = 'ended', outcome = 'lost', finished_at = now()",
    ],
)
async def test_progress_of_a_task_that_is_not_the_jobs_any_more_is_left_alone(
    engine, owner, running, since_then
):
    _, task = running
    async with engine.begin() as connection:
        await change_rows(connection, since_then)
        told = await write_progress(connection, owner, {task: 40})

    assert told == {}


async def test_progress_of_another_owner_is_left_alone(engine, owner, running):
    _, task = running
    async with engine.begin() as connection:
        assert await write_progress(connection, replace(owner, id=owner.id + 1), {task: 40}) == {}


async def test_progress_waits_for_no_move(engine, owner, running):
    _, task = running
    async with engine.connect() as moving, engine.begin() as connection:
        await change_rows(moving, "SELECT id FROM job FOR UPDATE")
        await change_rows(connection, "SET LOCAL lock_timeout = '10s'")
        told = await write_progress(connection, owner, {task: 40})

    assert told == {}
