"""Inputs in the database: stored once, kept while somebody needs them, forgotten when nobody does."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.core.inputs import INLINE_BYTES, data_uri
from runware_jobs.core.request import Options
from runware_jobs.steps.enqueue import ask, plan
from runware_jobs.store.inputs import (
    InputKey,
    begin_upload,
    find_waiting_jobs,
    finish_upload,
    prune_inputs,
    put_off_upload,
    read_inputs,
)
from runware_jobs.store.plans import run_async
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import BASE_URL, LIGHTHOUSE, claim_jobs
from tests.support.rows import change_rows, read_rows

DAY_S = 86_400.0
PICTURE = data_uri("image/png", b"x" * (INLINE_BYTES + 1))


async def enqueued(connection, media=PICTURE, *, tenant="default", **options):
    asked = ask({**LIGHTHOUSE, "seedImage": media}, Options(tenant=tenant, **options), kind="run")
    [one] = await run_async(
        connection, plan([asked], tenant=tenant, base_url=BASE_URL, fallback_url=BASE_URL)
    )
    [key] = [InputKey(tenant, new.sha256) for new in asked.inputs]
    return one.job_id, key


async def begun(connection, owner, key, **options):
    return await begin_upload(connection, owner, key, **{"renewed_after": None, "hold_s": 60, **options})


async def count(connection, table="input"):
    [row] = await read_rows(connection, f"SELECT count(*) AS n FROM {table}")
    return row["n"]


async def test_job_waits_for_its_input_and_is_not_claimed(engine, owner):
    async with engine.begin() as connection:
        job_id, _ = await enqueued(connection)
        none = await claim_jobs(connection, owner)
        [waiting] = await find_waiting_jobs(connection, owner.account_id, limit=9)

    assert (list(none), waiting.job_id, waiting.renewed_after) == ([], job_id, None)


async def test_job_of_a_later_time_or_a_paused_bucket_does_not_have_its_inputs_uploaded(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection, delay_s=60)
        assert await find_waiting_jobs(connection, owner.account_id, limit=9) == []
        await enqueued(connection)
        await change_rows(connection, "UPDATE bucket SET state = 'paused', pause_reason = 'user'")
        assert await find_waiting_jobs(connection, owner.account_id, limit=9) == []


async def test_urgent_jobs_have_their_inputs_uploaded_first(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection, priority=1)
        urgent, _ = await enqueued(connection, priority=9)
        [first] = await find_waiting_jobs(connection, owner.account_id, limit=1)

    assert first.job_id == urgent


async def test_upload_is_taken_by_one_and_keeps_its_number_until_its_outcome_is_known(engine, owner):
    async with engine.begin() as connection:
        _, key = await enqueued(connection)
        first = await begun(connection, owner, key)
        taken = await begun(connection, owner, key)
        await put_off_upload(
            connection,
            owner.account_id,
            key,
            number=1,
            delay_s=0,
            failed=False,
            unanswered=False,
            ended=False,
        )
        again = await begun(connection, owner, key)
        failures = await put_off_upload(
            connection, owner.account_id, key, number=1, delay_s=0, failed=True, unanswered=False, ended=True
        )
        other = await begun(connection, owner, key)

    assert (first, taken, again, failures, other) == (1, None, 1, 1, 2)


async def test_late_answer_of_an_earlier_upload_changes_nothing(engine, owner):
    async with engine.begin() as connection:
        _, key = await enqueued(connection)
        await begun(connection, owner, key)
        await put_off_upload(
            connection, owner.account_id, key, number=1, delay_s=0, failed=True, unanswered=False, ended=True
        )
        await begun(connection, owner, key)
        for number, name in ((1, "old"), (2, "new"), (2, "again")):
            await finish_upload(connection, owner.account_id, key, number=number, media_uuid=name, keep_s=60)
        known = (await read_inputs(connection, owner.account_id, [key]))[key]

    assert known.media_uuid == "new"


async def test_upload_is_relied_on_for_its_time_and_no_longer(engine, owner):
    async with engine.begin() as connection:
        _, key = await enqueued(connection)
        await begun(connection, owner, key)
        await finish_upload(connection, owner.account_id, key, number=1, media_uuid="m", keep_s=60)
        while_it_lasts = await begun(connection, owner, key)
        await change_rows(connection, "UPDATE input SET expires_at = now()")
        known = (await read_inputs(connection, owner.account_id, [key]))[key]
        after = await begun(connection, owner, key)

    assert (while_it_lasts, known.media_uuid, known.is_on_its_way, after) == (None, None, False, 2)


async def test_content_that_is_there_is_not_sent_to_the_database_again(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection)
        before = await read_rows(connection, "SELECT xmin::text, ctid::text FROM input")
        await enqueued(connection)

        assert await read_rows(connection, "SELECT xmin::text, ctid::text FROM input") == before
        assert (await count(connection), await count(connection, "job")) == (1, 2)


async def test_two_producers_with_the_same_picture_do_not_wait_for_each_other(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection)
    async with engine.connect() as one, engine.connect() as other:
        await enqueued(one)
        async with asyncio.timeout(10):
            await enqueued(other)
            await other.commit()
        await one.commit()


async def grown_old(connection):
    await change_rows(connection, "UPDATE input SET created_at = created_at - interval '40 days'")


async def test_input_goes_when_no_job_refers_to_it_any_more(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection)
        await enqueued(connection, tenant="other")
        await grown_old(connection)
        kept = await prune_inputs(connection, older_than_s=30 * DAY_S, limit=9)
        await change_rows(connection, "DELETE FROM job WHERE tenant = 'other'")
        gone = await prune_inputs(connection, older_than_s=30 * DAY_S, limit=9)

        assert (kept, gone) == (0, 1)
        assert await read_rows(connection, "SELECT tenant FROM input") == [{"tenant": "default"}]


async def test_young_input_stays_for_the_job_that_may_follow(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection)
        await change_rows(connection, "DELETE FROM job")

        assert await prune_inputs(connection, older_than_s=30 * DAY_S, limit=9) == 0


@pytest.mark.parametrize("commits", [True, False])
async def test_input_stays_while_a_producers_transaction_needs_it(engine, owner, commits):
    async with engine.begin() as connection:
        await enqueued(connection)
        await change_rows(connection, "DELETE FROM job")
        await grown_old(connection)
    async with engine.connect() as producer, engine.connect() as pruner:
        await enqueued(producer)
        under_way = await prune_inputs(pruner, older_than_s=30 * DAY_S, limit=9)
        await pruner.commit()
        await (producer.commit() if commits else producer.rollback())
        afterwards = await prune_inputs(pruner, older_than_s=30 * DAY_S, limit=9)
        await pruner.commit()

    assert (under_way, afterwards) == (0, 0 if commits else 1)


async def test_producer_that_comes_while_its_input_is_pruned_puts_it_in_again(engine, owner):
    async with engine.begin() as connection:
        await enqueued(connection)
        await change_rows(connection, "DELETE FROM job")
        await grown_old(connection)
    async with engine.connect() as producer, engine.connect() as pruner:
        await prune_inputs(pruner, older_than_s=30 * DAY_S, limit=9)
        pid = await pid_of(producer)
        coming = asyncio.create_task(enqueued(producer))
        await until_waiting(engine, pid)
        await pruner.commit()
        await coming
        await producer.commit()
    async with engine.connect() as connection:
        assert (await count(connection), await count(connection, "job")) == (1, 1)
