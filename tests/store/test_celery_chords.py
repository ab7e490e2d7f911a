"""Chords in the store: parts count once, whoever completes one has it, and the dead lose it."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.store import celery_chords as chords
from runware_jobs.store.plans import run_async
from tests.support.rows import change_rows, read_rows

BODY = '{"task": "app.body"}'


async def do(engine, plan):
    async with engine.begin() as connection:
        return await run_async(connection, plan)


def part(task_id, group_id="g", *, status="SUCCESS", position=None, result="1"):
    return {
        "group_id": group_id,
        "task_id": task_id,
        "position": position,
        "status": status,
        "result": result,
    }


async def add(engine, *parts, hold_s=60):
    return await do(engine, chords.add_parts(parts, hold_s=hold_s))


async def test_last_part_completes_and_results_stand_in_header_order(engine):
    await do(engine, chords.register_chord("g", ["a", "b", "c"], BODY))
    told = [await add(engine, part(task, result=f'"{task}"')) for task in "cab"]
    chord = await do(engine, chords.read_chord("g"))

    assert told == [[], [], ["g"]]
    assert [result for _, _, result in chord.parts] == ['"a"', '"b"', '"c"']
    assert chord.body == BODY


async def test_part_that_is_told_twice_counts_once(engine):
    await do(engine, chords.register_chord("g", ["a", "b"], BODY))

    assert await add(engine, part("a"), part("a", result="2")) == []
    assert await add(engine, part("a")) == []
    assert await add(engine, part("b")) == ["g"]


async def test_two_last_parts_at_once_complete_it_once(engine):
    names = [str(number) for number in range(20)]
    await do(engine, chords.register_chord("g", names, BODY))
    told = await asyncio.gather(*(add(engine, part(name)) for name in names))

    assert [group for groups in told for group in groups] == ["g"]


async def test_chord_of_the_dead_is_due_again_and_taken_by_one(engine):
    await do(engine, chords.register_chord("g", ["a"], BODY))
    await add(engine, part("a"))
    held = await do(engine, chords.claim_chords(limit=5, hold_s=60))
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE celery_chord SET due_at = now()")
    taken = await asyncio.gather(*(do(engine, chords.claim_chords(limit=5, hold_s=60)) for _ in range(4)))

    assert held == []
    assert [chord.group_id for chords_of_one in taken for chord in chords_of_one] == ["g"]


async def test_ended_chord_takes_no_part_and_keeps_none(engine):
    await do(engine, chords.register_chord("g", ["a"], BODY))
    await add(engine, part("a"))
    await do(engine, chords.end_chord("g"))
    late = await add(engine, part("a"), part("b"))
    async with engine.connect() as connection:
        rows = await read_rows(connection, "SELECT * FROM celery_chord_part")

    assert (late, rows) == ([], [])
    assert await do(engine, chords.read_chord("g")) is None


async def test_part_of_an_unknown_chord_is_dropped(engine):
    assert await add(engine, part("a", "nobody's")) == []


@pytest.mark.parametrize(("label", "size", "completes"), [("fewer", 1, ["g"]), ("more", 3, [])])
async def test_celery_may_count_otherwise_than_the_header(engine, label, size, completes):
    await do(engine, chords.register_chord("g", ["a", "b"], BODY))
    await do(engine, chords.resize_chord("g", size=size))
    first = await add(engine, part("a"))

    assert first == completes


async def test_header_may_grow_while_it_runs(engine):
    await do(engine, chords.register_chord("g", ["a"], BODY))
    for _ in range(2):
        await do(engine, chords.grow_chord("g", "b"))

    assert await add(engine, part("a")) == []
    assert await add(engine, part("b")) == ["g"]


async def test_chord_that_was_refused_stays_unregistered_and_is_said_once(engine):
    said = [await do(engine, chords.refuse_chord("g")) for _ in range(2)]
    await do(engine, chords.register_chord("known", ["a"], BODY))

    assert said == [True, False]
    assert await do(engine, chords.unregistered_chords(["g", "known", "new"])) == ["g", "new"]


async def test_registered_chord_is_never_refused_nor_registered_anew(engine):
    await do(engine, chords.register_chord("g", ["a"], BODY))
    await do(engine, chords.register_chord("g", ["a", "b"], "other"))

    assert await do(engine, chords.refuse_chord("g")) is False
    assert await add(engine, part("a")) == ["g"]
    assert (await do(engine, chords.read_chord("g"))).body == BODY
