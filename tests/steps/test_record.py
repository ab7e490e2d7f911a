"""Record: what the database refuses of one attempt costs nobody else an answer."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from runware_jobs.core.answers import Answer
from runware_jobs.core.decisions import after_answer
from runware_jobs.steps.record import record
from runware_jobs.steps.submit import claim_group
from runware_jobs.steps.words import item_error
from tests.steps.test_submit_and_poll import added
from tests.support.rows import change_rows, read_rows

# What nobody foresaw: our own checks let it pass, and the database does not.
REFUSED_URL = "https://a.example/refused"


@pytest.fixture(autouse=True)
async def refusing(engine):
    """A database that does not take one kind of result."""
    async with engine.begin() as connection:
        await change_rows(
            connection,
            f"ALTER TABLE result ADD CONSTRAINT nobody_foresaw CHECK (item ->> 'imageURL' <> '{REFUSED_URL}')",
        )
    yield
    async with engine.begin() as connection:
        await change_rows(connection, "ALTER TABLE result DROP CONSTRAINT nobody_foresaw")


async def claimed(engine, context, *, count):
    await added(engine, count, params={"numberResults": 2})
    return [job.task_uuid for job in (await claim_group(context)).claim.jobs]


def told(bad, live):
    """Decide on an answer with two results."""
    url = REFUSED_URL if live.task_uuid in bad else "https://a.example/1"
    item = {"status": "success", "cost": 0.01, "imageURL": url}
    items = tuple({**item, "imageUUID": f"{live.task_uuid} {n}"} for n in "ab")
    return after_answer(live, Answer(items), classify=item_error, random=0.5)


async def found(engine):
    """Give the attempts by their state, each with how many results it has."""
    async with engine.connect() as connection:
        rows = await read_rows(
            connection,
            "SELECT task_uuid, state, owner_id IS NOT NULL AS owned,"
            " (SELECT count(*) FROM result WHERE result.task_uuid = attempt.task_uuid) AS results FROM attempt",
        )
    return {row["task_uuid"]: (row["state"], row["owned"], row["results"]) for row in rows}


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_attempt_that_the_database_refuses_does_not_hold_up_its_group(engine, emulator, workers, place):
    async with workers() as context:
        tasks = await claimed(engine, context, count=7)
        bad = tasks[place]
        with capture_logs() as logs:
            moves = await record(context, tasks, partial(told, {bad}))
    rows = await found(engine)

    assert set(moves) == set(tasks) - {bad}
    assert rows.pop(bad) == ("sending", True, 0)
    assert set(rows.values()) == {("ended", False, 2)}
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["task_uuid"], "nobody_foresaw" in line["error"]) == (str(bad), True)


async def test_attempt_that_is_refused_alone_is_told_and_left_as_it_was(engine, emulator, workers):
    async with workers() as context:
        [task] = await claimed(engine, context, count=1)
        with capture_logs() as logs:
            moves = await record(context, [task], partial(told, {task}))

    assert moves == {}
    assert await found(engine) == {task: ("sending", True, 0)}
    assert [line["task_uuid"] for line in logs if line["log_level"] == "error"] == [str(task)]


async def test_database_that_refuses_every_attempt_is_no_fault_of_one_of_them(engine, emulator, workers):
    async with workers() as context:
        tasks = await claimed(engine, context, count=3)
        with pytest.raises(DBAPIError):
            await record(context, tasks, partial(told, set(tasks)))

    assert set((await found(engine)).values()) == {("sending", True, 0)}
