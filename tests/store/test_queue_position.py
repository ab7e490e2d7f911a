"""What a queued job is told: how many go before it, and when it may be done."""

from __future__ import annotations

from runware_jobs.store.jobs import read_jobs
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows


async def positions(connection, job_ids):
    rows = await read_jobs(connection, job_ids)
    return [rows[job_id]["queue_position"] for job_id in job_ids]


async def test_position_counts_whoever_goes_before_in_the_same_queue_and_in_more_urgent_ones(engine):
    async with engine.begin() as connection:
        plain = await enqueue_jobs(connection, 3)
        urgent = await enqueue_jobs(connection, 2, priority=9)
        later = await enqueue_jobs(connection, 1, delay_s=3600)

        assert await positions(connection, urgent) == [0, 1]
        assert await positions(connection, plain) == [2, 3, 4]
        assert await positions(connection, later) == [None]


async def test_another_tenants_thousand_jobs_take_turns_with_ones_first(engine):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 50)
        other = await enqueue_jobs(connection, 3, tenant="acme")

        assert await positions(connection, other) == [0, 2, 4]


async def test_claimed_job_has_no_position(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        [job_id] = await enqueue_jobs(connection)
        await claim_jobs(connection, owner)

        assert await positions(connection, [job_id]) == [None]


async def test_expected_end_is_of_its_size_then_of_the_late_ones_and_never_in_the_past(engine):
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        [job_id] = await enqueue_jobs(connection)
        [claimed] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [claimed.task_uuid])
        await change_rows(
            connection,
            "INSERT INTO estimate (model, size, samples, duration_s, late_s) VALUES (:model, '', 9, 500, 900),"
            " (:model, :size, 9, 50, 90)",
            model=claimed.model,
            size=claimed.size,
        )
        ahead_s = []
        for age_s in (0, 60, 600):
            await change_rows(
                connection,
                "UPDATE attempt SET accepted_at = now() - make_interval(secs => :age_s)",
                age_s=age_s,
            )
            [row] = (await read_jobs(connection, [job_id])).values()
            ahead_s.append((row["expected_at"] - row["created_at"]).total_seconds())

    assert [round(ahead) for ahead in ahead_s] == [50, 30, 0]
