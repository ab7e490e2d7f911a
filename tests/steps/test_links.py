"""What follows a job that came as a Celery task: each thing leaves once, whatever is wrong with another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from runware_jobs.steps.announce import announce
from runware_jobs.steps.cancel import cancel
from runware_jobs.store import celery_chords
from runware_jobs.store.plans import run_async
from tests.steps.test_submit_and_poll import added
from tests.support.rows import change_rows, read_rows

ERRBACKS = [{"task": "app.first"}, {"task": "app.second"}]


@dataclass
class Celery:
    """The side of Celery: keeps what it is asked to publish, and fails where it was told to."""

    fails: dict[str, Exception] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    chords: list[tuple[str, list[str]]] = field(default_factory=list)

    def go_on(self, message, ended):
        if message.key in self.fails:
            raise self.fails[message.key]
        self.said.append(message.key)

    def end_chord(self, chord):
        if "chord" in self.fails:
            raise self.fails["chord"]
        self.chords.append((chord.group_id, [status for _, status, _ in chord.parts]))


async def canceled(engine, **canvas):
    """A job that came from Celery, and was canceled."""
    [job_id] = await added(engine, canvas={"id": "t", "task": "runware_jobs.run", **canvas})
    async with engine.begin() as connection:
        await cancel(connection, job_id, tenant=None)
    return job_id


async def rows_of(engine, statement="SELECT * FROM outbox ORDER BY id"):
    async with engine.connect() as connection:
        return await read_rows(connection, statement)


async def hurry(engine, table="outbox"):
    async with engine.begin() as connection:
        await change_rows(connection, f"UPDATE {table} SET due_at = now()")


async def test_everything_leaves_once_and_the_row_goes(engine, emulator, workers):
    celery = Celery()
    async with workers() as context:
        await canceled(engine, errbacks=ERRBACKS)
        for _ in range(3):
            await announce(replace(context, celery=celery))

    assert celery.said == ["errback-0", "errback-1", "event"]
    assert await rows_of(engine) == []


@pytest.mark.parametrize(
    ("label", "error", "then_left"),
    [
        ("one is broken: the others leave", KeyError("task"), ["errback-1", "event"]),
        ("the broker is away: nothing is tried in vain", ConnectionError("away"), []),
    ],
)
async def test_what_has_left_is_noted_and_does_not_leave_again(
    engine, emulator, workers, label, error, then_left
):
    celery = Celery(fails={"errback-0": error})
    async with workers() as opened:
        context = replace(opened, celery=celery)
        await canceled(engine, errbacks=ERRBACKS)
        await announce(context)
        first, [row] = list(celery.said), await rows_of(engine)
        celery.fails.clear()
        await hurry(engine)
        await announce(context)

    assert (first, row["attempts"], row["is_dead"]) == (then_left, 1, False)
    assert sorted(celery.said) == ["errback-0", "errback-1", "event"]
    assert await rows_of(engine) == []


async def test_broken_link_is_kept_dead_after_a_day_and_blocks_nobody(engine, emulator, workers):
    celery = Celery(fails={"errback-0": KeyError("task")})
    async with workers() as opened:
        context = replace(opened, celery=celery)
        await canceled(engine, errbacks=ERRBACKS[:1])
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "WITH older AS (UPDATE event SET created_at = created_at - make_interval(days => 2)"
                " RETURNING id, created_at) UPDATE outbox SET event_created_at = older.created_at"
                " FROM older WHERE older.id = outbox.event_id",
            )
        await canceled(engine)
        await announce(context)
        rows = await rows_of(engine)

    assert celery.said == ["event", "event"]
    assert [(row["is_dead"], row["sent"]) for row in rows] == [(True, ["event"])]


async def test_job_that_ends_is_a_part_of_its_chord_and_the_chord_ends(engine, emulator, workers):
    celery = Celery(fails={"chord": ConnectionError("away")})
    async with workers() as opened:
        context = replace(opened, celery=celery)
        async with engine.begin() as connection:
            await run_async(connection, celery_chords.register_chord("g", ["t"], "{}"))
        await canceled(engine, group="g", group_index=0, is_chord_part=True)
        await announce(context)
        [waiting] = await rows_of(engine, "SELECT * FROM celery_chord")
        celery.fails.clear()
        await hurry(engine, "celery_chord")
        await announce(context)
        await announce(context)
        [ended] = await rows_of(engine, "SELECT * FROM celery_chord")

    assert (waiting["ended_at"], waiting["due_at"] is not None) == (None, True)
    assert ended["ended_at"] is not None
    assert celery.chords == [("g", ["REVOKED"])]


async def test_tasks_behind_a_job_that_did_not_succeed_are_told_so(engine, emulator, workers):
    async with workers() as context:
        await canceled(engine, chain=[{"task": "app.next", "options": {"task_id": "next"}}])
        await announce(replace(context, celery=Celery()))
        rows = await rows_of(engine, "SELECT task_id, status FROM celery_result")

    assert rows == [{"task_id": "next", "status": "REVOKED"}]


async def test_process_without_celery_leaves_it_to_one_that_has_it(engine, emulator, workers):
    celery = Celery()
    async with workers() as context:
        await canceled(engine)
        await announce(context)
        kept = len(await rows_of(engine))
        await hurry(engine)
        await announce(replace(context, celery=celery))

    assert (kept, celery.said) == (1, ["event"])
