"""What Celery sees of tasks: jobs from their rows, everything else as it was kept."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest

from runware_jobs.core.identity import new_job_id
from runware_jobs.store import celery_chords, celery_results
from runware_jobs.store.plans import run_async
from runware_jobs.store.pruning import prune_jobs
from tests.store.test_pruning import finish
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows

DAY_S = 86_400.0


async def read(connection, *task_ids):
    rows = await run_async(connection, celery_results.read_results(task_ids))
    return [{row["task_id"]: row for row in rows}[task_id] for task_id in task_ids]


async def keep(connection, task_id, status="SUCCESS", meta="{}"):
    row = {"task_id": task_id, "status": status, "meta": meta}
    await run_async(connection, celery_results.store_results([row]))


async def test_job_is_read_from_its_row_with_what_it_gave(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [queued] = await read(connection, str(job_id))
        await finish(connection, owner)
        [done] = await read(connection, str(job_id))

    assert (queued["state"], queued["results"]) == ("queued", None)
    assert (done["state"], done["results"][0]["imageURL"]) == ("succeeded", "u")


async def test_nothing_is_kept_of_a_task_that_is_a_job(engine):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        await keep(connection, str(job_id), "REVOKED")
        [row] = await read(connection, str(job_id))

    assert (row["state"], row["status"]) == ("queued", None)


async def test_other_tasks_are_kept_whatever_their_ids_are(engine):
    async with engine.begin() as connection:
        await keep(connection, "any text", "FAILURE", '{"a": "\\u0000"}')
        known, unknown, uuid = await read(connection, "any text", "nobody", str(uuid4()))

    assert (known["status"], known["meta"]) == ("FAILURE", '{"a": "\\u0000"}')
    assert {unknown["status"], unknown["state"], uuid["status"], uuid["state"]} == {None}


@pytest.mark.parametrize(("before", "after"), [("SUCCESS", "SUCCESS"), ("STARTED", "FAILURE")])
async def test_success_is_never_overwritten(engine, before, after):
    async with engine.begin() as connection:
        await keep(connection, "t", before)
        await keep(connection, "t", "FAILURE")
        [row] = await read(connection, "t")
        await run_async(connection, celery_results.forget_result("t"))
        [forgotten] = await read(connection, "t")

    assert (row["status"], forgotten["status"]) == (after, None)


async def test_task_that_found_its_job_there_shows_that_job(engine):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        task_id = str(uuid4())
        await run_async(connection, celery_results.point_to_job(task_id, job_id))
        [row] = await read(connection, task_id)

    assert (row["job_id"], row["state"]) == (job_id, "queued")


async def test_groups_are_saved_over_and_forgotten(engine):
    async with engine.begin() as connection:
        for meta in ("old", "new"):
            await run_async(connection, celery_results.save_group("g", meta))
        saved = await run_async(connection, celery_results.read_group("g"))
        await run_async(connection, celery_results.forget_group("g"))
        forgotten = await run_async(connection, celery_results.read_group("g"))

    assert (saved, forgotten) == ("new", None)


async def test_what_is_old_is_pruned_in_bounded_steps_but_a_waiting_chord(engine):
    async with engine.begin() as connection:
        for number in range(3):
            await keep(connection, f"old {number}")
        await run_async(connection, celery_results.save_group("g", "{}"))
        for group in ("ended", "waiting"):
            await run_async(connection, celery_chords.register_chord(group, ["a"], "{}"))
        await run_async(connection, celery_chords.end_chord("ended"))
        for table, column in (("celery_result", "updated_at"), ("celery_group", "updated_at")):
            await change_rows(connection, f"UPDATE {table} SET {column} = now() - make_interval(days => 40)")
        await change_rows(
            connection,
            "UPDATE celery_chord SET created_at = now() - make_interval(days => 40),"
            " ended_at = ended_at - make_interval(days => 40)",
        )
        await keep(connection, "young")
        removed = [
            await run_async(connection, celery_results.prune_celery(older_than_s=30 * DAY_S, limit=2))
            for _ in range(3)
        ]
        [young] = await read(connection, "young")
        waiting = await run_async(connection, celery_chords.unregistered_chords(["ended", "waiting"]))

    assert removed == [4, 1, 0]
    assert young["status"] == "SUCCESS"
    assert waiting == ["ended"]


async def test_result_of_a_job_goes_with_the_job(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        await finish(connection, owner)
        await change_rows(connection, "DELETE FROM outbox")
        await prune_jobs(connection, older_than_s=-1, limit=9)
        [row] = await read(connection, str(job_id))

    assert (row["state"], row["status"]) == (None, None)


def test_forked_child_opens_connections_of_its_own(clean_database):
    session = celery_results.CelerySession(clean_database)
    session.run(celery_results.save_group("g", "the parent's"))
    child = os.fork()
    if child == 0:
        try:
            session.run(celery_results.save_group("g", "the child's"))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert session.run(celery_results.read_group("g")) == "the child's"


def test_id_that_no_job_could_have_is_none():
    job_id = new_job_id()

    assert celery_results.job_id_of(job_id.hex.upper()) == str(job_id)
    assert celery_results.job_id_of("task-7") is None
