"""Events sent again: one, or those of a time; in order, under their ids, and once while they wait."""

from __future__ import annotations

import asyncio
import datetime as dt
from uuid import UUID, uuid4

import pytest

from runware_jobs.core.signing import Vault
from runware_jobs.errors import InvalidJob, JobNotFound, NotPossible
from runware_jobs.store import endpoints
from runware_jobs.webhook_endpoints import DeliveryFilter, WebhookEndpoints
from tests.steps.test_deliver import canceled
from tests.support.polling import poll_until_async
from tests.support.rows import change_rows, read_rows
from tests.webhooks.test_endpoints import add, change, outbox_of, rows

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def service(engine):
    return WebhookEndpoints(engine, Vault("a key"), allow_private=False)


async def log_all(engine, state):
    """Log a try of everything in the outbox: what was delivered leaves it, what is dead or failed stays."""
    async with engine.begin() as connection:
        await change_rows(
            connection,
            "INSERT INTO delivery (event_id, event_created_at, tenant, job_id, endpoint_id, url, number, state,"
            " status_code, duration_ms) SELECT event_id, event_created_at, endpoint.tenant, job_id, endpoint_id,"
            " outbox.url, 1, :state, 200, 3 FROM outbox JOIN endpoint ON endpoint.id = endpoint_id"
            " WHERE NOT is_dead ORDER BY outbox.id",
            state=state,
        )
        left = await read_rows(connection, "SELECT event_id FROM outbox WHERE NOT is_dead ORDER BY id")
        await change_rows(
            connection,
            "DELETE FROM outbox"
            if state == "delivered"
            else "UPDATE outbox SET is_dead = true, attempts = 9",
        )
    return [row["event_id"] for row in left]


async def event_ids(engine, endpoint_id):
    return [row["event_id"] for row in await outbox_of(engine, endpoint_id)]


async def span(service, endpoint_id, **options):
    return (await service.redeliver_span(endpoint_id, tenant=None, since=LONG_AGO, **options)).queued


async def test_one_that_died_begins_its_tries_anew_in_its_old_place(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await log_all(engine, "dead")
    [delivery] = await service.deliveries(tenant=None)
    [before] = await outbox_of(engine, endpoint_id)

    for _ in "ab":
        await service.redeliver(UUID(delivery["id"]), tenant="default")

    [after] = await outbox_of(engine, endpoint_id)
    assert (before["id"], True) == (after["id"], before["is_dead"])
    assert (after["is_dead"], after["attempts"]) == (False, 0)


async def test_one_that_was_delivered_leaves_once_more_however_often_it_is_asked_for(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    [event_id] = await log_all(engine, "delivered")
    [delivery] = await service.deliveries(tenant=None)

    await asyncio.gather(*(service.redeliver(UUID(delivery["id"]), tenant=None) for _ in range(4)))

    assert await event_ids(engine, endpoint_id) == [event_id]


async def test_one_that_waits_for_hours_leaves_now_and_one_in_somebodys_hands_is_left_alone(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await log_all(engine, "failed")
    [delivery] = await service.deliveries(tenant=None)
    due = []
    for holder in (None, uuid4()):
        await change(
            engine,
            "UPDATE outbox SET is_dead = false, attempts = 3, due_at = now() + interval '1 h', holder = :holder",
            holder=holder,
        )
        await service.redeliver(UUID(delivery["id"]), tenant=None)
        due += await rows(engine, "SELECT due_at <= now() AS now, attempts FROM outbox")

    assert due == [{"now": True, "attempts": 0}, {"now": False, "attempts": 3}]
    assert len(await event_ids(engine, endpoint_id)) == 1


async def test_what_was_pruned_or_is_for_a_disabled_endpoint_is_refused_with_the_reason(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await log_all(engine, "delivered")
    [delivery] = await service.deliveries(tenant=None)

    await service.change(endpoint_id, tenant=None, is_enabled=False)
    with pytest.raises(NotPossible, match="enable it first"):
        await service.redeliver(UUID(delivery["id"]), tenant=None)
    with pytest.raises(NotPossible, match="enable it first"):
        await span(service, endpoint_id)

    await service.change(endpoint_id, tenant=None, is_enabled=True)
    await change(engine, "DELETE FROM event")
    with pytest.raises(NotPossible, match="pruned"):
        await service.redeliver(UUID(delivery["id"]), tenant=None)
    assert await event_ids(engine, endpoint_id) == []


async def test_events_of_a_time_leave_in_order_also_those_never_told(engine, service):
    endpoint_id = await add(engine, "job.queued", "job.canceled")
    await canceled(engine)
    await log_all(engine, "delivered")
    await service.change(endpoint_id, tenant=None, is_enabled=False)
    await canceled(engine)
    await service.change(endpoint_id, tenant=None, is_enabled=True)
    told = await rows(
        engine,
        "SELECT id FROM event WHERE type IN ('job.queued', 'job.canceled') ORDER BY created_at, seq",
    )

    assert await span(service, endpoint_id) == len(told) == 4
    assert await event_ids(engine, endpoint_id) == [row["id"] for row in told]
    assert await span(service, endpoint_id) == 0
    assert len(await event_ids(engine, endpoint_id)) == 4


async def test_only_what_was_never_answered_with_2xx(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await log_all(engine, "delivered")
    await canceled(engine)
    [dead] = await log_all(engine, "dead")
    await service.change(endpoint_id, tenant=None, is_enabled=False)
    await canceled(engine)
    await service.change(endpoint_id, tenant=None, is_enabled=True)

    assert await span(service, endpoint_id, only_failed=True) == 2
    waiting = await event_ids(engine, endpoint_id)
    assert (len(waiting), waiting[0]) == (2, dead)


async def test_a_time_is_from_since_up_to_and_not_with_until(engine, service):
    endpoint_id = await add(engine)
    for _ in range(3):
        await canceled(engine)
    await log_all(engine, "delivered")
    first, second, third = await rows(
        engine, "SELECT id, created_at FROM event WHERE type = 'job.canceled' ORDER BY created_at"
    )

    done = await service.redeliver_span(
        endpoint_id, tenant=None, since=second["created_at"], until=third["created_at"]
    )

    assert done.queued == 1
    assert await event_ids(engine, endpoint_id) == [second["id"]]
    assert first["created_at"] < second["created_at"]


@pytest.mark.parametrize(
    ("label", "since", "until", "parameter"),
    [
        ("no zone", dt.datetime(2026, 1, 1), None, "since"),  # noqa: DTZ001  what is refused
        ("nothing between", LONG_AGO, LONG_AGO, "until"),
        ("the other way round", LONG_AGO, LONG_AGO - dt.timedelta(days=1), "until"),
    ],
)
async def test_a_time_that_is_none_is_refused(engine, service, label, since, until, parameter):
    with pytest.raises(InvalidJob) as refused:
        await service.redeliver_span(await add(engine), tenant=None, since=since, until=until)

    assert refused.value.parameter == parameter, label


async def test_nobody_sends_what_is_another_tenants(engine, service):
    theirs = await add(engine, tenant="other")
    await canceled(engine)

    with pytest.raises(JobNotFound):
        await service.redeliver_span(theirs, tenant="default", since=LONG_AGO)
    with pytest.raises(JobNotFound):
        await service.redeliver_span(uuid4(), tenant=None, since=LONG_AGO)
    assert await span(service, theirs) == 0


async def test_an_endpoint_is_not_told_that_it_was_disabled(engine, service):
    endpoint_id, other = await add(engine), await add(engine)
    async with engine.begin() as connection:
        await endpoints.disable_endpoint(connection, endpoint_id, reason="410 Gone")
    await change(engine, "DELETE FROM outbox")
    await service.change(endpoint_id, tenant=None, is_enabled=True)

    assert await span(service, endpoint_id) == 0
    assert await span(service, other) == 1


async def test_the_default_endpoint_sends_again_what_webhook_urls_were_told(engine, service):
    async with engine.begin() as connection:
        await endpoints.ensure_default_endpoint(connection, "default", b"x")
    await canceled(engine, webhook_url="https://hooks.example/one")
    await canceled(engine)
    await change(engine, "DELETE FROM outbox")

    assert await span_of_default(service) == 1
    [row] = await rows(engine, "SELECT url FROM outbox")
    assert row["url"] == "https://hooks.example/one"


async def span_of_default(service):
    return (await service.redeliver_span("default", tenant="default", since=LONG_AGO)).queued


async def test_many_events_leave_in_pages_each_once(engine, service):
    """A thousand of one moment: a page ends between two that no time tells apart."""
    endpoint_id = await add(engine)
    await change(
        engine,
        "INSERT INTO event (id, type, tenant, seq) SELECT gen_random_uuid(), 'batch.completed', 'default', n % 7"
        " FROM generate_series(1, 1000) AS n",
    )
    queued, after, pages = 0, None, 0
    while pages == 0 or after is not None:
        done = await service.redeliver_span(endpoint_id, tenant=None, since=LONG_AGO, after=after, limit=300)
        queued, after, pages = queued + done.queued, done.after, pages + 1

    assert (queued, pages) == (1000, 4)
    assert len(set(await event_ids(engine, endpoint_id))) == 1000


async def test_who_asks_while_another_is_at_it_waits_and_doubles_nothing(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await log_all(engine, "delivered")
    [delivery] = await service.deliveries(tenant=None)
    async with engine.begin() as first:
        assert await endpoints.redeliver(first, UUID(delivery["id"]), tenant=None)
        asked = [
            asyncio.create_task(span(service, endpoint_id)),
            asyncio.create_task(service.redeliver(UUID(delivery["id"]), tenant=None)),
        ]
        await poll_until_async(lambda: two_wait(engine), what="both wait for the first")

    assert await asyncio.gather(*asked) == [0, None]
    assert len(await event_ids(engine, endpoint_id)) == 1


async def two_wait(engine):
    [row] = await rows(
        engine,
        "SELECT count(*) AS waiting FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()",
    )
    return row["waiting"] == 2


async def test_many_events_are_queued_in_small_transactions_each_once(engine, service):
    endpoint_id = await add(engine)
    await change(
        engine,
        "INSERT INTO event (id, type, tenant) SELECT gen_random_uuid(), 'batch.completed', 'default'"
        " FROM generate_series(1, 1200)",
    )

    queued = await asyncio.gather(*(span(service, endpoint_id) for _ in range(3)))

    assert sum(queued) == 1200
    [used] = await rows(
        engine, "SELECT count(DISTINCT xmin::text) AS transactions, count(*) AS events FROM outbox"
    )
    assert used == {"transactions": 3, "events": 1200}


async def test_who_asks_waits_for_no_deliverer_that_holds_rows_and_will_want_the_endpoint(engine, service):
    endpoint_id = await add(engine)
    await canceled(engine)
    await canceled(engine)
    await log_all(engine, "dead")
    async with engine.begin() as deliverer:
        await read_rows(deliverer, "SELECT * FROM outbox ORDER BY id LIMIT 1 FOR UPDATE")
        async with asyncio.timeout(10):
            assert await span(service, endpoint_id) == 1
        await endpoints.note_failure(deliverer, [endpoint_id])

    assert await span(service, endpoint_id) == 1


async def test_the_log_is_narrowed_down(engine, service):
    first, second = await add(engine), await add(engine, "job.queued")
    jobs = [await canceled(engine), await canceled(engine)]
    await log_all(engine, "delivered")
    await canceled(engine)
    await log_all(engine, "dead")

    async def count(**wanted):
        return len(await service.deliveries(tenant="default", wanted=DeliveryFilter(**wanted)))

    assert await count() == 6
    assert (await count(endpoint_id=first), await count(endpoint_id=second)) == (3, 3)
    assert (await count(state="dead"), await count(state="failed")) == (2, 0)
    assert (await count(type="job.canceled"), await count(type="job.failed")) == (3, 0)
    assert await count(job_id=jobs[0]) == 2
    assert await count(job_id=jobs[0], endpoint_id=first, state="delivered", type="job.canceled") == 1
