"""A Celery task is taken in when what it asks for can be kept, and refused otherwise."""

from __future__ import annotations

from uuid import uuid4

import pytest

from runware_jobs.core.request import Options, make_job
from runware_jobs.errors import IdempotencyConflict, InvalidJob
from runware_jobs.options import read_options
from runware_jobs.settings import Settings
from runware_jobs.steps.celery_intake import note_replay, require_chords
from runware_jobs.store import celery_chords, celery_results
from runware_jobs.store.plans import run_async
from tests.steps.test_submit_and_poll import added
from tests.support.queued import LIGHTHOUSE

BODY = {"task": "app.body"}


async def test_part_of_a_chord_that_is_registered_here_is_taken(engine):
    async with engine.begin() as connection:
        await run_async(connection, celery_chords.register_chord("g", ["a"], "{}"))

    await require_chords(engine, {"group": "g", "chord": BODY})
    await require_chords(engine, {"group": "not a chord's"})


@pytest.mark.parametrize(
    ("label", "request_"),
    [
        ("a part", {"group": "elsewhere", "chord": BODY}),
        ("a part without a group", {"chord": BODY}),
        ("a chain that ends as a part", {"chain": [{"options": {"chord": BODY, "group_id": "elsewhere"}}]}),
    ],
)
async def test_part_of_a_chord_of_another_backend_is_refused_with_the_remedy(engine, label, request_):
    with pytest.raises(InvalidJob, match=r'result_backend = "runware_jobs\+postgresql://') as refused:
        await require_chords(engine, request_)

    assert refused.value.parameter == "chord"


async def test_task_under_a_spent_key_shows_the_job_that_is_there(engine):
    [job_id] = await added(engine)
    task_id = str(uuid4())
    await note_replay(engine, task_id, str(job_id), {})
    async with engine.connect() as connection:
        [row] = await run_async(connection, celery_results.read_results([task_id]))

    assert row["job_id"] == job_id


async def test_task_under_a_spent_key_that_something_follows_is_refused(engine):
    [job_id] = await added(engine)
    with pytest.raises(IdempotencyConflict, match=str(job_id)):
        await note_replay(engine, str(uuid4()), str(job_id), {"callbacks": [BODY]})

    await note_replay(engine, job_id.hex.upper(), str(job_id), {"callbacks": [BODY]})  # the same job


def test_canvas_is_no_option_that_a_producer_gives():
    with pytest.raises(InvalidJob, match="canvas"):
        read_options({"canvas": {}}, Settings())


def test_canvas_that_the_database_could_not_hold_is_refused():
    with pytest.raises(InvalidJob, match="NUL"):
        make_job(uuid4(), "run", LIGHTHOUSE, Options(canvas={"chain": ["a\x00b"]}))
