"""Enqueue: once per key, in the caller's own transaction, whatever connection that lives on."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from runware_jobs.core.identity import new_job_id
from runware_jobs.core.request import Options, make_job
from runware_jobs.errors import IdempotencyConflict, InvalidJob, JobForgotten, JobNotFound, NotPossible
from runware_jobs.store import endpoints, processes
from runware_jobs.store.batches import cancel_batch, complete_batches, create_batch, pause_batch, seal_batch
from runware_jobs.store.database import sync_url
from runware_jobs.store.enqueue import enqueue
from runware_jobs.store.plans import run_async, run_sync
from tests.support.queued import BASE_URL, LIGHTHOUSE, enqueue_jobs, register_worker
from tests.support.rows import change_rows, read_job, read_rows

ALIAS = "2a7f2c9e-6c5c-4f0d-9c59-8b0b8e0c7a11"
KEYS = [
    ("idempotency_key", {"idempotency_key": "order-7"}),
    ("external_id", {"external_id": "order-7"}),
    ("alias", {"params": {"taskUUID": ALIAS}}),
]


def job(job_id=None, *, params=None, **options):
    return make_job(job_id or new_job_id(), "run", {**LIGHTHOUSE, **(params or {})}, Options(**options))


def planned(*jobs, batch_id=None):
    return enqueue(jobs, base_url=BASE_URL, fallback_url=BASE_URL, batch_id=batch_id)


async def add(engine, *jobs):
    async with engine.begin() as connection:
        return await run_async(connection, planned(*jobs))


async def count(engine, table):
    async with engine.connect() as connection:
        [row] = await read_rows(connection, f"SELECT count(*) AS rows FROM {table}")
    return row["rows"]


async def test_job_stands_in_the_queue_with_its_event(engine):
    [added] = await add(engine, job(priority=7, tags=("a", "b"), metadata={"user": 7}, delay_s=60))
    async with engine.connect() as connection:
        row = await read_job(connection, added.job_id)
        events = await read_rows(connection, "SELECT type, seq, run, job_id FROM event")

    assert tuple(row[name] for name in ("state", "priority", "tags", "metadata")) == (
        "queued",
        7,
        ["a", "b"],
        {"user": 7},
    )
    assert (row["run_at"] - row["created_at"]).total_seconds() == 60
    assert [{"type": "job.queued", "seq": 1, "run": 1, "job_id": added.job_id}] == events
    assert (row["created_at"], row["run_at"]) == (added.created_at, added.run_at)


@pytest.mark.parametrize(("kind", "key"), KEYS)
async def test_same_request_under_the_same_key_is_one_job(engine, kind, key):
    [first] = await add(engine, job(**key))
    [second] = await add(engine, job(**key))

    assert (first.job_id, True) == (second.job_id, second.replayed)
    assert await count(engine, "job") == 1
    assert await count(engine, "event") == 1


async def test_same_id_is_one_job(engine):
    job_id = new_job_id()
    await add(engine, job(job_id))
    [second] = await add(engine, job(job_id))

    assert (job_id, True) == (second.job_id, second.replayed)


@pytest.mark.parametrize(("kind", "key"), KEYS)
async def test_other_request_under_the_same_key_is_refused(engine, kind, key):
    [first] = await add(engine, job(**key))
    other = {
        "params": {**key.get("params", {}), "seed": 1},
        **{n: v for n, v in key.items() if n != "params"},
    }
    with pytest.raises(IdempotencyConflict) as refused:
        await add(engine, job(**other))

    assert (kind, str(first.job_id)) == (refused.value.parameter, refused.value.job_id)
    assert await count(engine, "job") == 1


@pytest.mark.parametrize(("kind", "key"), KEYS)
async def test_key_of_a_pruned_job_is_spent(engine, kind, key):
    job_id = uuid4()
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "INSERT INTO tombstone (tenant, key_kind, key, request_hash, job_id, final_state)"
            " VALUES ('default', :kind, :key, '\\x00', :job_id, 'succeeded')",
            kind=kind,
            key=ALIAS if kind == "alias" else "order-7",
            job_id=job_id,
        )
    with pytest.raises(JobForgotten, match="succeeded") as refused:
        await add(engine, job(**key))

    assert str(job_id) == refused.value.job_id
    assert await count(engine, "job") == 0


async def test_tenants_do_not_share_keys(engine):
    await add(engine, job(idempotency_key="k", tenant="a"), job(idempotency_key="k", tenant="b"))

    assert await count(engine, "job") == 2


async def test_twice_the_same_key_in_one_call_is_one_job(engine):
    first, second = await add(engine, job(idempotency_key="k"), job(idempotency_key="k"))

    assert first.job_id == second.job_id
    assert {False, True} == {first.replayed, second.replayed}


async def test_id_of_another_tenants_job_is_taken_and_says_nothing_of_it(engine):
    job_id = new_job_id()
    await add(engine, job(job_id, tenant="a"))
    with pytest.raises(IdempotencyConflict, match="is taken") as refused:
        await add(engine, job(job_id, tenant="b"))

    assert ("id", str(job_id)) == (refused.value.parameter, refused.value.job_id)
    assert await count(engine, "job") == 1


async def test_keys_of_two_jobs_are_refused_with_both_named(engine):
    [one] = await add(engine, job(idempotency_key="order-7"))
    [other] = await add(engine, job(external_id="order-7"))
    with pytest.raises(IdempotencyConflict, match=str(other.job_id)) as refused:
        await add(engine, job(idempotency_key="order-7", external_id="order-7"))

    assert ("external_id", str(one.job_id)) == (refused.value.parameter, refused.value.job_id)


async def test_five_thousand_jobs_in_one_call(engine):
    keyed = [job(idempotency_key=f"k{n}") for n in range(5000)]
    added = await add(engine, *keyed)
    again = await add(engine, *[job(idempotency_key=f"k{n}") for n in range(5000)])

    assert [one.id for one in keyed] == [one.job_id for one in added] == [one.job_id for one in again]
    assert await count(engine, "event") == 5000
    assert all(one.replayed for one in again)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("driver", ["connection", "session", "psycopg"])
def test_job_lives_and_dies_with_the_callers_transaction(clean_database, driver, committed):
    url = sync_url(clean_database)
    engine = create_engine(url)
    if driver == "psycopg":
        with psycopg.connect(clean_database) as connection:
            run_sync(connection, planned(job()))
            _end(connection, committed=committed)
    else:
        with engine.connect() if driver == "connection" else Session(engine) as connection:
            run_sync(connection, planned(job()))
            _end(connection, committed=committed)
    engine.dispose()
    with psycopg.connect(clean_database) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM runware_jobs.{table}").fetchone()[0]
            for table in ("job", "event", "bucket")
        ]

    assert [int(committed)] * 3 == counts


def _end(connection, *, committed):
    if committed:
        connection.commit()
    else:
        connection.rollback()


@pytest.mark.parametrize("committed", [True, False])
async def test_job_lives_and_dies_with_an_async_transaction(engine, committed):
    async with engine.connect() as connection:
        await run_async(connection, planned(job()))
        await (connection.commit() if committed else connection.rollback())

    assert int(committed) == await count(engine, "job")


def test_connection_that_is_none_is_refused_by_name():
    with pytest.raises(InvalidJob, match="not str") as refused:
        run_sync("postgresql://", planned(job()))

    assert refused.value.parameter == "session"


async def test_job_of_a_paused_batch_waits_with_it(engine, owner):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
        await pause_batch(connection, batch_id, reason="user")
        await enqueue_jobs(connection, batch_id=batch_id)
        [bucket] = await read_rows(connection, "SELECT state, pause_reason FROM bucket")

    assert bucket == {"state": "paused", "pause_reason": "user"}


@pytest.mark.parametrize("ending", ["canceled", "ended"])
async def test_batch_that_is_over_takes_no_more_jobs(engine, owner, ending):
    batch_id = uuid4()
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
        if ending == "canceled":
            await cancel_batch(connection, batch_id)
        else:
            await seal_batch(connection, batch_id)
            await complete_batches(connection)
    with pytest.raises(NotPossible, match=f"{batch_id}.*{ending}") as refused:
        async with engine.begin() as connection:
            await enqueue_jobs(connection, batch_id=batch_id)

    assert refused.value.parameter == "batch"
    assert (await count(engine, "job"), await count(engine, "bucket")) == (0, 0)


async def test_job_of_a_batch_that_is_over_replays(engine, owner):
    batch_id, one = uuid4(), job(idempotency_key="k")
    async with engine.begin() as connection:
        await create_batch(connection, batch_id, tenant="default", name="", budget_usd=None)
        await run_async(connection, planned(one, batch_id=batch_id))
        await cancel_batch(connection, batch_id)
        [again] = await run_async(connection, planned(job(idempotency_key="k"), batch_id=batch_id))

    assert (one.id, True) == (again.job_id, again.replayed)


async def test_batch_that_is_not_there_is_named(engine, owner):
    batch_id = uuid4()
    with pytest.raises(JobNotFound, match=str(batch_id)):
        async with engine.begin() as connection:
            await enqueue_jobs(connection, batch_id=batch_id)


async def test_keys_are_looked_up_one_by_one_however_many_are_spent(engine, owner):
    """A lookup by tenant alone would read every key that the tenant has ever used, for each job."""
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "INSERT INTO tombstone (tenant, key_kind, key, request_hash, job_id, final_state)"
            " SELECT 'default', 'idempotency_key', 'k' || n, '\\x00', gen_random_uuid(), 'succeeded'"
            " FROM generate_series(1, 20000) AS n",
        )
        await change_rows(connection, "ANALYZE tombstone")
        await change_rows(connection, "SELECT pg_stat_reset_single_table_counters('tombstone'::regclass)")
    await add(engine, *[job(idempotency_key=f"new{n}") for n in range(20)])
    async with engine.begin() as connection:
        await change_rows(connection, "SELECT pg_stat_force_next_flush()")
    async with engine.connect() as connection:
        [read] = await read_rows(
            connection,
            "SELECT sum(seq_tup_read + idx_tup_fetch) AS rows FROM pg_stat_user_tables WHERE relname = 'tombstone'",
        )

    # Reading them all would be 20,000 for each job; the planner looks at an index' ends for itself.
    assert read["rows"] < 100


async def test_first_worker_takes_the_jobs_that_came_before_it(engine):
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection)
    async with engine.begin() as connection:
        owner = await register_worker(connection)
        row = await read_job(connection, job_id)

    assert owner.account_id == row["account_id"]


async def test_job_without_a_base_url_goes_to_the_account_that_is_served(engine, owner):
    async with engine.begin() as connection:
        [added] = await run_async(
            connection, enqueue([job()], base_url=None, fallback_url="http://nobody.test/v1")
        )
        row = await read_job(connection, added.job_id)

    assert owner.account_id == row["account_id"]


async def test_queued_is_told_to_those_who_asked_for_it(engine):
    async with engine.begin() as connection:
        account = await register_worker(connection)
        await processes.register(
            connection, account_id=account.account_id, host="h", pid=2, signals=["on_state"]
        )
        wanted = await endpoints.add_endpoint(
            connection, tenant="default", url="https://a.test", events=["job.queued"], secret=b"s"
        )
        await endpoints.add_endpoint(
            connection, tenant="default", url="https://b.test", events=[], secret=b"s"
        )
        await enqueue_jobs(connection)
        rows = await read_rows(connection, "SELECT sink, endpoint_id FROM outbox ORDER BY sink")

    assert [{"sink": "signal", "endpoint_id": None}, {"sink": "webhook", "endpoint_id": wanted}] == rows


def test_ids_are_the_callers():
    assert isinstance(job(UUID(int=1)).id, UUID)
