"""Forgetting: what goes, what stays, and what a replay is told afterwards."""

from __future__ import annotations

from uuid import uuid4

import pytest

from runware_jobs.core.answers import Answer
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_send
from runware_jobs.errors import JobForgotten
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.words import item_error
from runware_jobs.store.batches import complete_batches, create_batch, seal_batch
from runware_jobs.store.moves import carry_out, lock_owned
from runware_jobs.store.pruning import (
    Pruned,
    count_prunable_jobs,
    prune_batches,
    prune_deliveries,
    prune_jobs,
)
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import change_rows, read_rows

DAY_S = 86_400.0
DONE = Answer(({"status": "success", "resultIndex": 0, "imageURL": "u", "cost": 0.002},))


async def finish(connection, owner):
    """Bring all queued jobs to their end."""
    tasks = [job.task_uuid for job in await claim_jobs(connection, owner)]
    await accept_tasks(connection, owner, tasks)
    live = await lock_owned(connection, owner, tasks)
    await carry_out(
        connection, [after_answer(one, DONE, classify=item_error, random=0.5) for one in live.values()]
    )


async def grow_old(connection, days=40):
    """Let all that has ended have ended that long ago, with everything told."""
    await change_rows(connection, "DELETE FROM outbox")
    for table in ("job", "batch"):
        await change_rows(
            connection,
            f"UPDATE {table} SET finished_at = finished_at - make_interval(days => :days),"
            " created_at = created_at - make_interval(days => :days)",
            days=days,
        )


async def left(connection, table="job"):
    [row] = await read_rows(connection, f"SELECT count(*) AS n FROM {table}")
    return row["n"]


async def test_an_old_job_goes_with_all_that_hung_on_it(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 3)
        await finish(connection, owner)
        await grow_old(connection)

        assert Pruned(jobs=3) == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        assert [await left(connection, table) for table in ("job", "attempt", "result", "event")] == [
            0,
            0,
            0,
            0,
        ]


async def test_a_young_job_stays(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        await finish(connection, owner)
        await grow_old(connection, days=20)

        assert Pruned() == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)


async def test_no_more_than_asked_for_go_at_once_and_the_oldest_first(engine, owner):
    async with engine.begin() as connection:
        [older] = await enqueue_jobs(connection)
        await finish(connection, owner)
        await grow_old(connection, days=1)
        [younger] = await enqueue_jobs(connection)
        await finish(connection, owner)
        await grow_old(connection)

        assert await count_prunable_jobs(connection, older_than_s=30 * DAY_S) == 2
        assert Pruned(jobs=1) == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=1)
        assert [{"id": younger}] == await read_rows(connection, "SELECT id FROM job")
        assert older != younger


@pytest.mark.parametrize("key", ["idempotency_key", "external_id"])
async def test_a_replay_of_a_forgotten_job_is_told_so_and_never_runs(engine, owner, key):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, **{key: "order-7"})
        await finish(connection, owner)
        await grow_old(connection)

        assert Pruned(jobs=1, tombstones=1) == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        [stone] = await read_rows(connection, "SELECT key_kind, key, job_id, final_state FROM tombstone")
        assert {"key_kind": key, "key": "order-7", "job_id": job_id, "final_state": "succeeded"} == stone
        with pytest.raises(JobForgotten):
            await enqueue_jobs(connection, **{key: "order-7"})
        assert await left(connection) == 0


async def test_a_job_stays_while_the_platform_may_still_work_for_it(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        [claimed] = await claim_jobs(connection, owner)
        live = await lock_owned(connection, owner, [claimed.task_uuid])
        unclear = SendOutcome(Sent.UNCLEAR)
        await carry_out(
            connection,
            [after_send(one, unclear, classify=item_error, random=0.5) for one in live.values()],
        )
        await cancel(connection, job_id, tenant=None)
        await grow_old(connection)

        assert await count_prunable_jobs(connection, older_than_s=30 * DAY_S) == 0
        assert Pruned() == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)


async def test_a_job_stays_while_something_about_it_has_still_to_leave(engine, owner):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
        await finish(connection, owner)
        await grow_old(connection)
        await change_rows(
            connection,
            "INSERT INTO outbox (sink, event_id, event_created_at, job_id)"
            " SELECT 'link', id, created_at, job_id FROM event WHERE job_id = :job_id LIMIT 1",
            job_id=job_id,
        )

        assert Pruned() == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        await change_rows(connection, "UPDATE outbox SET is_dead = true")
        assert Pruned(jobs=1) == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)


async def test_jobs_of_a_batch_stay_until_the_batch_has_ended_and_go_with_it(engine, owner):
    async with engine.begin() as connection:
        batch_id = uuid4()
        await create_batch(connection, batch_id, tenant="default", name="spring", budget_usd=None)
        await enqueue_jobs(connection, batch_id=batch_id)
        await finish(connection, owner)
        await seal_batch(connection, batch_id)
        await grow_old(connection)

        assert Pruned() == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        await complete_batches(connection)
        await grow_old(connection)
        assert Pruned(jobs=1) == await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        assert await prune_batches(connection, older_than_s=30 * DAY_S, limit=10) == 1


async def test_batches_go_with_their_buckets_a_bounded_number_at_a_time(engine, owner):
    async with engine.begin() as connection:
        for _ in range(3):
            batch_id = uuid4()
            await create_batch(connection, batch_id, tenant="default", name="b", budget_usd=None)
            await enqueue_jobs(connection, batch_id=batch_id)
            await seal_batch(connection, batch_id)
        await finish(connection, owner)
        await complete_batches(connection)
        await grow_old(connection)
        await prune_jobs(connection, older_than_s=30 * DAY_S, limit=10)
        removed = [await prune_batches(connection, older_than_s=30 * DAY_S, limit=2) for _ in range(3)]

        assert removed == [2, 1, 0]
        assert await left(connection, "bucket") == 0


async def test_batch_that_somebody_is_enqueueing_into_stays(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="b", budget_usd=None)
        await grow_old(connection)
    async with engine.connect() as producer:
        await enqueue_jobs(producer, batch_id=batch_id)
        async with engine.begin() as connection:
            assert await prune_batches(connection, older_than_s=30 * DAY_S, limit=10) == 0
        await producer.commit()
    async with engine.begin() as connection:
        assert await prune_batches(connection, older_than_s=30 * DAY_S, limit=10) == 0
        assert await left(connection) == 1


async def test_two_that_prune_at_once_share_the_work(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 4)
        await finish(connection, owner)
        await grow_old(connection)
    async with engine.connect() as one, engine.connect() as other:
        first = await prune_jobs(one, older_than_s=30 * DAY_S, limit=3)
        second = await prune_jobs(other, older_than_s=30 * DAY_S, limit=3)

        assert [Pruned(jobs=3), Pruned(jobs=1)] == [first, second]
        await one.commit()
        await other.commit()


async def test_old_lines_of_the_delivery_log_go(engine, owner):
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "INSERT INTO endpoint (tenant, url, secrets) VALUES ('default', 'https://a.example/', '{\"x\"}')",
        )
        for days in (40, 1):
            await change_rows(
                connection,
                "INSERT INTO delivery (event_id, event_created_at, tenant, endpoint_id, url, number, state,"
                " duration_ms, created_at) SELECT gen_random_uuid(), now(), 'default', id, 'https://a.example/', 1,"
                " 'delivered', 5, now() - make_interval(days => :days) FROM endpoint",
                days=days,
            )

        assert await prune_deliveries(connection, older_than_s=30 * DAY_S, limit=10) == 1
        assert await left(connection, "delivery") == 1
