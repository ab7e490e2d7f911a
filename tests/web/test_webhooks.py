"""`/v1/webhook-endpoints` and `/v1/deliveries`."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from sqlalchemy import text

from runware_jobs.core.signing import Vault
from runware_jobs.settings import Settings
from runware_jobs.store.keys import Scope
from runware_jobs.store.redelivery import EventPlace
from runware_jobs.web import create_app
from runware_jobs.web.cursors import event_cursor

URL = "https://hooks.example/runware"
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def stored_secrets(engine, settings):
    """Read an endpoint's secrets as the sender does, newest first."""
    vault = Vault(settings.secret_key.get_secret_value())

    async def read(endpoint_id):
        async with engine.connect() as connection:
            row = await connection.execute(
                text("SELECT secrets FROM runware_jobs.endpoint WHERE id = :id"), {"id": endpoint_id}
            )
            return [vault.decrypt(bytes(token)) for token in row.scalar_one()]

    return read


async def test_a_new_endpoint_shows_its_secret_once(client, stored_secrets):
    made = await client.post("/v1/webhook-endpoints", json={"url": URL, "events": ["job.succeeded"]})

    assert made.status_code == 201
    endpoint = made.json()
    secret = endpoint.pop("secret")
    assert secret.startswith("whsec_")
    assert await stored_secrets(endpoint["id"]) == [secret]
    assert (await client.get(made.headers["location"])).json() == endpoint
    assert (await client.get("/v1/webhook-endpoints")).json() == {"endpoints": [endpoint]}


@pytest.mark.parametrize(
    ("label", "body", "parameter"),
    [
        ("plain http", {"url": "http://hooks.example/x"}, "url"),
        ("a private address", {"url": "https://192.168.1.1/x"}, "url"),
        ("metadata in another spelling", {"url": "https://2852039166/x"}, "url"),
        ("a name of this network", {"url": "https://printer.local/x"}, "url"),
        ("no URL", {"url": "x"}, "url"),
        ("left out", {}, "url"),
        ("unknown event", {"url": URL, "events": ["job.eaten"]}, "events[0]"),
        ("unknown kind of events", {"url": URL, "events": ["job.failed", "jobs.*"]}, "events[1]"),
        ("events that are no list", {"url": URL, "events": "job.failed"}, "events"),
        ("unknown name", {"url": URL, "secret": "whsec_x"}, "secret"),
    ],
)
async def test_a_bad_endpoint_is_refused(client, label, body, parameter):
    answer = await client.post("/v1/webhook-endpoints", json=body)

    assert answer.status_code == 422, label
    assert answer.json()["parameter"] == parameter


async def test_without_a_key_for_secrets_webhooks_are_refused_with_the_remedy(services, clean_database):
    import httpx

    settings = Settings(database_url=clean_database, broker_url=services.broker_url)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        answer = await client.post("/v1/webhook-endpoints", json={"url": URL})

    assert answer.status_code == 422
    assert "RUNWARE_JOBS_SECRET_KEY" in answer.json()["detail"]


async def test_only_what_is_given_is_changed(client):
    path = f"/v1/webhook-endpoints/{(await client.post('/v1/webhook-endpoints', json={'url': URL})).json()['id']}"

    events = (await client.patch(path, json={"events": ["job.failed", "job.cost"]})).json()
    off = (await client.patch(path, json={"is_enabled": False})).json()
    on = (await client.patch(path, json={"is_enabled": True})).json()

    assert (events["events"], events["is_enabled"]) == (["job.cost", "job.failed"], True)
    assert (off["events"], off["is_enabled"], off["disabled_reason"]) == (
        ["job.cost", "job.failed"],
        False,
        "user",
    )
    assert (on["is_enabled"], on["disabled_reason"]) == (True, None)


async def test_while_a_secret_rotates_both_sign_and_never_a_third(client, stored_secrets):
    made = (await client.post("/v1/webhook-endpoints", json={"url": URL})).json()
    path = f"/v1/webhook-endpoints/{made['id']}"

    second = (await client.post(f"{path}/rotate-secret")).json()
    assert second["has_old_secret"]
    assert await stored_secrets(made["id"]) == [second["secret"], made["secret"]]

    third = (await client.post(f"{path}/rotate-secret")).json()
    assert await stored_secrets(made["id"]) == [third["secret"], second["secret"]]

    dropped = (await client.patch(path, json={"has_old_secret": False})).json()
    assert not dropped["has_old_secret"]
    assert await stored_secrets(made["id"]) == [third["secret"]]


async def test_a_kind_of_events_is_shown_by_their_names(client):
    made = await client.post("/v1/webhook-endpoints", json={"url": URL, "events": ["account.*"]})

    assert made.json()["events"] == ["account.paused", "account.resumed"]
    path = made.headers["location"]
    changed = (await client.patch(path, json={"events": ["*"]})).json()
    assert "job.succeeded" in changed["events"]
    assert "job.progress" not in changed["events"]


async def test_the_day_of_two_secrets_has_an_end_that_is_shown(client):
    made = (await client.post("/v1/webhook-endpoints", json={"url": URL})).json()

    rotated = (await client.post(f"/v1/webhook-endpoints/{made['id']}/rotate-secret")).json()

    assert made["old_secret_ends_at"] is None
    took = dt.datetime.fromisoformat(rotated["old_secret_ends_at"]) - dt.datetime.fromisoformat(
        rotated["rotated_at"]
    )
    assert took == dt.timedelta(days=1)


async def test_the_default_endpoint_gives_its_secret_by_rotation(client, stored_secrets):
    missing = await client.get("/v1/webhook-endpoints/default")
    rotated = (await client.post("/v1/webhook-endpoints/default/rotate-secret")).json()
    found = (await client.get("/v1/webhook-endpoints/default")).json()
    switched = await client.patch("/v1/webhook-endpoints/default", json={"is_enabled": False})
    removed = await client.delete(f"/v1/webhook-endpoints/{found['id']}")

    assert missing.status_code == 404
    assert (found["id"], found["url"], found["is_default"]) == (rotated["id"], None, True)
    assert (await stored_secrets(found["id"]))[0] == rotated["secret"]
    assert (switched.status_code, removed.status_code) == (409, 404)


async def test_a_removed_endpoint_is_gone(client):
    made = (await client.post("/v1/webhook-endpoints", json={"url": URL})).json()

    first = await client.delete(f"/v1/webhook-endpoints/{made['id']}")
    second = await client.delete(f"/v1/webhook-endpoints/{made['id']}")

    assert (first.status_code, second.status_code) == (204, 404)
    assert (await client.get("/v1/webhook-endpoints")).json() == {"endpoints": []}


@pytest.fixture
async def delivery(client, enqueue, jobs):
    """A job's final event that could not be delivered."""
    endpoint = (await client.post("/v1/webhook-endpoints", json={"url": URL})).json()
    job = await enqueue()
    await jobs.fail(job["id"])
    await jobs.run(
        "INSERT INTO runware_jobs.delivery (event_id, event_created_at, tenant, job_id, endpoint_id, url,"
        " number, state, status_code, duration_ms) SELECT id, created_at, tenant, job_id, :endpoint, :url,"
        " 1, 'dead', 500, 12 FROM runware_jobs.event WHERE job_id = :job AND type = 'job.failed'",
        endpoint=endpoint["id"],
        url=URL,
        job=job["id"],
    )
    return (await client.get("/v1/deliveries")).json()["deliveries"][0]


async def test_a_dead_delivery_is_listed_and_sent_again_under_the_same_id(client, delivery, jobs):
    assert (delivery["type"], delivery["state"], delivery["status_code"]) == ("job.failed", "dead", 500)

    answer = await client.post(f"/v1/deliveries/{delivery['id']}/redeliver")

    assert answer.status_code == 202
    waiting = await jobs.scalar(
        "SELECT event_id FROM runware_jobs.outbox WHERE sink = 'webhook' AND NOT is_dead AND due_at <= now()"
    )
    assert str(waiting) == delivery["event_id"]


async def test_a_delivery_of_another_tenant_is_not_there(connect, delivery, new_key):
    client = connect(key=await new_key(tenant="other"))

    listed = await client.get("/v1/deliveries")
    answer = await client.post(f"/v1/deliveries/{delivery['id']}/redeliver")

    assert listed.json() == {"deliveries": [], "next_cursor": None}
    assert answer.status_code == 404


async def test_deliveries_come_in_pages(client, delivery, jobs):
    await jobs.run(
        "INSERT INTO runware_jobs.delivery (event_id, event_created_at, tenant, job_id, endpoint_id, url, number,"
        " state, duration_ms) SELECT event_id, event_created_at, tenant, job_id, endpoint_id, url, n, 'failed', 1"
        " FROM runware_jobs.delivery, generate_series(2, 5) AS n"
    )

    first = (await client.get("/v1/deliveries", params={"limit": 3})).json()
    second = (await client.get("/v1/deliveries", params={"limit": 3, "cursor": first["next_cursor"]})).json()

    numbers = [one["number"] for shown in (first, second) for one in shown["deliveries"]]
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    assert second["next_cursor"] is None


async def test_a_missing_delivery_is_not_sent(client):
    answer = await client.post(f"/v1/deliveries/{uuid.uuid4()}/redeliver")

    assert answer.status_code == 404


async def test_the_list_of_deliveries_is_narrowed_down(client, delivery):
    async def found(**wanted):
        return len((await client.get("/v1/deliveries", params=wanted)).json()["deliveries"])

    both = {"endpoint_id": delivery["endpoint_id"], "job_id": delivery["job_id"]}
    assert await found(**both, state="dead", type="job.failed") == 1
    assert await found(**both, state="delivered") == await found(type="job.queued") == 0
    assert await found(endpoint_id=str(uuid.uuid4())) == await found(job_id=str(uuid.uuid4())) == 0
    refused = await client.get("/v1/deliveries", params={"state": "eaten"})
    assert (refused.status_code, refused.json()["parameter"]) == (422, "state")


async def test_a_disabled_endpoint_is_sent_nothing_again(client, delivery):
    await client.patch(f"/v1/webhook-endpoints/{delivery['endpoint_id']}", json={"is_enabled": False})

    answers = [
        await client.post(f"/v1/deliveries/{delivery['id']}/redeliver"),
        await client.post(f"/v1/webhook-endpoints/{delivery['endpoint_id']}/test"),
        await client.post(
            f"/v1/webhook-endpoints/{delivery['endpoint_id']}/redeliver", json={"since": LONG_AGO}
        ),
    ]

    assert [answer.status_code for answer in answers] == [409, 409, 409]
    assert all("enable it first" in answer.json()["detail"] for answer in answers)


async def test_events_of_a_time_are_sent_again(client, delivery, jobs):
    path = f"/v1/webhook-endpoints/{delivery['endpoint_id']}/redeliver"
    await jobs.run("DELETE FROM runware_jobs.outbox")

    future = await client.post(path, json={"since": "2999-01-01T00:00:00Z", "until": "2999-01-02T00:00:00Z"})
    first = await client.post(path, json={"since": LONG_AGO, "only_failed": True})
    again = await client.post(path, json={"since": LONG_AGO})

    assert (first.status_code, first.json()) == (202, {"queued": 1, "next_cursor": None})
    assert [answer.json()["queued"] for answer in (future, again)] == [0, 0]
    waiting = await jobs.scalar("SELECT event_id FROM runware_jobs.outbox WHERE sink = 'webhook'")
    assert str(waiting) == delivery["event_id"]


async def test_a_cursor_goes_on_after_its_event(client, delivery, jobs):
    path = f"/v1/webhook-endpoints/{delivery['endpoint_id']}/redeliver"
    await jobs.run("DELETE FROM runware_jobs.outbox")
    told = await jobs.scalar("SELECT created_at FROM runware_jobs.event WHERE type = 'job.failed'")
    seq = await jobs.scalar("SELECT seq FROM runware_jobs.event WHERE type = 'job.failed'")

    after = event_cursor(EventPlace(told, seq, uuid.UUID(delivery["event_id"])))
    answer = await client.post(path, json={"since": LONG_AGO, "cursor": after})

    assert answer.json() == {"queued": 0, "next_cursor": None}


@pytest.mark.parametrize(
    ("label", "body", "parameter"),
    [
        ("no beginning", {}, "since"),
        ("no time", {"since": "yesterday"}, "since"),
        ("no zone", {"since": "2026-01-01T00:00:00"}, "since"),
        ("nothing between", {"since": LONG_AGO, "until": LONG_AGO}, "until"),
        ("no cursor of ours", {"since": LONG_AGO, "cursor": "x"}, "cursor"),
        (
            "a cursor of another list",
            {"since": LONG_AGO, "cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsIDFd"},
            "cursor",
        ),
        ("unknown name", {"since": LONG_AGO, "failed": True}, "failed"),
    ],
)
async def test_a_bad_time_is_refused(client, delivery, label, body, parameter):
    answer = await client.post(f"/v1/webhook-endpoints/{delivery['endpoint_id']}/redeliver", json=body)

    assert answer.status_code == 422, label
    assert answer.json()["parameter"] == parameter, label


async def test_a_test_is_sent_to_one_endpoint(client, jobs):
    made = (await client.post("/v1/webhook-endpoints", json={"url": URL, "events": ["job.failed"]})).json()

    answer = await client.post(f"/v1/webhook-endpoints/{made['id']}/test")

    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.json()["id"] == str(await jobs.scalar("SELECT event_id FROM runware_jobs.outbox"))


async def test_another_tenant_neither_tests_nor_sends_again(connect, delivery, new_key):
    client = connect(key=await new_key(tenant="other"))
    path = f"/v1/webhook-endpoints/{delivery['endpoint_id']}"

    answers = [
        await client.post(f"{path}/test"),
        await client.post(f"{path}/redeliver", json={"since": LONG_AGO}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


async def test_reading_is_not_enough_to_send(connect, delivery, new_key):
    client = connect(key=await new_key(Scope.READ))
    path = f"/v1/webhook-endpoints/{delivery['endpoint_id']}"

    answers = [
        await client.post(f"{path}/test"),
        await client.post(f"{path}/redeliver", json={"since": LONG_AGO}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
