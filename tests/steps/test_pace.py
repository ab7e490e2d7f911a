"""Pace: whoever asks the platform waits for a turn, over all processes of the account."""

from __future__ import annotations

import asyncio
import time

import pytest

from runware_jobs.steps.pace import Pace
from runware_jobs.store.accounts import Limits
from tests.support.queued import register_worker
from tests.support.rows import read_rows


async def account_with(engine, rate):
    async with engine.begin() as connection:
        owner = await register_worker(
            connection, limits=Limits(max_in_flight=1, max_requests_per_s=rate, daily_limit_usd=None)
        )
    return owner.account_id


async def test_turns_of_several_processes_never_exceed_the_rate_and_use_it(engine):
    account_id = await account_with(engine, 40)
    paces = [Pace(engine, account_id) for _ in range(3)]
    turns: list[float] = []
    until = time.monotonic() + 1.5

    async def ask(pace):
        while time.monotonic() < until:
            await pace.turn()
            turns.append(time.monotonic())

    # Two that ask at once in each process, as polls and submits do.
    await asyncio.gather(*(ask(pace) for pace in paces * 2))
    turns = sorted(turn for turn in turns if turn < until)
    windows = [sum(1 for other in turns if turn <= other < turn + 0.5) for turn in turns]

    assert max(windows) <= 0.5 * 40 + 1
    assert len(turns) >= 0.8 * 1.5 * 40


async def test_whoever_asked_first_goes_first(engine):
    account_id = await account_with(engine, 100)
    pace = Pace(engine, account_id)
    order: list[int] = []

    async def ask(number):
        await pace.turn()
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(ask(number))

    assert order == list(range(8))


async def test_plenty_of_turns_cost_a_write_for_many(engine):
    account_id = await account_with(engine, 10_000)
    pace = Pace(engine, account_id)
    writes = set()
    for _ in range(300):
        await pace.turn()
        async with engine.connect() as connection:
            [row] = await read_rows(connection, "SELECT xmin::text AS by FROM account")
        writes.add(row["by"])

    assert len(writes) <= 150


async def test_turn_given_back_is_the_next_ones_and_does_not_keep(engine):
    account_id = await account_with(engine, 0.001)
    now = 0.0
    pace = Pace(engine, account_id, clock=lambda: now)
    pace.give_back(0.0)

    assert await pace.turn() == 0.0

    pace.give_back(0.0)
    now = 1.0

    assert pace.take() is None


async def test_turn_given_back_shortens_the_wait_of_whoever_is_next(engine):
    account_id = await account_with(engine, 0.001)
    pace = Pace(engine, account_id)
    waiting = asyncio.ensure_future(pace.turn())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.05)
    pace.give_back(time.monotonic())

    assert await asyncio.wait_for(waiting, 5)
