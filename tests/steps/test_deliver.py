"""Deliver: signed webhooks at a real receiver, tried again, given up, never in each other's way."""

from __future__ import annotations

import json
from dataclasses import replace

from standardwebhooks.webhooks import Webhook

from runware_jobs.core.signing import Vault, new_secret
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.deliver import MAX_BODY_BYTES, deliver
from runware_jobs.steps.submit import submit
from runware_jobs.store import outbox
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows
from tests.webhooks.receiver import Receiver, answering


async def add_endpoint(engine, context, url, *events, secret=None):
    secret = secret or new_secret()
    async with engine.begin() as connection:
        endpoint_id = await outbox.add_endpoint(
            connection, tenant="default", url=url, events=events, secret=context.vault.encrypt(secret)
        )
    return endpoint_id, secret


async def canceled(engine, **options):
    """Leave one final event, without the platform."""
    async with engine.begin() as connection:
        [job_id] = await enqueue_jobs(connection, **options)
        await cancel(connection, job_id, tenant=None)
    return job_id


async def rows_of(engine, statement):
    async with engine.connect() as connection:
        return await read_rows(connection, statement)


async def make_due(engine):
    async with engine.begin() as connection:
        await change_rows(connection, "UPDATE outbox SET due_at = now()")


async def test_receiver_verifies_the_job_as_it_ended(engine, emulator, workers):
    async with Receiver() as receiver, workers() as context:
        _, secret = await add_endpoint(engine, context, receiver.url())
        [job_id] = await added(engine, metadata={"user": 7})
        await follow(context, (await submit(context)).watches)
        claimed = await deliver(context)
        [request] = receiver.requests
        event = Webhook(secret).verify(request.body, request.headers)
        logged = await rows_of(engine, "SELECT state, status_code, number FROM delivery")
        left = await rows_of(engine, "SELECT id FROM outbox")

    assert claimed == 1
    assert ("job.succeeded", str(job_id)) == (event["type"], event["job_id"])
    assert (event["data"]["state"], event["data"]["metadata"]) == ("succeeded", {"user": 7})
    assert event["data"]["results"][0]["imageURL"]
    assert event["id"] == request.headers["webhook-id"]
    assert logged == [{"state": "delivered", "status_code": 200, "number": 1}]
    assert left == []


async def test_failed_delivery_comes_again_under_the_same_id(engine, workers):
    async with Receiver(answering("500 Oops")) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        await deliver(context)
        none_yet = await deliver(context)
        receiver._answer = answering("204 No Content")
        await make_due(engine)
        await deliver(context)
        first, second = receiver.requests
        logged = await rows_of(
            engine, "SELECT state, number, next_at IS NULL AS last FROM delivery ORDER BY number"
        )

    assert none_yet == 0
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [(row["state"], row["number"], row["last"]) for row in logged] == [
        ("failed", 1, False),
        ("delivered", 2, True),
    ]


async def test_delivery_dies_after_its_last_try_and_is_kept(engine, workers):
    async with Receiver(answering("500 Oops")) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE outbox SET attempts = 9")
        await deliver(context)
        [row] = await rows_of(engine, "SELECT is_dead FROM outbox")
        [logged] = await rows_of(engine, "SELECT state FROM delivery")

    assert (row["is_dead"], logged["state"]) == (True, "dead")


async def test_receiver_that_is_gone_is_not_called_again(engine, workers):
    async with Receiver(answering("410 Gone")) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        await deliver(context)
        [endpoint] = await rows_of(engine, "SELECT is_enabled, disabled_reason FROM endpoint")
        await canceled(engine)
        later = await deliver(context)

    assert endpoint == {"is_enabled": False, "disabled_reason": "410 Gone"}
    assert (later, len(receiver.requests)) == (0, 1)


async def test_body_stays_small_and_names_what_it_left_out(engine, workers):
    async with Receiver() as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine, metadata={"story": "x" * 50_000})
        await deliver(context)
        [request] = receiver.requests
    event = json.loads(request.body)

    assert len(request.body) < MAX_BODY_BYTES
    assert event["truncated"] == ["results", "failures", "metadata"]
    assert event["data"]["state"] == "canceled"


async def test_webhook_that_cannot_be_signed_keeps_no_other_from_leaving(engine, workers):
    """Its secret was encrypted under a key that this worker does not have."""
    async with Receiver() as receiver, workers() as context:
        async with engine.begin() as connection:
            await outbox.add_endpoint(
                connection,
                tenant="default",
                url=receiver.url("/strange"),
                events=[],
                secret=Vault("another key").encrypt(new_secret()),
            )
        await add_endpoint(engine, context, receiver.url("/known"))
        await canceled(engine)
        claimed = await deliver(context)
        logged = await rows_of(engine, "SELECT state, reason FROM delivery WHERE url LIKE '%strange'")

    assert claimed == 2
    assert [request.target for request in receiver.requests] == ["/known"]
    assert logged[0]["state"] == "failed"
    assert "RUNWARE_JOBS_SECRET_KEY" in logged[0]["reason"]


async def test_endpoint_that_was_removed_meanwhile_keeps_no_other_from_leaving(engine, workers):
    async with workers() as context:
        removed: list[object] = []

        async def answer(request, writer):
            async with engine.begin() as connection:
                for endpoint_id in removed:
                    await outbox.remove_endpoint(connection, endpoint_id, tenant=None)
            await answering()(request, writer)

        async with Receiver(answer) as receiver:
            endpoint_id, _ = await add_endpoint(engine, context, receiver.url("/a"))
            removed.append(endpoint_id)
            await canceled(engine)
            claimed = await deliver(context)
            left = await rows_of(engine, "SELECT id FROM outbox")

    assert claimed == 1
    assert left == []


async def test_nothing_is_claimed_without_a_key(engine, workers):
    async with workers() as context:
        await add_endpoint(engine, context, "https://a.example")
        await canceled(engine)

        assert await deliver(replace(context, vault=None)) == 0
        assert len(await rows_of(engine, "SELECT id FROM outbox WHERE due_at <= now()")) == 1


async def test_outbox_is_looked_into_only_when_something_is_to_leave(engine, emulator, workers):
    async with workers() as context:
        await added(engine)
        await follow(context, (await submit(context)).watches)
        hinted_for_nobody = context.outbox_due.is_set()
        await add_endpoint(engine, context, "https://example.com/hook")
        await added(engine)
        await follow(context, (await submit(context)).watches)
        hinted_for_a_receiver = context.outbox_due.is_set()

    assert (hinted_for_nobody, hinted_for_a_receiver) == (False, True)
