"""Deliver: signed webhooks at a real receiver, tried again, given up, never in each other's way."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook

from runware_jobs.core.signing import Vault, new_secret
from runware_jobs.steps.cancel import cancel
from runware_jobs.steps.deliver import HOLD_S, SEND_WITHIN_S, Deliveries
from runware_jobs.steps.outcome import send
from runware_jobs.steps.submit import submit
from runware_jobs.steps.webhook_body import MAX_BODY_BYTES
from runware_jobs.store import endpoints
from runware_jobs.webhooks.sender import DEFAULT_TIMEOUT_S
from runware_jobs.worker.delivering import Delivering
from tests.steps.conftest import follow
from tests.steps.test_submit_and_poll import added
from tests.support.delivering import claim, deliver
from tests.support.polling import PATIENCE_S
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows
from tests.webhooks.receiver import Receiver, answering


async def add_endpoint(engine, context, url, *events, secret=None):
    secret = secret or new_secret()
    async with engine.begin() as connection:
        endpoint_id = await endpoints.add_endpoint(
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
        await deliver(context)
        [request] = receiver.requests
        event = Webhook(secret).verify(request.body, request.headers)
        logged = await rows_of(engine, "SELECT state, status_code, number FROM delivery")
        left = await rows_of(engine, "SELECT id FROM outbox")

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
        await deliver(context)
        asked_before_it_is_due = len(receiver.requests)
        receiver._answer = answering("204 No Content")
        await make_due(engine)
        await deliver(context)
        first, second = receiver.requests
        logged = await rows_of(
            engine, "SELECT state, number, next_at IS NULL AS last FROM delivery ORDER BY number"
        )

    assert asked_before_it_is_due == 1
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
        await deliver(context)

    assert endpoint == {"is_enabled": False, "disabled_reason": "410 Gone"}
    assert len(receiver.requests) == 1


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
            await endpoints.add_endpoint(
                connection,
                tenant="default",
                url=receiver.url("/strange"),
                events=[],
                secret=Vault("another key").encrypt(new_secret()),
            )
        await add_endpoint(engine, context, receiver.url("/known"))
        await canceled(engine)
        await deliver(context)
        logged = await rows_of(engine, "SELECT state, reason FROM delivery WHERE url LIKE '%strange'")

    assert [request.target for request in receiver.requests] == ["/known"]
    assert logged[0]["state"] == "failed"
    assert "RUNWARE_JOBS_SECRET_KEY" in logged[0]["reason"]


async def test_endpoint_that_was_removed_meanwhile_keeps_no_other_from_leaving(engine, workers):
    async with workers() as context:
        removed: list[object] = []

        async def answer(request, writer):
            async with engine.begin() as connection:
                for endpoint_id in removed:
                    await endpoints.remove_endpoint(connection, endpoint_id, tenant=None)
            await answering()(request, writer)

        async with Receiver(answer) as receiver:
            endpoint_id, _ = await add_endpoint(engine, context, receiver.url("/a"))
            removed.append(endpoint_id)
            await canceled(engine)
            await deliver(context)
            left = await rows_of(engine, "SELECT id FROM outbox")

    assert left == []


async def test_nothing_is_claimed_without_a_key(engine, workers):
    async with workers() as context:
        await add_endpoint(engine, context, "https://a.example")
        await canceled(engine)

        await deliver(replace(context, vault=None))

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


@asynccontextmanager
async def delivering(context):
    """Deliver as a worker does; on leaving, drain."""
    draining = asyncio.Event()
    running = asyncio.create_task(Delivering(lambda: context, draining=draining).run())
    try:
        yield
    finally:
        draining.set()
        await asyncio.wait_for(running, PATIENCE_S)


def hanging(until):
    async def answer(request, writer):
        await until.wait()
        await answering()(request, writer)

    return answer


async def test_hanging_receiver_delays_no_other_and_gets_its_rows_back_at_the_drain(engine, workers):
    async with (
        Receiver(hanging(asyncio.Event())) as hangs,
        Receiver() as other,
        workers() as context,
    ):
        hung, _ = await add_endpoint(engine, context, hangs.url())
        async with engine.begin() as connection:
            for job_id in await enqueue_jobs(connection, 200):
                await cancel(connection, job_id, tenant=None)
        async with delivering(context):
            await asyncio.wait_for(hangs.arrived.wait(), PATIENCE_S)
            await add_endpoint(engine, context, other.url())
            await canceled(engine)
            context.outbox_due.set()
            await asyncio.wait_for(other.arrived.wait(), PATIENCE_S)
            at_once = len(hangs.requests)
        rows = await rows_of(engine, "SELECT endpoint_id, holder, attempts FROM outbox")
        logged = await rows_of(engine, "SELECT state FROM delivery")

    assert at_once <= 8
    assert [row for row in rows if (row["holder"], row["attempts"]) != (None, 0)] == []
    assert {row["endpoint_id"] for row in rows} == {hung}
    assert [row["state"] for row in logged] == ["delivered"]


async def test_deliverer_whose_time_has_passed_changes_nothing_and_is_not_overtaken(engine, workers):
    """The hold of a slow delivery ends while it is on its way: another sends it again, and then the next."""
    released = asyncio.Event()
    async with Receiver(hanging(released)) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url(), "job.queued", "job.canceled")
        await canceled(engine)
        slow = Deliveries(lambda: context)
        await slow.turn()
        await asyncio.wait_for(receiver.arrived.wait(), PATIENCE_S)
        receiver._answer = answering()
        await make_due(engine)
        await deliver(context)
        released.set()
        await asyncio.wait_for(slow.came_back.wait(), PATIENCE_S)
        await slow.turn()
        seqs = [json.loads(request.body)["seq"] for request in receiver.requests]
        logged = await rows_of(engine, "SELECT state FROM delivery")
        left = await rows_of(engine, "SELECT id FROM outbox")

    assert seqs == [1, 1, 2]
    assert (len(logged), left) == (2, [])


async def test_row_whose_time_has_passed_before_it_could_be_sent_is_handed_back(engine, workers):
    async with Receiver() as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        async with engine.begin() as connection:
            [due] = await claim(connection)
        outcome = await send(context, due, None, unseal=context.vault.decrypt, may_send=lambda: False)

    assert receiver.requests == []
    assert (outcome.mark.is_done, outcome.mark.state, outcome.is_answered) == (False, None, None)


def test_row_is_held_for_longer_than_it_may_be_on_its_way():
    assert HOLD_S >= SEND_WITHIN_S + DEFAULT_TIMEOUT_S + 60


async def test_receiver_that_fails_again_and_again_rests_and_the_others_use_up_no_try(engine, workers):
    async with Receiver(answering("500 Oops")) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        async with engine.begin() as connection:
            for job_id in await enqueue_jobs(connection, 40):
                await cancel(connection, job_id, tenant=None)
        await deliver(context)
        failed = len(receiver.requests)
        tried = await rows_of(engine, "SELECT id FROM outbox WHERE attempts > 0")
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE receiver SET rests_until = now()")
        await deliver(context)
        probed = len(receiver.requests) - failed
        [resting] = await rows_of(engine, "SELECT rest_s, rests_until > now() AS rests FROM receiver")
        receiver._answer = answering()
        async with engine.begin() as connection:
            await change_rows(connection, "UPDATE receiver SET rests_until = now()")
            await change_rows(connection, "UPDATE outbox SET due_at = now()")
        await deliver(context)
        left = await rows_of(engine, "SELECT id FROM outbox")
        still_resting = await rows_of(engine, "SELECT id FROM receiver")

    assert 5 <= failed <= 5 + 8
    assert len(tried) == failed
    assert (probed, resting) == (1, {"rest_s": 10.0, "rests": True})
    assert (left, still_resting) == ([], [])


async def test_receiver_that_asks_for_time_gets_it_for_all_its_webhooks(engine, workers):
    slow_down = answering("429 Too Many Requests", headers={"Retry-After": "60"})
    async with Receiver(slow_down) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        await deliver(context)
        await canceled(engine)
        await deliver(context)
        [resting] = await rows_of(
            engine, "SELECT rests_until > now() + interval '50 seconds' AS is_long FROM receiver"
        )

    assert (len(receiver.requests), resting["is_long"]) == (1, True)


async def test_failing_endpoint_is_noted_and_forgiven(engine, workers):
    async with Receiver(answering("500 Oops")) as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        await deliver(context)
        [failing] = await rows_of(engine, "SELECT failing_since IS NOT NULL AS is_failing FROM endpoint")
        receiver._answer = answering()
        await make_due(engine)
        await deliver(context)
        [forgiven] = await rows_of(engine, "SELECT failing_since IS NOT NULL AS is_failing FROM endpoint")

    assert (failing["is_failing"], forgiven["is_failing"]) == (True, False)


async def test_endpoint_that_is_disabled_meanwhile_keeps_its_rows(engine, workers):
    async with Receiver() as receiver, workers() as context:
        endpoint_id, _ = await add_endpoint(engine, context, receiver.url())
        await canceled(engine)
        async with engine.begin() as connection:
            await endpoints.disable_endpoint(connection, endpoint_id, reason="user")
        await deliver(context)
        rows = await rows_of(engine, "SELECT holder FROM outbox")

    assert (rows, receiver.requests) == ([{"holder": None}], [])


@pytest.mark.parametrize(
    ("public_url", "begins"), [(None, "/v1/jobs/"), ("https://api.example/", "https://api.example/v1/jobs/")]
)
async def test_body_that_left_something_out_says_where_it_is(engine, workers, public_url, begins):
    async with Receiver() as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url())
        job_id = await canceled(engine, metadata={"story": "x" * 50_000})
        await deliver(replace(context, callback_base_url=public_url))
        [request] = receiver.requests

    assert json.loads(request.body)["job_url"] == f"{begins}{job_id}"


async def test_cost_that_comes_after_the_end_is_told_with_the_amount(engine, emulator, workers):
    async with Receiver() as receiver, workers() as context:
        await add_endpoint(engine, context, receiver.url(), "job.cost")
        [job_id] = await added(engine)
        watches = (await submit(context)).watches
        async with engine.begin() as connection:
            await cancel(connection, job_id, tenant=None)
        await follow(context, watches)
        await deliver(context)
        [request] = receiver.requests
        [job] = await rows_of(engine, "SELECT cost_usd::text FROM job")

    event = json.loads(request.body)
    assert event["type"] == "job.cost"
    assert event["data"]["billing"] == "billed"
    assert float(event["data"]["cost_usd"]) == float(job["cost_usd"]) > 0
    assert "results" not in event["data"]
