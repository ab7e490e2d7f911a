"""Money at its edges: costs that no column holds, and a pause for money beside somebody who follows its buckets."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from runware_jobs.core.answers import MOST_USD, Answer
from runware_jobs.core.decisions import after_answer
from runware_jobs.steps.words import item_error
from runware_jobs.store.batches import read_batch
from runware_jobs.store.moves import carry_out, lock_owned
from runware_jobs.store.tenants import set_tenant_budget
from tests.store.test_budgets import done, learn_price, open_batch
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import change_rows, read_rows


async def test_what_a_platform_says_that_jobs_cost_never_keeps_them_from_their_end(engine, owner):
    """One item of a million millions, and sums that no column holds."""
    async with engine.begin() as connection:
        batch_id = await open_batch(connection, "99999999", 2, params={"numberResults": 2})
        await set_tenant_budget(connection, "default", Decimal(99_999_999))
        await learn_price(connection, 9_000)
        await change_rows(connection, "UPDATE account SET held_usd = 99999999")
        first = await claim_jobs(connection, owner, limit=1)
        for table in ("account", "batch", "tenant"):
            await change_rows(connection, f"UPDATE {table} SET spent_usd = 99999999")
        await change_rows(connection, "UPDATE job SET cost_usd = 99999999")
        await accept_tasks(connection, owner, [first[0].task_uuid])
        live = await lock_owned(connection, owner, [first[0].task_uuid])
        answer = Answer((done(0, 1e12), done(1, 9_999)))
        await carry_out(
            connection, [after_answer(one, answer, classify=item_error, random=0.5) for one in live.values()]
        )
        [job] = await read_rows(connection, "SELECT state, cost_usd FROM job WHERE state = 'succeeded'")
        [account] = await read_rows(connection, "SELECT spent_usd FROM account")
        batch = await read_batch(connection, batch_id, tenant=None)

    assert job["cost_usd"] == MOST_USD
    assert (account["spent_usd"], batch["spent_usd"]) == (MOST_USD, MOST_USD)


async def test_pause_for_money_locks_buckets_in_the_order_in_which_others_follow(engine, owner):
    """Whoever waits for the first bucket holds none of the later ones: no two wait for each other."""
    async with engine.begin() as connection:
        await learn_price(connection)
        for n in range(3):
            await enqueue_jobs(connection, params={"model": f"runware:{n}@1"})
        await enqueue_jobs(connection)
        await set_tenant_budget(connection, "default", Decimal("0.1"))
        await change_rows(connection, "UPDATE tenant SET spent_usd = 1")
        buckets = await read_rows(connection, "SELECT id FROM bucket ORDER BY id")
        # Read as they lie, the first comes last.
        for tenant in ("elsewhere", "default"):
            await change_rows(
                connection,
                "UPDATE bucket SET tenant = :tenant WHERE id = :id",
                tenant=tenant,
                id=buckets[0]["id"],
            )
    async with engine.connect() as follower, engine.connect() as claimer, engine.connect() as other:
        await change_rows(follower, "UPDATE bucket SET state = state WHERE id = :id", id=buckets[0]["id"])
        pid = await pid_of(claimer)
        claiming = asyncio.create_task(claim_jobs(claimer, owner))
        await until_waiting(engine, pid)
        free = await read_rows(other, "SELECT id FROM bucket ORDER BY id FOR UPDATE SKIP LOCKED")
        await other.rollback()
        await follower.rollback()
        claimed = await claiming
        await claimer.commit()
    async with engine.connect() as connection:
        states = await read_rows(connection, "SELECT DISTINCT state FROM bucket")

    assert list(claimed) == []
    assert free == buckets[1:]
    assert states == [{"state": "paused"}]
