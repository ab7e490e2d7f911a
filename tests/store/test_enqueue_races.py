"""Two producers at once: on a new account, a new bucket, one key; nothing is lost and nobody waits long."""

from __future__ import annotations

import asyncio
import base64
import os
import random
from uuid import uuid4

import pytest
from sqlalchemy import text

from runware_jobs.core.identity import new_job_id
from runware_jobs.core.request import Options, make_job
from runware_jobs.errors import NotPossible
from runware_jobs.producer import Producer
from runware_jobs.steps.enqueue import Asked, ask, plan
from runware_jobs.store.batches import cancel_batch, complete_batches, create_batch, open_jobs_of, seal_batch
from runware_jobs.store.enqueue import enqueue
from runware_jobs.store.plans import run_async
from tests.support.locks import pid_of, until_waiting
from tests.support.queued import BASE_URL, LIGHTHOUSE, claim_jobs, enqueue_jobs, register_worker
from tests.support.rows import read_rows


def planned(keys):
    jobs = [make_job(new_job_id(), "run", LIGHTHOUSE, Options(idempotency_key=key)) for key in keys]
    return enqueue(jobs, base_url=BASE_URL, fallback_url=BASE_URL)


async def test_second_producer_of_a_new_account_waits_and_loses_nothing(engine):
    async with engine.connect() as first, engine.connect() as second:
        await run_async(first, planned([None]))
        pid = await pid_of(second)
        adding = asyncio.create_task(run_async(second, planned([None])))
        await until_waiting(engine, pid)
        await first.commit()
        await adding
        await second.commit()
        accounts = await read_rows(second, "SELECT id FROM account")
        jobs = await read_rows(second, "SELECT bucket_id FROM job")

    assert len(accounts) == 1
    assert len(jobs) == 2
    assert len({job["bucket_id"] for job in jobs}) == 1


async def test_second_producer_goes_on_when_the_first_gives_up(engine):
    async with engine.connect() as first, engine.connect() as second:
        await run_async(first, planned(["k"]))
        pid = await pid_of(second)
        adding = asyncio.create_task(run_async(second, planned(["k"])))
        await until_waiting(engine, pid)
        await first.rollback()
        [added] = await adding
        await second.commit()

    assert added.replayed is False


async def test_one_key_from_two_producers_is_one_job(engine, owner):
    async with engine.connect() as first, engine.connect() as second:
        [one] = await run_async(first, planned(["k"]))
        pid = await pid_of(second)
        adding = asyncio.create_task(run_async(second, planned(["k"])))
        await until_waiting(engine, pid)
        await first.commit()
        [other] = await adding
        await second.commit()

    assert (one.job_id, True) == (other.job_id, other.replayed)


async def test_same_keys_in_two_orders_do_not_deadlock(engine, owner):
    keys = [f"k{n}" for n in range(2000)]

    async def add(ordered):
        async with engine.begin() as connection:
            return await run_async(connection, planned(ordered))

    forth, back, mixed = await asyncio.gather(add(keys), add(keys[::-1]), add(keys[1::2] + keys[::2]))

    assert len(keys) == len({one.job_id for one in (*forth, *back, *mixed)})


async def test_open_transaction_of_a_producer_keeps_no_worker_waiting(engine, owner):
    """A web request that enqueues first and works on for a minute must not stop the queue."""
    async with engine.begin() as connection:
        [ready] = await enqueue_jobs(connection)
    async with engine.connect() as producer, engine.connect() as worker:
        await enqueue_jobs(producer)
        await worker.execute(text("SET LOCAL lock_timeout = '2s'"))
        claimed = await claim_jobs(worker, owner)
        await producer.rollback()
        await worker.rollback()

    assert [ready] == [job.job_id for job in claimed]


async def test_second_producer_of_a_new_bucket_keeps_no_worker_waiting(engine, owner):
    """Two at once for a new model: the second waits for the first, and then claims must not wait for it."""
    async with engine.connect() as first, engine.connect() as second:
        await run_async(first, planned([None]))
        pid = await pid_of(second)
        adding = asyncio.create_task(run_async(second, planned([None])))
        await until_waiting(engine, pid)
        await first.commit()
        [added] = await adding
        async with engine.begin() as claiming:
            await claiming.execute(text("SET LOCAL lock_timeout = '2s'"))
            before = await claim_jobs(claiming, owner)
        await second.commit()
        async with engine.begin() as claiming:
            after = await claim_jobs(claiming, owner)
        buckets = await read_rows(second, "SELECT id FROM bucket")

    assert (1, [added.job_id], 1) == (len(before), [job.job_id for job in after], len(buckets))


async def test_worker_that_starts_beside_the_first_producer_takes_its_jobs(engine):
    async with engine.connect() as producer, engine.connect() as worker:
        await enqueue_jobs(producer)
        pid = await pid_of(worker)
        starting = asyncio.create_task(register_worker(worker))
        await until_waiting(engine, pid)
        await producer.commit()
        owner = await starting
        await worker.commit()
        claimed = await claim_jobs(worker, owner)
        await worker.commit()

    assert len(claimed) == 1


async def test_canceling_a_batch_waits_for_what_is_being_added_to_it(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    async with engine.connect() as producer, engine.connect() as person:
        [added] = await enqueue_jobs(producer, batch_id=batch_id)
        pid = await pid_of(person)
        canceling = asyncio.create_task(cancel_batch(person, batch_id))
        await until_waiting(engine, pid)
        await producer.commit()
        await canceling
        await person.commit()
        seen = await open_jobs_of(person, batch_id, limit=10)

    assert [added] == seen


async def test_adding_to_a_batch_that_is_being_canceled_is_refused(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
    async with engine.connect() as producer, engine.connect() as person:
        await cancel_batch(person, batch_id)
        pid = await pid_of(producer)
        adding = asyncio.create_task(enqueue_jobs(producer, batch_id=batch_id))
        await until_waiting(engine, pid)
        await person.commit()
        with pytest.raises(NotPossible, match="canceled"):
            await adding


async def test_batch_that_somebody_is_adding_to_has_not_ended(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
        await seal_batch(connection, batch_id)
    async with engine.connect() as producer:
        await enqueue_jobs(producer, batch_id=batch_id)
        async with engine.begin() as connection:
            ended = await complete_batches(connection)
        await producer.commit()
    async with engine.begin() as connection:
        later = await complete_batches(connection)

    assert (ended, later) == ([], [])


async def test_input_of_the_second_producer_of_a_new_account_is_stored(engine):
    picture = "data:image/png;base64," + base64.b64encode(os.urandom(9000)).decode()
    params = {"model": "runware:400@1", "positivePrompt": "a", "seedImage": picture}

    def asked():
        one = ask(params, Options(), kind="run")
        return plan([one], tenant="default", base_url=BASE_URL, fallback_url=BASE_URL)

    async with engine.connect() as first, engine.connect() as second:
        await run_async(first, planned([None]))
        pid = await pid_of(second)
        adding = asyncio.create_task(run_async(second, asked()))
        await until_waiting(engine, pid)
        await first.commit()
        await adding
        await second.commit()
        inputs = await read_rows(second, "SELECT account_id FROM input")

    assert len(inputs) == 1


async def test_producers_whose_keys_cross_both_succeed(engine, owner):
    """Each holds a key that the other wants next: the server rolls one back, and it is written again."""

    def asked(*keys):
        return [
            Asked(make_job(new_job_id(), "run", LIGHTHOUSE, Options(**{kind: key})), ()) for kind, key in keys
        ]

    producer = Producer(engine, base_url=BASE_URL, fallback_url=BASE_URL, vault=None, wake=lambda: None)
    keys = [("idempotency_key", f"i{n}") for n in range(400)] + [("external_id", f"e{n}") for n in range(400)]
    views = await asyncio.gather(
        *(
            producer.add(asked(*random.Random(seed).sample(keys, len(keys))), tenant="default")
            for seed in range(3)
        )
    )

    assert len({view["id"] for one in views for view in one}) == len(keys)
