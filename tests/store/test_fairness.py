"""Turns: priority, then tenants, then their buckets, then age; limits and budgets exact, and nobody starves."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from decimal import Decimal
from uuid import uuid4

import pytest

from runware_jobs.core.answers import Answer
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_send
from runware_jobs.core.states import Lane
from runware_jobs.steps.words import item_error
from runware_jobs.store.batches import create_batch
from runware_jobs.store.database import open_engine
from runware_jobs.store.flows import limit_flow
from runware_jobs.store.moves import carry_out, lock_owned
from runware_jobs.store.recount import recount
from runware_jobs.store.tenants import set_tenant_budget
from tests.support.queued import LIGHTHOUSE, accept_tasks, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_rows

PRICE = Decimal("0.25")


async def new_batch(connection, jobs, *, budget=None, tenant="default", **options):
    batch_id = uuid4()
    await create_batch(connection, batch_id, tenant=tenant, name="b", budget_usd=budget)
    return batch_id, await enqueue_jobs(connection, jobs, batch_id=batch_id, tenant=tenant, **options)


async def learn_price(connection):
    await change_rows(
        connection,
        "INSERT INTO estimate (model, size, samples, duration_s, cost_usd) VALUES (:model, '', 1, 1, :usd)",
        model=LIGHTHOUSE["model"],
        usd=PRICE,
    )


async def test_tenant_with_a_thousand_jobs_delays_nobodys_first_by_more_than_one_claim(engine, owner):
    async with engine.begin() as connection:
        for _ in range(10):
            await enqueue_jobs(connection, 100, tenant="greedy")
        await claim_jobs(connection, owner, limit=5)
        [first] = await enqueue_jobs(connection, tenant="late")
        claimed = await claim_jobs(connection, owner, limit=5)

    assert first in {job.job_id for job in claimed}


async def test_tenant_has_as_many_turns_with_many_batches_and_models_as_with_one(engine, owner):
    async with engine.begin() as connection:
        for n in range(15):
            await new_batch(connection, 5, tenant="many")
            await enqueue_jobs(connection, 5, tenant="many", params={"model": f"runware:{n}@1"})
        await enqueue_jobs(connection, 60, tenant="one")
        in_groups = Counter(job.tenant for job in await claim_jobs(connection, owner, limit=20))
        one_by_one = Counter(
            [job.tenant for _ in range(20) for job in await claim_jobs(connection, owner, limit=1)]
        )

    assert in_groups == {"many": 10, "one": 10}
    assert one_by_one == {"many": 10, "one": 10}


async def test_inside_a_tenant_its_batches_take_turns(engine, owner):
    async with engine.begin() as connection:
        _, large = await new_batch(connection, 50)
        _, small = await new_batch(connection, 3)
        claimed = {job.job_id for job in await claim_jobs(connection, owner, limit=6)}

    assert (len(claimed & set(large)), len(claimed & set(small))) == (3, 3)


async def test_claim_is_filled_from_one_queue_when_the_others_are_short(engine, owner):
    async with engine.begin() as connection:
        for n in range(20):
            await enqueue_jobs(connection, tenant=f"t{n}")
        await enqueue_jobs(connection, 60, tenant="long")
        claimed = await claim_jobs(connection, owner, limit=50)

    assert Counter(job.tenant for job in claimed)["long"] == 30
    assert len(claimed) == 50


async def test_urgent_jobs_of_one_tenant_go_before_all_others(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 5, tenant="a", priority=5)
        urgent = await enqueue_jobs(connection, 5, tenant="b", priority=9)
        claimed = await claim_jobs(connection, owner, limit=5)

    assert urgent == [job.job_id for job in claimed]


async def test_long_urgent_queue_fills_a_claim_before_many_that_are_not_urgent(engine, owner):
    async with engine.begin() as connection:
        urgent = await enqueue_jobs(connection, 40, tenant="urgent", priority=9)
        for n in range(60):
            await enqueue_jobs(connection, 2, tenant=f"t{n}")
        claimed = await claim_jobs(connection, owner, limit=30)

    assert urgent[:30] == [job.job_id for job in claimed]


async def test_tenant_with_one_queue_has_as_many_turns_as_one_with_a_model_for_each_job(engine, owner):
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 40, tenant="one")
        for n in range(80):
            await enqueue_jobs(connection, tenant="many", params={"model": f"runware:{n}@1"})
        claimed = await claim_jobs(connection, owner, limit=30)

    assert Counter(job.tenant for job in claimed) == {"one": 15, "many": 15}


async def test_models_with_room_for_a_few_hide_nobody_behind_them(engine, owner):
    """More tenants wait for the full model than a claim looks at, and they were served longest ago."""
    async with engine.begin() as connection:
        await limit_flow(connection, owner.account_id, Lane.IMAGE, CHEAP, max_in_flight=3)
        for n in range(50):
            await enqueue_jobs(connection, tenant=f"t{n}", params={"model": CHEAP})
        await enqueue_jobs(connection, 10, tenant="z", params={"model": DEAR})
        claimed = await claim_jobs(connection, owner, limit=8)

    assert Counter(job.model for job in claimed) == {CHEAP: 3, DEAR: 5}


async def test_batches_that_cannot_pay_now_do_not_stand_in_the_way(engine, owner):
    """Each holds all its budget; their buckets were served longest ago, and there are more than a claim takes."""
    async with engine.begin() as connection:
        await learn_price(connection)
        for _ in range(12):
            await new_batch(connection, 3, budget=PRICE + Decimal("0.1"))
        held = await claim_jobs(connection, owner)
        [behind] = await enqueue_jobs(connection)
        claimed = await claim_jobs(connection, owner, limit=3)

    assert len(held) == 12
    assert [behind] == [job.job_id for job in claimed]


CHEAP, DEAR = "runware:1@1", "runware:2@1"
PRICES = {CHEAP: PRICE, DEAR: 2 * PRICE}


async def fill_queue(connection):
    """Queue jobs of two tenants under every kind of limit; give eight workers and the batch with a budget."""
    owners = [await register_worker(connection) for _ in range(8)]
    await change_rows(connection, "UPDATE account SET max_in_flight = 12")
    await limit_flow(connection, owners[0].account_id, Lane.IMAGE, CHEAP, max_in_flight=5)
    await limit_flow(connection, owners[0].account_id, Lane.IMAGE, None, max_in_flight=9)
    for model, usd in PRICES.items():
        await change_rows(
            connection,
            "INSERT INTO estimate (model, size, samples, duration_s, cost_usd) VALUES (:model, '', 50, 1, :usd)",
            model=model,
            usd=usd,
        )
    await set_tenant_budget(connection, "poor", Decimal("3.00"))
    for tenant in ("poor", "rich"):
        for model in PRICES:
            await enqueue_jobs(connection, 10, tenant=tenant, params={"model": model})
    batch_id, _ = await new_batch(
        connection, 12, budget=Decimal("1.50"), tenant="rich", params={"model": CHEAP}
    )
    await enqueue_jobs(connection, 6, tenant="rich", params={"taskType": "caption", "model": "text"})
    return owners, batch_id


async def end_or_hand_back(connection, owner, job, *, busy):
    """Let a claimed job succeed at its price, or give it back unsent."""
    if not busy:
        await accept_tasks(connection, owner, [job.task_uuid])
    [live] = (await lock_owned(connection, owner, [job.task_uuid])).values()
    if busy:
        move = after_send(live, SendOutcome(Sent.NOT_SENT), classify=item_error, random=0.5)
    else:
        item = {"status": "success", "resultIndex": 0, "imageURL": "u", "cost": str(PRICES.get(job.model, 0))}
        move = after_answer(live, Answer((item,)), classify=item_error, random=0.5)
    await carry_out(connection, [move])


async def check_limits(connection, batch_id):
    """Read what is out and paid at this moment, from the attempts alone."""
    [seen] = await read_rows(
        connection,
        """
        WITH work AS (
            SELECT attempt.state NOT IN ('prepared', 'ended') AS is_out, lane, model, tenant, batch_id,
                CASE WHEN attempt.state = 'prepared' THEN 0 ELSE COALESCE(attempt.cost_usd, hold_usd, 0) END AS usd
            FROM attempt JOIN job ON job.id = attempt.job_id)
        SELECT count(*) FILTER (WHERE is_out) AS out, count(*) FILTER (WHERE is_out AND lane = 'image') AS images,
            count(*) FILTER (WHERE is_out AND model = :cheap) AS cheap,
            COALESCE(sum(usd) FILTER (WHERE tenant = 'poor'), 0) AS poor_usd,
            COALESCE(sum(usd) FILTER (WHERE batch_id = :batch_id), 0) AS batch_usd
        FROM work""",
        cheap=CHEAP,
        batch_id=batch_id,
    )
    assert seen["out"] <= 12
    assert seen["images"] <= 9
    assert seen["cheap"] <= 5
    assert seen["poor_usd"] <= Decimal("3.00")
    assert seen["batch_usd"] <= Decimal("1.50")


async def work_until_idle(engine, owner, batch_id, chance):
    """Claim, look at the limits, and end what was claimed, until nothing has come for a while."""
    idle = 0
    while idle < 12:
        async with engine.begin() as connection:
            jobs = await claim_jobs(connection, owner, limit=chance.randint(1, 6))
        async with engine.begin() as connection:
            await check_limits(connection, batch_id)
        for job in jobs:
            async with engine.begin() as connection:
                await end_or_hand_back(connection, owner, job, busy=chance.random() < 0.2)
        async with engine.begin() as connection:
            await change_rows(
                connection,
                "UPDATE job SET run_at = now() WHERE id IN (SELECT id FROM job WHERE state = 'queued'"
                " AND run_at > now() FOR UPDATE SKIP LOCKED)",
            )
        idle = 0 if jobs else idle + 1


@pytest.mark.parametrize("seed", range(3))
async def test_no_limit_and_no_budget_is_ever_passed_and_nothing_starves(clean_database, seed):
    """Eight connections at once claim, hand back and finish at random."""
    chance = random.Random(seed)
    engine = open_engine(clean_database, pool_size=8)
    async with engine.begin() as connection:
        owners, batch_id = await fill_queue(connection)

    await asyncio.gather(
        *(work_until_idle(engine, owner, batch_id, random.Random(chance.random())) for owner in owners)
    )
    async with engine.begin() as connection:
        left = await read_rows(
            connection,
            "SELECT tenant, batch_id IS NOT NULL AS in_batch, count(*) AS jobs FROM job"
            " WHERE state <> 'succeeded' GROUP BY 1, 2 ORDER BY 1",
        )
        [poor] = await read_rows(connection, "SELECT spent_usd, held_usd FROM tenant WHERE name = 'poor'")
        drifted = await recount(connection, owners[0].account_id)
    await engine.dispose()

    # The tenant's jobs are worth 7.50 and it has paid for as many as 3.00 buys; so has the batch.
    assert [(row["tenant"], row["in_batch"]) for row in left] == [("poor", False), ("rich", True)]
    assert left[1]["jobs"] == 6
    assert poor["held_usd"] == 0
    assert Decimal("2.50") < poor["spent_usd"] <= Decimal("3.00")
    assert drifted == []
