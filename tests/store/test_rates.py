"""The account's rate: turns are spaced evenly, whoever asks, and nothing is saved up."""

from __future__ import annotations

import pytest

from runware_jobs.store.accounts import Limits
from runware_jobs.store.claims import claim
from runware_jobs.store.rates import PACE, reserve_turns
from tests.support.queued import enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_rows


async def account_with(connection, rate):
    limits = Limits(max_in_flight=1000, max_requests_per_s=rate, daily_limit_usd=None)
    owner = await register_worker(connection, limits=limits)
    # A whole idle minute lies behind it.
    await change_rows(
        connection, "INSERT INTO rate SELECT id, 1, clock_timestamp() - interval '60 s' FROM account"
    )
    return owner


async def test_turns_follow_each_other_at_the_rate_also_after_an_idle_minute(engine):
    async with engine.begin() as connection:
        owner = await account_with(connection, 0.5)
        waits_s = [wait_s for _ in range(4) for wait_s in await reserve_turns(connection, owner.account_id)]

    gap_s = 1 / (0.5 * PACE)
    assert waits_s == pytest.approx([0, gap_s, 2 * gap_s, 3 * gap_s], abs=0.3)


async def test_scarce_turns_come_singly_and_plenty_in_slices_of_a_few_hundredths_of_a_second(engine):
    async with engine.begin() as connection:
        owner = await account_with(connection, 5)
        scarce = await reserve_turns(connection, owner.account_id)
        await change_rows(connection, "UPDATE account SET max_requests_per_s = 1000")
        plenty = await reserve_turns(connection, owner.account_id)

    assert len(scarce) == 1
    assert len(plenty) == 20
    assert plenty[-1] - plenty[0] == pytest.approx(19 / (1000 * PACE), abs=0.002)


async def test_claim_and_turns_are_paid_from_one_bucket(engine):
    async with engine.begin() as connection:
        owner = await account_with(connection, 0.5)
        await enqueue_jobs(connection, 3)
        first = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)
        [wait_s] = await reserve_turns(connection, owner.account_id)
        late = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)
        [before] = await read_rows(connection, "SELECT tokens FROM rate")
        await claim(connection, owner, secret=b"s", limit=1, send_window_s=5, has_turn=True)
        [after] = await read_rows(connection, "SELECT tokens FROM rate")

    assert (len(first.jobs), len(late.jobs)) == (1, 0)
    assert wait_s == pytest.approx(1 / (0.5 * PACE), abs=0.3)
    assert before == after  # a turn is paid for already
