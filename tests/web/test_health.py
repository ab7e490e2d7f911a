"""Probes, metrics, the schema, and what is said when something is wrong here."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runware_jobs.settings import Settings
from runware_jobs.web import create_app, shapes


@pytest.fixture
def app_on(services):
    """Make clients of an application on another database."""

    def make(database_url):
        app = create_app(Settings(database_url=database_url, broker_url=services.broker_url))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost"), app

    return make


async def test_probes_answer_without_a_key_from_anywhere(connect, new_key):
    await new_key()
    client = connect(address="10.0.0.9", base_url="http://10.0.0.1:9400")

    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}
    assert (await client.get("/openapi.json")).status_code == 200


async def test_without_tables_it_lives_but_is_not_ready_and_names_the_remedy(app_on, empty_database):
    client, app = app_on(empty_database)
    async with app.router.lifespan_context(app), client:
        health = await client.get("/healthz")
        ready = await client.get("/readyz")
        jobs = await client.get("/v1/jobs")

    assert health.status_code == 200
    for answer in (ready, jobs):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "serverError"
        assert "runware-jobs migrate" in answer.json()["detail"]


async def test_without_a_database_everything_but_health_is_unavailable(app_on, tmp_path):
    client, app = app_on(f"postgresql://nobody:hunter2@/nothing?host={tmp_path}")
    async with app.router.lifespan_context(app), client:
        answers = [await client.get(path) for path in ("/readyz", "/v1/jobs", "/metrics")]

        assert (await client.get("/healthz")).status_code == 200
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "hunter2" not in answer.text
        assert str(tmp_path) not in answer.text


async def test_a_failure_of_ours_says_nothing_of_its_cause(client, jobs, enqueue):
    job = await enqueue()
    await jobs.run("ALTER TABLE runware_jobs.job RENAME COLUMN custom_id TO other_id")
    try:
        answer = await client.get(f"/v1/jobs/{job['id']}")
    finally:
        await jobs.run("ALTER TABLE runware_jobs.job RENAME COLUMN other_id TO custom_id")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:runware-jobs:problem:internal-error",
        "title": "Internal error",
        "status": 500,
        "detail": "Something went wrong here; it was logged.",
        "code": "serverError",
        "parameter": None,
        "job_id": None,
    }


async def test_unknown_paths_and_methods_are_problems_too(client):
    nowhere = await client.get("/v1/nowhere")
    wrong = await client.delete("/v1/jobs")

    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "notFound")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "validation")


async def scraped(client):
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("runware_jobs_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_metrics_of_an_idle_installation_are_all_there(client):
    seen = await scraped(client)

    states = ("scheduled", "queued", "submitting", "running", "succeeded", "failed", "canceled")
    assert [seen["jobs", state] for state in states] == [0] * 7
    assert seen["attempts_in_flight",] == seen["attempts_unclear",] == seen["oldest_queued_seconds",] == 0
    assert seen["outbox_lag_seconds",] == seen["workers",] == seen["oldest_unclear_seconds",] == 0
    assert seen["heartbeat_age_seconds",] != seen["heartbeat_age_seconds",]  # NaN: there is no worker


async def test_metrics_tell_how_the_installation_stands(client, enqueue, jobs):
    await enqueue()
    await enqueue(delay_s=3600)
    job = await enqueue()
    await jobs.run("UPDATE runware_jobs.job SET run_at = now() - interval '60 s' WHERE run_at <= now()")
    await jobs.run(
        "INSERT INTO runware_jobs.process (account_id, host, pid, heartbeat_at)"
        " SELECT id, 'h', 1, now() - interval '5 s' FROM runware_jobs.account"
    )
    await jobs.run(
        "INSERT INTO runware_jobs.attempt (task_uuid, job_id, run, number, account_id, state)"
        " SELECT gen_random_uuid(), id, 1, 1, account_id, 'unclear' FROM runware_jobs.job WHERE id = :id",
        id=job["id"],
    )
    await jobs.start(job["id"])
    await jobs.run(
        "INSERT INTO runware_jobs.outbox (sink, event_id, event_created_at, due_at) SELECT 'signal', id, created_at,"
        " now() - interval '30 s' FROM runware_jobs.event LIMIT 1"
    )

    seen = await scraped(client)

    assert (seen["jobs", "queued"], seen["jobs", "scheduled"], seen["jobs", "running"]) == (1, 1, 1)
    assert (seen["attempts", "unclear"], seen["attempts_in_flight",], seen["attempts_unclear",]) == (1, 1, 1)
    assert 60 <= seen["oldest_queued_seconds",] < 90
    assert (seen["outbox_pending", "signal"], seen["outbox_dead", "signal"]) == (1, 0)
    assert 30 <= seen["outbox_lag_seconds",] < 60
    assert seen["workers",] == 1
    assert 5 <= seen["heartbeat_age_seconds",] < 35
    assert (seen["accounts", "open"], seen["accounts", "paused"]) == (1, 0)


async def test_metrics_tell_what_is_late_and_how_each_account_stands_against_its_limits(
    client, enqueue, jobs
):
    job = await enqueue()
    await jobs.run(
        "INSERT INTO runware_jobs.process (account_id, host, pid, heartbeat_at, following, poll_lag_s)"
        " SELECT id, 'h', pid, now() - pid * interval '5 s', 7, pid FROM runware_jobs.account,"
        " generate_series(1, 2) AS pid"
    )
    await jobs.run(
        "INSERT INTO runware_jobs.attempt (task_uuid, job_id, run, number, account_id, state, submitted_at)"
        " SELECT gen_random_uuid(), id, 1, 1, account_id, 'unclear', now() - interval '90 s'"
        " FROM runware_jobs.job WHERE id = :id",
        id=job["id"],
    )
    await jobs.start(job["id"])
    await jobs.run(
        "UPDATE runware_jobs.account SET in_flight = 3, max_in_flight = 20, held_usd = 1.5, spent_usd = 2.25,"
        " daily_limit_usd = 10"
    )

    seen = await scraped(client)

    [account] = [labels[0] for name, *labels in seen if name == "account_in_flight"]
    assert 90 <= seen["oldest_unclear_seconds",] < 120
    assert seen["oldest_unpolled_seconds",] == 2
    assert seen["attempts_followed",] == 14
    assert seen["heartbeat_age_seconds",] < seen["oldest_heartbeat_age_seconds",] < 40
    assert (seen["account_in_flight", account], seen["account_in_flight_limit", account]) == (3, 20)
    assert (seen["account_held_dollars", account], seen["account_spent_today_dollars", account]) == (
        1.5,
        2.25,
    )
    assert seen["account_daily_limit_dollars", account] == 10


async def test_the_schema_names_every_path_of_the_contract_and_its_problems(client):
    schema = (await client.get("/openapi.json")).json()

    assert {
        "/v1/jobs",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/retry",
        "/v1/batches",
        "/v1/batches/{batch_id}",
        "/v1/batches/{batch_id}/results",
        "/v1/batches/{batch_id}/errors",
        "/v1/batches/{batch_id}/pause",
        "/v1/batches/{batch_id}/resume",
        "/v1/batches/{batch_id}/cancel",
        "/v1/batches/{batch_id}/retry-failed",
        "/v1/webhook-endpoints",
        "/v1/webhook-endpoints/{endpoint_id}",
        "/v1/webhook-endpoints/{endpoint_id}/rotate-secret",
        "/v1/deliveries",
        "/v1/deliveries/{delivery_id}/redeliver",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= set(schema["paths"])
    responses = schema["paths"]["/v1/jobs"]["post"]["responses"]
    assert set(responses) >= {"200", "202", "409", "410", "4XX", "5XX"}
    assert "application/problem+json" in responses["4XX"]["content"]
    assert "HTTPValidationError" not in str(schema)


async def test_every_reference_of_the_schema_leads_somewhere(client):
    schema = (await client.get("/openapi.json")).json()

    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in set(references(schema)):
        place = schema
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


async def test_answers_have_the_shapes_that_the_schema_promises(client, enqueue, jobs):
    job = await enqueue()
    await jobs.succeed(job["id"])
    batch = (await client.post("/v1/batches", json={"jobs": [job["params"]]})).json()
    endpoint = (await client.post("/v1/webhook-endpoints", json={"url": "https://h.example/x"})).json()
    found = (await client.get(f"/v1/jobs/{job['id']}")).json()
    event = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["events"][0]

    for shape, shown in (
        (shapes.JobShown, job),
        (shapes.JobShown, found),
        (shapes.BatchShown, batch),
        (shapes.EndpointWithSecret, endpoint),
        (shapes.EventShown, event),
    ):
        assert set(shape.model_fields) == set(shown)
        shape.model_validate(shown)
