"""Leases: who follows an attempt, who may take it over, and when; and batches, which complete once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from runware_jobs.store import processes
from runware_jobs.store.batches import complete_batches, create_batch, read_batch, seal_batch
from runware_jobs.store.database import ensure_event_partitions
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_attempts, read_rows

LEASE_S = 60.0


async def adopt(connection, owner, *, limit=100):
    return await processes.adopt(connection, owner, lease_s=LEASE_S, limit=limit)


async def let_lapse(connection, owner):
    await change_rows(
        connection, "UPDATE process SET heartbeat_at = now() - interval '61 s' WHERE id = :id", id=owner.id
    )
    await let_fence_pass(connection)


async def let_fence_pass(connection):
    await change_rows(
        connection, "UPDATE attempt SET send_before = now() - interval '1 s' WHERE state = 'sending'"
    )


@pytest.fixture
async def successor(engine, owner):
    async with engine.begin() as connection:
        return await register_worker(connection)


async def under_way(connection, owner, *, accepted):
    [job_id] = await enqueue_jobs(connection)
    [job] = await claim_jobs(connection, owner)
    if accepted:
        await accept_tasks(connection, owner, [job.task_uuid])
    return job_id, job.task_uuid


async def test_nothing_of_a_live_process_is_taken(engine, owner, successor):
    async with engine.begin() as connection:
        await under_way(connection, owner, accepted=True)
        await under_way(connection, owner, accepted=False)

        assert await adopt(connection, successor) == []


@pytest.mark.parametrize(("accepted", "state"), [(True, "accepted"), (False, "unclear")])
async def test_attempt_of_a_lapsed_process_goes_to_its_successor(engine, owner, successor, accepted, state):
    async with engine.begin() as connection:
        job_id, task = await under_way(connection, owner, accepted=accepted)
        await let_lapse(connection, owner)
        [adopted] = await adopt(connection, successor)
        [attempt] = await read_attempts(connection, job_id)
        again = await adopt(connection, successor)

    assert (task, state) == (adopted.task_uuid, adopted.state)
    assert (successor.id, successor.epoch, state) == (
        attempt["owner_id"],
        attempt["epoch"],
        attempt["state"],
    )
    assert again == []


async def test_lapsed_process_is_told_and_takes_a_new_lease(engine, owner, successor):
    async with engine.begin() as connection:
        alive = await processes.heartbeat(connection, owner, clocks=2)
        await let_lapse(connection, owner)
        await adopt(connection, successor)
        lapsed = await processes.heartbeat(connection, owner, clocks=2)
        fresh = await processes.register_again(connection, owner)
        renewed = await processes.heartbeat(connection, fresh, clocks=2)

    assert (alive, lapsed, renewed) == (True, None, True)
    assert fresh.id != owner.id


async def test_late_process_that_nobody_noticed_keeps_its_lease(engine, owner):
    async with engine.begin() as connection:
        await let_lapse(connection, owner)

        assert await processes.heartbeat(connection, owner, clocks=2)
        assert await adopt(connection, owner) == []


async def test_what_is_given_back_is_free_at_once(engine, owner, successor):
    async with engine.begin() as connection:
        accepted = await under_way(connection, owner, accepted=True)
        sending = await under_way(connection, owner, accepted=False)
        await processes.give_back(connection, owner)
        [at_once] = await adopt(connection, successor)
        await let_fence_pass(connection)
        [later] = await adopt(connection, successor)

    assert (accepted[1], "accepted") == (at_once.task_uuid, at_once.state)
    assert (sending[1], "unclear") == (later.task_uuid, later.state)


async def test_claim_in_the_last_moment_of_a_lease_is_not_settled_before_its_send_is_over(
    engine, owner, successor
):
    """Its send may still leave: a resend beside it could be the first of two tasks."""
    async with engine.begin() as connection:
        _, task = await under_way(connection, owner, accepted=False)
        await change_rows(connection, "UPDATE process SET heartbeat_at = now() - interval '61 s'")
        await processes.heartbeat(connection, successor, clocks=2)
        before = await adopt(connection, successor)
        await let_fence_pass(connection)
        [after] = await adopt(connection, successor)

    assert (before, task) == ([], after.task_uuid)


async def test_stuck_send_of_a_live_process_is_settled_after_the_fence(engine, owner):
    """Its claim's commit was lost on the way back: the process does not know that it has it."""
    async with engine.begin() as connection:
        job_id, task = await under_way(connection, owner, accepted=False)
        await change_rows(connection, "UPDATE attempt SET send_before = now() - interval '61 s'")
        [adopted] = await adopt(connection, owner)
        [attempt] = await read_attempts(connection, job_id)

    assert (task, "unclear") == (adopted.task_uuid, adopted.state)
    assert attempt["settlement"][0]["step"] == "adopt"


async def test_a_process_finds_again_what_it_has_lost_sight_of(engine, owner, successor):
    """An adoption whose commit was not answered leaves attempts that are ours and in no memory."""
    async with engine.begin() as connection:
        _, task = await under_way(connection, owner, accepted=True)
        mine = await processes.owned(connection, owner)
        others = await processes.owned(connection, successor)

    assert [(found.task_uuid, found.state) for found in mine] == [(task, "accepted")]
    assert others == []


async def test_two_successors_take_each_attempt_once(engine, owner):
    async with engine.begin() as connection:
        others = [await register_worker(connection) for _ in range(3)]
        await enqueue_jobs(connection, 40)
        jobs = await claim_jobs(connection, owner)
        await let_lapse(connection, owner)

    async def take(other):
        async with engine.begin() as connection:
            return await adopt(connection, other, limit=20)

    adopted = [one.task_uuid for taken in await asyncio.gather(*map(take, others)) for one in taken]

    assert len(adopted) == len(set(adopted))
    assert set(adopted) <= {job.task_uuid for job in jobs}
    assert adopted


async def test_another_accounts_attempts_are_left_alone(engine, owner):
    async with engine.begin() as connection:
        await under_way(connection, owner, accepted=True)
        await let_lapse(connection, owner)
        other = await register_worker(connection, organisation="other")

        assert await adopt(connection, other) == []


async def test_only_so_many_processes_work_and_one_takes_a_free_seat(engine):
    async with engine.begin() as connection:
        first, second, third = [await register_worker(connection) for _ in range(3)]
        seats = [await processes.heartbeat(connection, one, clocks=2) for one in (first, second, third)]
        await processes.give_back(connection, first)
        after = await processes.heartbeat(connection, third, clocks=2)

    assert seats == [True, True, False]
    assert after is True


async def batch_of(connection, jobs):
    batch_id = uuid4()
    await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    if jobs:
        await enqueue_jobs(connection, jobs, batch_id=batch_id)
    await seal_batch(connection, batch_id)
    return batch_id


async def test_batch_completes_once_whoever_looks(engine):
    async with engine.begin() as connection:
        batch_id = await batch_of(connection, 2)
        early = await complete_batches(connection)
        await change_rows(connection, "UPDATE job SET state = 'canceled', finished_at = now()")

    async def look():
        async with engine.begin() as connection:
            return await complete_batches(connection)

    found = await asyncio.gather(look(), look(), look())
    async with engine.connect() as connection:
        events = await read_rows(connection, "SELECT data FROM event WHERE type = 'batch.completed'")
        batch = await read_batch(connection, batch_id, tenant="default")

    assert early == []
    assert [batch_id] == [one for looked in found for one in looked]
    assert events == [{"data": {"canceled": 2}}]
    assert batch["finished_at"] is not None


async def test_batch_without_jobs_completes_and_keeps_no_other_from_it(engine):
    async with engine.begin() as connection:
        batch_id = await batch_of(connection, 0)

        assert [batch_id] == await complete_batches(connection)


async def test_open_batch_does_not_complete_before_its_producer_is_done(engine):
    async with engine.begin() as connection:
        await create_batch(connection, uuid4(), tenant="default", name="", budget_usd=None)

        assert await complete_batches(connection) == []


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Kiritimati"])
async def test_partitions_are_the_same_months_wherever_a_session_is(engine, zone):
    async with engine.connect() as connection:
        await connection.execute(text(f"SET LOCAL TIME ZONE '{zone}'"))
        await connection.run_sync(lambda sync: ensure_event_partitions(sync, months_ahead=5))
        await connection.rollback()


async def test_month_whose_events_are_in_the_default_partition_is_left_there(engine):
    """Nobody has made partitions for half a year: what was written meanwhile must not stop the next migrate."""
    async with engine.connect() as connection:
        await change_rows(
            connection,
            "INSERT INTO event (id, created_at, type, tenant) VALUES"
            " (gen_random_uuid(), now() + interval '5 months', 'job.queued', 'default')",
        )
        await connection.run_sync(lambda sync: ensure_event_partitions(sync, months_ahead=6))
        made = await read_rows(
            connection, "SELECT count(*) AS parts FROM pg_inherits WHERE inhparent = 'event'::regclass"
        )
        await connection.rollback()

    assert made[0]["parts"] >= 6


async def test_two_processes_that_see_the_same_free_seat_do_not_both_sit_down(engine):
    async with engine.begin() as connection:
        owners = [await register_worker(connection) for _ in range(4)]

    async def beat(owner):
        async with engine.begin() as connection:
            return await processes.heartbeat(connection, owner, clocks=1)

    seats = await asyncio.gather(*(beat(owner) for owner in owners))

    assert sorted(seats) == [False, False, False, True]


async def test_seat_of_a_dead_clock_is_free_for_who_stands_by(engine):
    async with engine.begin() as connection:
        clock, standby = await register_worker(connection), await register_worker(connection)
        await processes.heartbeat(connection, clock, clocks=1)
        while_alive = await processes.has_free_seat(connection, standby, clocks=1)
        await let_lapse(connection, clock)
        await processes.lapse(connection, lease_s=LEASE_S)
        afterwards = await processes.has_free_seat(connection, standby, clocks=1)

    assert (while_alive, afterwards) == (False, True)


async def test_process_says_what_it_follows_and_how_late_its_polls_are(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        await processes.heartbeat(
            connection, owner, clocks=1, pulse=processes.Pulse(following=7, poll_lag_s=1.5)
        )
        [row] = await read_rows(connection, "SELECT following, poll_lag_s FROM process")

    assert row == {"following": 7, "poll_lag_s": 1.5}


async def test_process_that_has_lost_its_lease_takes_over_nothing(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
        await processes.give_back(connection, owner)
        stale = await register_worker(connection)
        await change_rows(
            connection,
            "UPDATE process SET heartbeat_at = now() - interval '1 hour' WHERE id = :id",
            id=stale.id,
        )
        adopted = await processes.adopt(connection, stale, lease_s=60, limit=10)

    assert adopted == []
