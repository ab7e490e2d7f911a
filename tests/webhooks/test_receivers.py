"""What the deliver step sends, verified by receivers with the official packages, in Python and in another language."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from runware_jobs.core.signing import new_secret, sign
from runware_jobs.store import endpoints
from runware_jobs.webhooks import Delivered, Failed, WebhookSender
from tests.steps.test_deliver import add_endpoint, canceled, make_due, rows_of
from tests.support.delivering import deliver
from tests.support.rows import change_rows

BODY = '{"id": "1f0c", "type": "job.succeeded", "data": {"who": "Zoë ☃"}}'.encode()


async def test_what_is_delivered_verifies(engine, workers, receiving):
    secret = new_secret()
    async with receiving(secret) as there, workers() as context:
        await add_endpoint(engine, context, there.url, secret=secret)
        job_id = await canceled(engine, metadata={"who": "Zoë ☃"})
        await deliver(context)
        said = await there.told()
        [logged] = await rows_of(engine, "SELECT state, status_code, event_id FROM delivery")

    assert said["verified"], said
    event = said["event"]
    assert (event["type"], event["job_id"], event["data"]["metadata"]) == (
        "job.canceled",
        str(job_id),
        {"who": "Zoë ☃"},
    )
    assert (logged["state"], logged["status_code"], str(logged["event_id"])) == (
        "delivered",
        204,
        event["id"],
    )


async def test_what_is_sent_again_is_known_by_its_id(engine, workers, receiving):
    secret = new_secret()
    async with receiving(secret) as there, workers() as context:
        await add_endpoint(engine, context, f"{there.url}/once-500", secret=secret)
        await canceled(engine)
        await deliver(context)
        first = await there.told()
        await make_due(engine)
        await deliver(context)
        retried = await there.told()
        [delivery] = await rows_of(engine, "SELECT id FROM delivery WHERE state = 'delivered'")
        async with engine.begin() as connection:
            assert await endpoints.redeliver(connection, delivery["id"], tenant=None)
        await deliver(context)
        asked_for = await there.told()

    assert [(said["verified"], said["again"]) for said in (first, retried, asked_for)] == [
        (True, False),
        (True, True),
        (True, True),
    ]
    assert first["event"] == retried["event"] == asked_for["event"]


@pytest.mark.parametrize("ends", ["dropped", "a day later"])
async def test_while_a_secret_rotates_receivers_of_both_verify_and_then_one_does(
    engine, workers, receiving, ends
):
    old, new = new_secret(), new_secret()
    async with receiving(old) as late, receiving(new) as early, workers() as context:
        for there in (late, early):
            endpoint_id, _ = await add_endpoint(engine, context, there.url, secret=old)
            async with engine.begin() as connection:
                await endpoints.rotate_secret(connection, endpoint_id, context.vault.encrypt(new))
        await canceled(engine)
        await deliver(context)
        during = [await late.told(), await early.told()]
        async with engine.begin() as connection:
            if ends == "dropped":
                for endpoint in await endpoints.read_endpoints(connection, tenant=None):
                    await endpoints.change_endpoint(connection, endpoint["id"], keeps_old_secret=False)
            else:
                await change_rows(connection, "UPDATE endpoint SET rotated_at = now() - interval '25 h'")
        await canceled(engine)
        await deliver(context)
        after = [await late.told(), await early.told()]

    assert [said["verified"] for said in during] == [True, True]
    assert [said["verified"] for said in after] == [False, True]


def _signed(secret, *, age_s=0):
    sent_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
    return sign([secret], webhook_id="1f0c", timestamp=sent_at, body=BODY)


@pytest.mark.parametrize(
    ("label", "body", "age_s", "changed"),
    [
        ("a tampered body", BODY.replace(b"succeeded", b"failed"), 0, {}),
        ("one more space", BODY + b" ", 0, {}),
        ("a tampered id", BODY, 0, {"webhook-id": "1f0d"}),
        ("a message of six minutes ago", BODY, 360, {}),
        ("one from the future", BODY, -360, {}),
        (
            "an old one with a new time",
            BODY,
            360,
            {"webhook-timestamp": str(int(time.time()))},
        ),
        ("no signature", BODY, 0, {"webhook-signature": ""}),
        ("another version's signature", BODY, 0, {"webhook-signature": "v1a,AAAA"}),
    ],
)
async def test_what_was_tampered_with_is_refused(receiving, label, body, age_s, changed):
    secret = new_secret()
    async with receiving(secret) as there, WebhookSender(allow_private=True) as sender:
        result = await sender.send(there.url, body, _signed(secret, age_s=age_s) | changed)
        refused = await there.told()
        as_it_was = await sender.send(there.url, BODY, _signed(secret))

    assert isinstance(result, Failed), label
    assert (result.status_code, refused["verified"]) == (400, False), label
    assert isinstance(as_it_was, Delivered)


async def test_a_strangers_secret_is_refused(receiving):
    async with receiving(new_secret()) as there, WebhookSender(allow_private=True) as sender:
        await sender.send(there.url, BODY, _signed(new_secret()))

        assert not (await there.told())["verified"]
