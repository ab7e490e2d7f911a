"""The outbox: a row for each sink that wants an event, in order per job, put off, dead, again."""

from __future__ import annotations

import pytest

from runware_jobs.core.decisions import SendOutcome, Sent, after_send
from runware_jobs.core.events import EventType
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.words import item_error
from runware_jobs.store import endpoints, processes
from runware_jobs.store.moves import carry_out, lock_owned
from tests.support.delivering import claim, mark_delivered, put_off
from tests.support.queued import accept_tasks, claim_jobs, enqueue_jobs
from tests.support.rows import change_rows, read_rows

URL = "https://hooks.example/a"


async def leave(connection, owner, **options):
    """Bring a job to its refusal and give what is in the outbox for it."""
    [job_id] = await enqueue_jobs(connection, **options)
    [job] = await claim_jobs(connection, owner)
    live = await lock_owned(connection, owner, [job.task_uuid])
    refused = SendOutcome(Sent.REFUSED)
    await carry_out(
        connection, [after_send(one, refused, classify=item_error, random=0) for one in live.values()]
    )
    return await read_rows(
        connection,
        "SELECT sink, type, url FROM outbox JOIN event ON event.id = event_id"
        " WHERE outbox.job_id = :id ORDER BY outbox.id",
        id=job_id,
    )


async def endpoint(connection, *events, url=URL, tenant="default"):
    return await endpoints.add_endpoint(connection, tenant=tenant, url=url, events=events, secret=b"secret")


async def test_nobody_wants_anything_and_nothing_is_written(engine, owner):
    async with engine.begin() as connection:
        assert await leave(connection, owner) == []


@pytest.mark.parametrize(
    ("label", "events", "types"),
    [
        ("the default ones", (), ["job.failed"]),
        ("those asked for", ("job.queued", "job.failed"), ["job.queued", "job.failed"]),
        ("others", ("job.succeeded",), []),
    ],
)
async def test_endpoint_is_told_what_it_asked_for(engine, owner, label, events, types):
    async with engine.begin() as connection:
        await endpoint(connection, *events)
        rows = await leave(connection, owner)

    assert types == [row["type"] for row in rows]


async def test_endpoint_of_another_tenant_and_a_disabled_one_are_told_nothing(engine, owner):
    async with engine.begin() as connection:
        await endpoint(connection, tenant="other")
        await endpoints.disable_endpoint(connection, await endpoint(connection), reason="user")
        rows = await leave(connection, owner)

    assert rows == []


async def test_webhook_url_of_one_job_is_signed_with_the_tenants_default(engine, owner):
    async with engine.begin() as connection:
        await endpoints.ensure_default_endpoint(connection, "default", b"theirs")
        await endpoints.ensure_default_endpoint(connection, "default", b"later ones change nothing")
        rows = await leave(connection, owner, webhook_url=URL)
        [due] = await claim(connection)

    assert rows == [{"sink": "webhook", "type": "job.failed", "url": URL}]
    assert (due.url, due.secrets) == (URL, (b"theirs",))


async def test_link_is_fired_for_the_end_of_the_first_run_only(engine, owner):
    async with engine.begin() as connection:
        first = await leave(connection, owner, link_error={"task": "sorry"})
        await change_rows(connection, "UPDATE job SET run = 2, state = 'queued', finished_at = NULL")
        [job] = await claim_jobs(connection, owner)
        live = await lock_owned(connection, owner, [job.task_uuid])
        await carry_out(
            connection,
            [
                after_send(one, SendOutcome(Sent.REFUSED), classify=item_error, random=0)
                for one in live.values()
            ],
        )
        links = await read_rows(connection, "SELECT id FROM outbox WHERE sink = 'link'")

    assert [row["sink"] for row in first] == ["link"]
    assert len(links) == 1


@pytest.mark.parametrize(
    ("label", "signals", "ends", "wanted"),
    [
        ("a live process with receivers", ["on_state"], False, ["job.queued", "job.failed"]),
        ("receivers of something else", ["on_result"], False, []),
        ("a process that has ended", ["on_state"], True, []),
    ],
)
async def test_signal_leaves_a_row_only_if_a_live_process_wants_it(
    engine, owner, label, signals, ends, wanted
):
    async with engine.begin() as connection:
        listener = await processes.register(
            connection, account_id=owner.account_id, host="h", pid=2, signals=signals
        )
        if ends:
            await processes.give_back(connection, listener)
        rows = await leave(connection, owner)

    assert wanted == [row["type"] for row in rows if row["sink"] == "signal"]


async def told(connection, owner, *jobs_options):
    await endpoint(connection, *EventType)
    for options in jobs_options:
        await leave(connection, owner, **options)


async def test_events_of_a_job_leave_one_after_another(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {})
        seen = []
        while due := await claim(connection):
            seen.append([row.seq for row in due])
            await mark_delivered(connection, due)

    assert seen == [[1], [2]]


async def test_jobs_do_not_wait_for_each_other(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {}, {})
        due = await claim(connection)

    assert [row.seq for row in due] == [1, 1]


async def test_held_row_is_given_again_only_when_its_holder_is_late(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {})
        [first] = await claim(connection)
        none = await claim(connection)
        await change_rows(connection, "UPDATE outbox SET due_at = now() WHERE id = :id", id=first.id)
        [again] = await claim(connection)

    assert none == []
    assert (first.event_id, 0) == (again.event_id, again.attempts)


async def test_row_that_was_put_off_waits_and_counts_and_dies(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {})
        [first] = await claim(connection)
        await put_off(connection, first, delay_s=0)
        [second] = await claim(connection)
        await put_off(connection, second, delay_s=None)
        [next_one] = await claim(connection)
        dead = await read_rows(connection, "SELECT id FROM outbox WHERE is_dead")

    assert (second.attempts, first.seq) == (1, 1)
    assert next_one.seq == 2
    assert [{"id": first.id}] == dead


async def test_rows_of_a_disabled_endpoint_stay_until_it_is_enabled_again(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {})
        [target] = await read_rows(connection, "SELECT id FROM endpoint")
        await endpoints.disable_endpoint(connection, target["id"], reason="410 Gone")
        none = await claim(connection)
        await endpoints.change_endpoint(connection, target["id"], is_enabled=True)
        again = await claim(connection)

    assert (len(none), len(again)) == (0, 1)


async def test_delivery_can_be_sent_again(engine, owner):
    async with engine.begin() as connection:
        await told(connection, owner, {})
        [due] = await claim(connection)
        await mark_delivered(connection, [due])
        [logged] = await endpoints.list_deliveries(connection, tenant="default", limit=9)
        others = await endpoints.redeliver(connection, logged["id"], tenant="other")
        theirs = await endpoints.redeliver(connection, logged["id"], tenant="default")
        rows = await read_rows(connection, "SELECT id FROM outbox WHERE event_id = :id", id=due.event_id)

    assert (others, theirs) == (False, True)
    assert (len(rows), logged["type"]) == (1, "job.queued")


async def test_canceled_job_tells_that_it_was(engine, owner):
    async with engine.begin() as connection:
        await endpoint(connection)
        [job_id] = await enqueue_jobs(connection)
        [job] = await claim_jobs(connection, owner)
        await accept_tasks(connection, owner, [job.task_uuid])
        await cancel(connection, job_id, tenant="default")
        due = await claim(connection)

    assert [row.type for row in due] == ["job.canceled"]
