"""Budgets of batches: held in the claim, settled at the end, never passed, never stuck."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import (
    SendOutcome,
    Sent,
    after_answer,
    after_late_answer,
    after_loss,
    after_send,
)
from runware_jobs.steps.words import item_error
from runware_jobs.store import accounts
from runware_jobs.store.batches import (
    complete_batches,
    create_batch,
    pause_batch,
    read_batch,
    reopen_batches,
    resume_batch,
    seal_batch,
)
from runware_jobs.store.buckets import follow_all
from runware_jobs.store.moves import carry_out, lock_lost, lock_owned
from runware_jobs.store.tenants import pause_tenant, read_tenants, resume_tenant, set_tenant_budget
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import NOTHING_UNDER_WAY, change_rows, read_counters, read_rows

PRICE = 0.25


def done(index, cost=PRICE):
    return {"status": "success", "resultIndex": index, "imageURL": "u", "cost": cost}


async def open_batch(connection, budget, jobs, **options):
    batch_id = uuid4()
    await create_batch(
        connection, batch_id, tenant="default", name="b", budget_usd=budget and Decimal(budget)
    )
    await enqueue_jobs(connection, jobs, batch_id=batch_id, **options)
    return batch_id


async def learn_price(connection, usd=PRICE):
    await change_rows(
        connection,
        "INSERT INTO estimate (model, size, samples, duration_s, cost_usd)"
        " VALUES ('runware:400@1', '', 1, 1, :usd)",
        usd=usd,
    )


async def answer(connection, owner, task, *items, unseen_s=None):
    [live] = (await lock_owned(connection, owner, [task])).values()
    move = after_answer(live, Answer(items), classify=item_error, random=0.5)
    await carry_out(connection, [replace(move, unseen_s=unseen_s)])


async def finish(connection, owner, jobs, cost=PRICE):
    await accept_tasks(connection, owner, [job.task_uuid for job in jobs])
    for job in jobs:
        await answer(connection, owner, job.task_uuid, done(0, cost))


async def test_budget_is_used_up_exactly_and_then_the_batch_pauses(engine, owner):
    async with engine.begin() as connection:
        await learn_price(connection)
        batch_id = await open_batch(connection, "1.00", 6)
        first = await claim_jobs(connection, owner)
        none_while_all_is_held = await claim_jobs(connection, owner)
        await finish(connection, owner, first)
        none_when_all_is_spent = await claim_jobs(connection, owner)
        batch = await read_batch(connection, batch_id, tenant=None)
        counters = await read_counters(connection)

    assert len(first) == 4
    assert [*none_while_all_is_held, *none_when_all_is_spent] == []
    assert ("paused", "budget", Decimal("1.00")) == (
        batch["state"],
        batch["pause_reason"],
        batch["spent_usd"],
    )
    assert counters == NOTHING_UNDER_WAY


async def test_paused_batch_goes_on_with_a_higher_budget(engine, owner):
    async with engine.begin() as connection:
        await learn_price(connection)
        batch_id = await open_batch(connection, "0.25", 2)
        await finish(connection, owner, await claim_jobs(connection, owner))
        await claim_jobs(connection, owner)
        await resume_batch(connection, batch_id, budget_usd=Decimal("0.50"))
        claimed = await claim_jobs(connection, owner)

    assert len(claimed) == 1


async def test_unknown_price_lets_out_one_job_until_it_is_known(engine, owner):
    async with engine.begin() as connection:
        await open_batch(connection, "1.00", 6)
        first = await claim_jobs(connection, owner)
        none = await claim_jobs(connection, owner)
        await finish(connection, owner, first)
        rest = await claim_jobs(connection, owner)

    assert (len(first), len(none), len(rest)) == (1, 0, 3)


async def test_job_of_unknown_price_that_was_handed_back_goes_out_again(engine, owner):
    async with engine.begin() as connection:
        await open_batch(connection, "1.00", 2)
        [first] = await claim_jobs(connection, owner)
        [live] = (await lock_owned(connection, owner, [first.task_uuid])).values()
        move = after_send(live, SendOutcome(Sent.NOT_SENT), classify=item_error, random=0.5)
        await carry_out(connection, [move])
        await change_rows(connection, "UPDATE job SET run_at = now() - interval '1 s' * (2 - attempts)")
        again = await claim_jobs(connection, owner)

    assert len(again) == 1


async def test_price_of_one_result_is_learned_when_they_came_one_by_one(engine, owner):
    async with engine.begin() as connection:
        await open_batch(connection, None, 1, params={"numberResults": 4})
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
        for count in (1, 2, 3, 4):
            await answer(connection, owner, job.task_uuid, *(done(n) for n in range(count)))
        [learned] = await read_rows(connection, "SELECT cost_usd FROM estimate WHERE size = ''")

    assert Decimal("0.25") == learned["cost_usd"]


async def test_a_late_look_does_not_teach_a_long_duration(engine, owner):
    """Of a minute in which nobody looked, half is taken off: late polls must not stay late."""
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
        await change_rows(connection, "UPDATE attempt SET accepted_at = now() - interval '60 s'")
        await answer(connection, owner, job.task_uuid, done(0), unseen_s=60)
        [learned] = await read_rows(connection, "SELECT duration_s FROM estimate WHERE size = ''")

    assert learned["duration_s"] == pytest.approx(30, abs=1)


async def test_models_without_a_name_do_not_share_what_was_learned(engine, owner):
    """A caption's price says nothing about another tool's."""
    async with engine.begin() as connection:
        await enqueue_jobs(connection, params={"taskType": "vectorize", "model": ""})
        await finish(connection, owner, await claim_jobs(connection, owner))
        await open_batch(connection, "1.00", 2, params={"taskType": "caption", "model": ""})
        claimed = await claim_jobs(connection, owner)

    assert len(claimed) == 1


async def test_account_is_locked_before_the_batch(engine, owner):
    """In the order of the claim, which has the account first: else the two stop each other."""
    async with engine.begin() as connection:
        await learn_price(connection)
        await open_batch(connection, "1.00", 1)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
    async with engine.connect() as claiming, engine.connect() as recording, engine.connect() as looking:
        await read_rows(claiming, "SELECT id FROM account FOR NO KEY UPDATE")

        pid = await pid_of(recording)
        finishing = asyncio.create_task(answer(recording, owner, job.task_uuid, done(0)))
        await until_waiting(engine, pid)
        free = await read_rows(looking, "SELECT id FROM batch FOR NO KEY UPDATE SKIP LOCKED")
        await looking.rollback()
        await claiming.rollback()
        await finishing
        await recording.rollback()

    assert len(free) == 1


async def test_limits_are_those_of_the_newest_worker(engine):
    async with engine.begin() as connection:
        for limit in (3, 8):
            await register_worker(
                connection,
                limits=accounts.Limits(max_in_flight=limit, max_requests_per_s=1, daily_limit_usd=None),
            )
        rows = await read_rows(connection, "SELECT max_in_flight FROM account")

    assert rows == [{"max_in_flight": 8}]


async def test_tenant_whose_budget_is_used_up_pauses_and_nobody_else(engine, owner):
    async with engine.begin() as connection:
        await learn_price(connection)
        await set_tenant_budget(connection, "poor", Decimal("0.50"))
        await enqueue_jobs(connection, 4, tenant="poor")
        await enqueue_jobs(connection, 4, tenant="rich")
        first = await claim_jobs(connection, owner)
        held = await read_tenants(connection)
        await finish(connection, owner, first)
        none = await claim_jobs(connection, owner)
        later = await enqueue_jobs(connection, tenant="poor", priority=9)
        still_none = await claim_jobs(connection, owner)
        tenants = {one["name"]: one for one in await read_tenants(connection)}
        buckets = await read_rows(
            connection, "SELECT DISTINCT tenant, state, pause_reason FROM bucket WHERE priority = 5"
        )
        await set_tenant_budget(connection, "poor", Decimal("0.75"))
        again = await claim_jobs(connection, owner)

    assert sorted(job.tenant for job in first) == ["poor"] * 2 + ["rich"] * 4
    assert [one["held_usd"] for one in held if one["name"] == "poor"] == [Decimal("0.50")]
    assert [*none, *still_none] == []
    assert (tenants["poor"]["state"], tenants["poor"]["pause_reason"]) == ("paused", "budget")
    assert (tenants["poor"]["spent_usd"], tenants["poor"]["held_usd"]) == (Decimal("0.50"), 0)
    assert {(one["tenant"], one["state"], one["pause_reason"]) for one in buckets} == {
        ("poor", "paused", "budget"),
        ("rich", "open", None),
    }
    assert later == [job.job_id for job in again]


async def test_tenant_of_unknown_price_has_one_job_out_until_the_first_cost(engine, owner):
    async with engine.begin() as connection:
        await set_tenant_budget(connection, "acme", Decimal("1.00"))
        await enqueue_jobs(connection, 6, tenant="acme")
        first = await claim_jobs(connection, owner)
        none = await claim_jobs(connection, owner)
        await finish(connection, owner, first)
        rest = await claim_jobs(connection, owner)

    assert (len(first), len(none), len(rest)) == (1, 0, 3)


async def test_pause_of_a_batch_and_of_its_tenant_each_end_by_themselves_only(engine, owner):
    async with engine.begin() as connection:
        batch_id = await open_batch(connection, None, 1)
        await pause_batch(connection, batch_id, reason="user")
        await pause_tenant(connection, "default", reason="hand")
        seen = [len(await claim_jobs(connection, owner))]
        await resume_tenant(connection, "default")
        seen.append(len(await claim_jobs(connection, owner)))
        await pause_tenant(connection, "default", reason="hand")
        await resume_batch(connection, batch_id, budget_usd=None)
        seen.append(len(await claim_jobs(connection, owner)))
        await resume_tenant(connection, "default")
        seen.append(len(await claim_jobs(connection, owner)))

    assert seen == [0, 0, 0, 1]


async def test_bucket_that_has_not_heard_of_a_pause_or_its_end_is_put_right(engine, owner):
    """Made by somebody whose transaction was older than the pause."""
    async with engine.begin() as connection:
        batch_id = await open_batch(connection, None, 1)
        await pause_batch(connection, batch_id, reason="user")
        await change_rows(connection, "UPDATE bucket SET state = 'open', pause_reason = NULL")
        while_paused = await claim_jobs(connection, owner)
        heard = await follow_all(connection, owner.account_id)
        await change_rows(connection, "UPDATE batch SET state = 'open', pause_reason = NULL")
        heard += await follow_all(connection, owner.account_id)
        after = await claim_jobs(connection, owner)

    assert (len(while_paused), heard, len(after)) == (0, 2, 1)


async def test_buckets_of_a_batch_that_has_ended_rest_until_it_is_taken_up_again(engine, owner):
    async with engine.begin() as connection:
        batch_id = await open_batch(connection, None, 1)
        await seal_batch(connection, batch_id)
        await finish(connection, owner, await claim_jobs(connection, owner))
        await complete_batches(connection)
        resting = await read_rows(connection, "SELECT state, pause_reason FROM bucket")
        await reopen_batches(connection, [batch_id])
        awake = await read_rows(connection, "SELECT state, pause_reason FROM bucket")

    assert resting == [{"state": "paused", "pause_reason": "ended"}]
    assert awake == [{"state": "open", "pause_reason": None}]


async def test_hold_is_the_price_of_the_size_where_it_is_known(engine, owner):
    async with engine.begin() as connection:
        await learn_price(connection)
        await change_rows(
            connection,
            "INSERT INTO estimate (model, size, samples, duration_s, cost_usd)"
            " VALUES ('runware:400@1', '2048x2048', 1, 1, 0.9)",
        )
        await enqueue_jobs(connection)
        await enqueue_jobs(connection, params={"width": 2048, "height": 2048, "numberResults": 2})
        await claim_jobs(connection, owner)
        rows = await read_rows(connection, "SELECT size, hold_usd FROM attempt ORDER BY size")

    assert [(row["size"], row["hold_usd"]) for row in rows] == [
        ("1024x1024", Decimal("0.25")),
        ("2048x2048", Decimal("1.8")),
    ]


@pytest.mark.parametrize(
    ("label", "item", "counted"),
    [
        ("a cost that was told", done(0, 0.2), "0.20"),
        ("none told: what was held", {key: value for key, value in done(0).items() if key != "cost"}, "0.25"),
        (
            "a failure costs nothing",
            {"status": "error", "error": {"code": "invalidModel", "message": "x"}},
            "0",
        ),
    ],
)
async def test_hold_becomes_the_cost_or_stays_as_an_estimate(engine, owner, label, item, counted):
    async with engine.begin() as connection:
        await learn_price(connection)
        await set_tenant_budget(connection, "default", Decimal(5))
        batch_id = await open_batch(connection, "5", 1)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
        await answer(connection, owner, job.task_uuid, item)
        batch = await read_batch(connection, batch_id, tenant=None)
        [tenant] = await read_tenants(connection)
        [account] = await read_rows(connection, "SELECT spent_usd, held_usd FROM account")

    for purse in (batch, tenant, account):
        assert (purse["spent_usd"], purse["held_usd"]) == (Decimal(counted), 0)


@pytest.mark.parametrize(
    ("label", "day", "spent_before", "spent_after"),
    [
        ("yesterday's spend is gone", "CURRENT_DATE - 1", "5", "0.25"),
        ("today's counts", "CURRENT_DATE", "0.5", "0.75"),
        ("who began before midnight does not turn the day back", "CURRENT_DATE + 1", "0.5", "0.75"),
    ],
)
async def test_daily_brake_rolls_over_at_midnight(engine, owner, label, day, spent_before, spent_after):
    async with engine.begin() as connection:
        await enqueue_jobs(connection)
        jobs = await claim_jobs(connection, owner)
        await change_rows(
            connection, f"UPDATE account SET spend_day = {day}, spent_usd = :usd", usd=Decimal(spent_before)
        )
        await finish(connection, owner, jobs)
        [row] = await read_rows(
            connection,
            f"SELECT spent_usd, spend_day >= GREATEST(CURRENT_DATE, {day}) AS is_forward FROM account",
        )

    assert (row["spent_usd"], row["is_forward"]) == (Decimal(spent_after), True)


async def test_what_a_correction_gives_back_of_yesterday_frees_nothing_today(engine, owner):
    async with engine.begin() as connection:
        await learn_price(connection, 5)
        await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        [live] = (await lock_owned(connection, owner, [job.task_uuid])).values()
        await carry_out(connection, [after_loss(live, "lost")])
        await change_rows(connection, "UPDATE attempt SET finished_at = finished_at - interval '1 day'")
        await change_rows(connection, "UPDATE account SET spent_usd = 8")
        [lost] = (await lock_lost(connection, [job.task_uuid])).values()
        refused = Answer((), (JobError("validation", "no"),))
        await carry_out(connection, [after_late_answer(lost, refused, classify=item_error)])
        [account] = await read_rows(connection, "SELECT spent_usd FROM account")

    assert account["spent_usd"] == 8


async def test_uploads_are_free_and_wait_for_no_price(engine, owner):
    upload = {
        "taskType": "mediaStorage",
        "operation": "upload",
        "media": "https://example.com/a.png",
        "model": None,
    }
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE account SET daily_limit_usd = 1")
        await enqueue_jobs(connection, 3, kind="upload", params=upload)

        assert len(await claim_jobs(connection, owner, limit=5)) == 3
