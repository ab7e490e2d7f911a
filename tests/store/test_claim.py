"""The claim: each job to one worker, as many as the limits allow, in an order that is fair."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from runware_jobs.core.decisions import SendOutcome, Sent, after_send
from runware_jobs.core.identity import task_uuid
from runware_jobs.core.states import JobState
from runware_jobs.steps.words import item_error
from runware_jobs.store import accounts
from runware_jobs.store.claims import claim
from runware_jobs.store.database import open_engine
from runware_jobs.store.moves import carry_out, lock_owned
from tests.support.queued import claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_attempts, read_counters, read_job, read_rows


def limits(max_in_flight=1000, max_requests_per_s=1e6, daily_limit_usd=None):
    return accounts.Limits(
        max_in_flight=max_in_flight, max_requests_per_s=max_requests_per_s, daily_limit_usd=daily_limit_usd
    )


async def hand_back(connection, owner, tasks, *, sent=Sent.BUSY):
    live = await lock_owned(connection, owner, tasks)
    moves = [after_send(one, SendOutcome(sent), classify=item_error, random=0.5) for one in live.values()]
    await carry_out(connection, moves)


async def make_due(connection):
    await change_rows(
        connection, "UPDATE job SET run_at = now() - interval '1 second' WHERE state = 'queued'"
    )


async def test_claimed_job_has_its_task_uuid_before_anything_is_sent(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [taken] = await claim_jobs(connection, owner)
        secret = await accounts.installation_secret(connection)
        [attempt] = await read_attempts(connection, job_id)
        job = await read_job(connection, job_id)

    assert task_uuid(secret, job_id, 1, 1) == taken.task_uuid == attempt["task_uuid"]
    assert ("sending", owner.id, owner.epoch) == (attempt["state"], attempt["owner_id"], attempt["epoch"])
    assert job["state"] == JobState.SUBMITTING
    assert attempt["send_before"] > attempt["submitted_at"]


async def test_many_workers_at_once_never_claim_one_job_twice(clean_database):
    engine = open_engine(clean_database, pool_size=6)
    async with engine.begin() as connection:
        owners = [await register_worker(connection) for _ in range(6)]
        jobs = await enqueue_jobs(connection, 300)

    async def work(owner):
        mine = []
        while True:
            async with engine.begin() as connection:
                taken = await claim_jobs(connection, owner, limit=7)
            if not taken:
                return mine
            mine += [job.job_id for job in taken]

    claimed = [job_id for mine in await asyncio.gather(*map(work, owners)) for job_id in mine]
    await engine.dispose()

    assert Counter(jobs) == Counter(claimed)


async def test_never_more_in_flight_than_the_account_may_have(engine):
    async with engine.begin() as connection:
        owners = [await register_worker(connection, limits=limits(5)) for _ in range(3)]
        await enqueue_jobs(connection, 20)

    async def work(owner):
        async with engine.begin() as connection:
            return await claim_jobs(connection, owner, limit=3)

    claimed = [job for taken in await asyncio.gather(*map(work, owners)) for job in taken]
    async with engine.begin() as connection:
        await hand_back(connection, owners[0], [job.task_uuid for job in claimed])
        counters = await read_counters(connection)

    assert len(claimed) == 5
    assert 5 - counters["account_in_flight"] == len(claimed) - counters["bucket_in_flight"]


async def test_high_priority_goes_first_then_tenants_in_turns_then_the_oldest(engine, owner):
    async with engine.begin() as connection:
        busy = await enqueue_jobs(connection, 3, tenant="busy")
        quiet = await enqueue_jobs(connection, 1, tenant="quiet")
        urgent = await enqueue_jobs(connection, 2, tenant="busy", priority=9)
        order = [(await claim_jobs(connection, owner, limit=1))[0].job_id for _ in range(6)]

    assert urgent == order[:2]
    assert set(quiet) < set(order[2:4])
    assert busy == [job_id for job_id in order if job_id in busy]


@pytest.mark.parametrize(
    ("label", "statement"),
    [
        ("account", "UPDATE account SET state = 'paused', pause_reason = 'quota'"),
        ("bucket", "UPDATE bucket SET state = 'paused', pause_reason = 'user'"),
        ("a job of tomorrow", "UPDATE job SET run_at = now() + interval '1 day'"),
        ("a job whose time is over", "UPDATE job SET deadline_at = now() - interval '1 second'"),
        ("a job too late to start", "UPDATE job SET start_deadline_at = now() - interval '1 second'"),
        ("no place", "UPDATE account SET in_flight = max_in_flight"),
    ],
)
async def test_nothing_is_claimed_past_a_stop(engine, owner, label, statement):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        await change_rows(connection, statement)
        claimed = await claim_jobs(connection, owner)

    assert list(claimed) == []


async def test_requests_come_no_faster_than_the_rate(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection, limits=limits(max_requests_per_s=0.01))
        await enqueue_jobs(connection, 3)
        await change_rows(connection, "INSERT INTO rate SELECT id, 1, clock_timestamp() FROM account")
        first = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)
        second = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)
        third = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5, has_turn=True)

    assert [len(one.jobs) for one in (first, second, third)] == [1, 0, 1]
    assert [one.wants_turn for one in (first, second, third)] == [False, True, False]


async def test_nobody_waits_for_a_turn_when_there_is_nothing_to_send(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection, limits=limits(max_requests_per_s=0.01))
        without_jobs = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)
        await enqueue_jobs(connection)
        await change_rows(connection, "UPDATE account SET in_flight = max_in_flight")
        without_room = await claim(connection, owner, secret=b"s", limit=1, send_window_s=5)

    assert not without_jobs.wants_turn
    assert not without_room.wants_turn


async def test_nobody_works_on_another_accounts_jobs(engine):
    async with engine.begin() as connection:
        await register_worker(connection, organisation="acme")
        await enqueue_jobs(connection)
        other = await register_worker(connection, organisation="other")
        claimed = await claim_jobs(connection, other)

    assert list(claimed) == []


async def test_handed_back_attempt_goes_out_again_under_the_same_uuid(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [first] = await claim_jobs(connection, owner)
        await hand_back(connection, owner, [first.task_uuid], sent=Sent.NOT_SENT)
        await make_due(connection)
        [second] = await claim_jobs(connection, owner)
        attempts = await read_attempts(connection, job_id)
        job = await read_job(connection, job_id)

    assert first.task_uuid == second.task_uuid
    assert [attempt["state"] for attempt in attempts] == ["sending"]
    assert job["attempts"] == 1


async def test_refused_attempt_is_followed_by_one_with_another_uuid(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [first] = await claim_jobs(connection, owner)
        await change_rows(
            connection,
            "UPDATE attempt SET state = 'ended', outcome = 'refused', finished_at = now(), owner_id = NULL, epoch = NULL",
        )
        await change_rows(connection, "UPDATE job SET state = 'queued'")
        [second] = await claim_jobs(connection, owner)
        attempts = await read_attempts(connection, job_id)

    assert first.task_uuid != second.task_uuid
    assert [attempt["number"] for attempt in attempts] == [1, 2]


async def test_second_live_attempt_of_a_job_is_impossible(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        await claim_jobs(connection, owner)
    with pytest.raises(IntegrityError, match="attempt_alive_idx"):
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "INSERT INTO attempt (task_uuid, job_id, run, number, account_id, state)"
                " SELECT gen_random_uuid(), job_id, run, 2, account_id, 'prepared' FROM attempt",
            )


async def test_process_whose_lease_has_lapsed_claims_nothing(engine, owner):
    """Others adopt what it owns at once, and would ask for a task that it has not sent yet."""
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        await change_rows(connection, "UPDATE process SET epoch = epoch + 1, stopped_at = now()")
        claimed = await claim_jobs(connection, owner)

    assert list(claimed) == []


async def test_start_deadline_means_the_first_start(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, start_deadline_s=60)
        await change_rows(
            connection,
            "UPDATE job SET submitted_at = now() - interval '2 minutes', attempts = 1,"
            " start_deadline_at = now() - interval '1 minute'",
        )
        [again] = await claim_jobs(connection, owner)

    assert job_id == again.job_id


async def test_daily_brake_lets_out_one_job_of_unknown_price_at_a_time(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection, limits=limits(daily_limit_usd=Decimal(1)))
        await enqueue_jobs(connection, 3)
        first = await claim_jobs(connection, owner)
        second = await claim_jobs(connection, owner)

    assert (len(first), len(second)) == (1, 0)


async def test_yesterdays_spend_does_not_count_today(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection, limits=limits(daily_limit_usd=Decimal(1)))
        await enqueue_jobs(connection)
        await change_rows(connection, "UPDATE account SET spent_usd = 5, spend_day = CURRENT_DATE - 1")
        claimed = await claim_jobs(connection, owner)
        rows = await read_rows(connection, "SELECT hold_usd FROM attempt")

    assert len(claimed) == 1
    assert rows == [{"hold_usd": None}]
