"""`/v1/jobs`: what a web developer does with single jobs."""

from __future__ import annotations

import uuid

import pytest

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}


async def test_an_enqueued_job_is_accepted_and_can_be_looked_at(client):
    answer = await client.post(
        "/v1/jobs",
        json={"kind": "run", "params": PARAMS, "tags": ["a"], "metadata": {"user": 7}, "priority": 8},
    )

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    found = (await client.get(answer.headers["location"])).json()
    assert found["state"] == "queued"
    assert (found["tags"], found["metadata"], found["priority"]) == (["a"], {"user": 7}, 8)
    assert found["params"]["positivePrompt"] == "a lighthouse"
    assert set(found) == set(job)


async def test_the_same_key_and_body_give_the_same_job(client):
    first = await client.post("/v1/jobs", json={"params": PARAMS}, headers={"Idempotency-Key": "order-7"})
    second = await client.post("/v1/jobs", json={"params": PARAMS}, headers={"Idempotency-Key": "order-7"})

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert second.json()["id"] == first.json()["id"]
    assert "replayed" not in second.json()


async def test_another_body_under_the_same_key_is_a_conflict_that_names_the_job(client):
    first = await client.post("/v1/jobs", json={"params": PARAMS}, headers={"Idempotency-Key": "order-7"})
    other = {"params": PARAMS | {"positivePrompt": "a windmill"}}

    second = await client.post("/v1/jobs", json=other, headers={"Idempotency-Key": "order-7"})

    assert second.status_code == 409
    assert second.headers["content-type"] == "application/problem+json"
    problem = second.json()
    assert problem["type"] == "urn:runware-jobs:problem:idempotency-conflict"
    assert (problem["code"], problem["parameter"]) == ("validation", "idempotency_key")
    assert problem["job_id"] == first.json()["id"]


async def test_a_forgotten_key_is_gone_and_makes_no_job(client, jobs):
    await jobs.run(
        "INSERT INTO runware_jobs.tombstone (tenant, key_kind, key, request_hash, job_id, final_state)"
        " VALUES ('default', 'idempotency_key', 'old', '\\x00', gen_random_uuid(), 'succeeded')"
    )

    answer = await client.post("/v1/jobs", json={"params": PARAMS}, headers={"Idempotency-Key": "old"})

    assert answer.status_code == 410
    assert answer.json()["code"] == "notFound"
    assert await jobs.scalar("SELECT count(*) FROM runware_jobs.job") == 0


async def test_two_different_keys_in_one_request_are_refused(client):
    answer = await client.post(
        "/v1/jobs", json={"params": PARAMS, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"}
    )

    assert answer.status_code == 422
    assert answer.json()["parameter"] == "idempotency_key"


@pytest.mark.parametrize(
    ("label", "body", "parameter"),
    [
        ("priority out of range", {"params": PARAMS, "priority": 10}, "priority"),
        ("unknown kind", {"params": PARAMS, "kind": "walk"}, "kind"),
        ("no params", {}, "params"),
        ("params of another type", {"params": ["x"]}, "params"),
        ("the worker's key", {"params": PARAMS | {"apiKey": "k"}}, "apiKey"),
        ("an unsigned callback", {"params": PARAMS | {"webhookURL": "https://a.example"}}, "webhookURL"),
        ("a private webhook", {"params": PARAMS, "webhook_url": "https://10.0.0.1/x"}, "webhook_url"),
        ("a Celery link", {"params": PARAMS, "link": {"task": "x"}}, "link"),
        ("a Celery error link", {"params": PARAMS, "link_error": {"task": "x"}}, "link_error"),
        ("a canvas", {"params": PARAMS, "canvas": {}}, "canvas"),
        ("a session", {"params": PARAMS, "session": "x"}, "session"),
        ("a task id", {"params": PARAMS, "task_id": str(uuid.uuid4())}, "task_id"),
        ("a deadline before the start", {"params": PARAMS, "deadline_s": -1}, "deadline_s"),
    ],
)
async def test_bad_input_is_refused_by_name(client, label, body, parameter):
    answer = await client.post("/v1/jobs", json=body)

    assert answer.status_code == 422, label
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["parameter"]) == (422, "validation", parameter)
    assert parameter in problem["detail"]


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("not JSON", b"{"),
        ("not a number", b'{"params": {"model": "m", "x": NaN}}'),
        ("a lone surrogate", b'{"params": {"model": "runware:400@1", "positivePrompt": "\\ud800"}}'),
        ("U+0000", b'{"params": {"model": "runware:400@1", "positivePrompt": "a\\u0000b"}}'),
        (
            "a thousand levels",
            b'{"params": {"model": "runware:400@1", "x": ' + b"[" * 1000 + b"]" * 1000 + b"}}",
        ),
        ("no UTF-8", b'{"params": {"model": "\xff"}}'),
        ("a number that no column holds", b'{"params": {"model": "runware:400@1"}, "max_attempts": 1e30}'),
    ],
)
async def test_a_body_that_cannot_be_kept_is_refused(client, label, body):
    answer = await client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422, f"{label}: {answer.text}"
    assert answer.json()["code"] == "validation"


async def test_an_escaped_backslash_before_u0000_is_only_text(client):
    body = b'{"params": {"model": "runware:400@1", "positivePrompt": "a\\\\u0000b"}}'

    answer = await client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 202
    assert answer.json()["params"]["positivePrompt"] == r"a\u0000b"


async def test_a_path_in_params_stays_text_and_is_never_read(client, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret content")
    tmp_path.chmod(0o755)

    answer = await client.post(
        "/v1/jobs", json={"params": PARAMS | {"inputs": {"image": str(secret)}, "seedImage": str(secret)}}
    )

    assert answer.status_code == 202
    assert answer.json()["params"]["seedImage"] == str(secret)


async def test_a_body_over_a_megabyte_is_refused_before_it_is_read(client):
    answer = await client.post("/v1/jobs", json={"params": PARAMS | {"positivePrompt": "x" * 1_000_001}})

    assert answer.status_code == 413
    assert "upload it first" in answer.json()["detail"]


async def test_a_body_that_hides_its_length_is_refused_while_it_comes(client):
    taken = []

    async def endless():
        while True:
            taken.append(1)
            yield b"x" * 100_000

    answer = await client.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413
    assert len(taken) <= 12


async def test_pages_follow_each_other_without_gaps(client, enqueue):
    made = [(await enqueue())["id"] for _ in range(5)]

    first = (await client.get("/v1/jobs", params={"limit": 2})).json()
    second = (await client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    third = (await client.get("/v1/jobs", params={"limit": 2, "cursor": second["next_cursor"]})).json()

    seen = [job["id"] for shown in (first, second, third) for job in shown["jobs"]]
    assert seen == made[::-1]
    assert third["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "====", "WzEsMl0=", "é"])
async def test_a_cursor_of_somebody_else_is_refused(client, cursor):
    answer = await client.get("/v1/jobs", params={"cursor": cursor})

    assert answer.status_code == 422
    assert answer.json()["parameter"] == "cursor"


async def test_lists_are_filtered(client, enqueue, jobs):
    plain = await enqueue()
    tagged = await enqueue(tags=["spring"])
    await jobs.succeed(tagged["id"])

    async def listed(**filters):
        answer = await client.get("/v1/jobs", params=filters)
        return [job["id"] for job in answer.json()["jobs"]]

    assert await listed(tag="spring") == [tagged["id"]]
    assert await listed(state="queued") == [plain["id"]]
    assert await listed(state=["queued", "succeeded"]) == [tagged["id"], plain["id"]]
    assert await listed(kind="training") == []
    assert await listed(batch=str(uuid.uuid4())) == []


async def test_a_finished_job_shows_its_results(client, enqueue, jobs):
    job = await enqueue()
    await jobs.succeed(job["id"], {"imageUUID": "a", "imageURL": "https://im.example/a.png", "cost": 0.0013})

    found = (await client.get(f"/v1/jobs/{job['id']}")).json()

    assert found["state"] == "succeeded"
    assert found["results"] == [{"imageUUID": "a", "imageURL": "https://im.example/a.png", "cost": 0.0013}]
    assert found["cost_usd"] == "0.0013"
    assert [attempt["state"] for attempt in found["attempts"]] == ["succeeded"]


async def test_a_job_that_is_not_there_is_not_found(client):
    missing = uuid.uuid4()

    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
        answer = await client.request(method, f"/v1/jobs/{missing}{path}")

        assert answer.status_code == 404
        assert answer.json()["code"] == "notFound"


async def test_a_queued_job_is_canceled_for_free(client, enqueue):
    job = await enqueue()

    canceled = (await client.post(f"/v1/jobs/{job['id']}/cancel")).json()

    assert (canceled["state"], canceled["billing"]) == ("canceled", "none")


async def test_a_failed_job_runs_again(client, enqueue, jobs):
    job = await enqueue()
    await jobs.fail(job["id"])

    answer = await client.post(f"/v1/jobs/{job['id']}/retry")

    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["run"]) == ("queued", 2)


async def test_a_queued_job_cannot_be_retried(client, enqueue):
    job = await enqueue()

    answer = await client.post(f"/v1/jobs/{job['id']}/retry")

    assert answer.status_code == 409
    assert answer.json()["job_id"] == job["id"]


async def test_a_job_of_unclear_billing_runs_again_only_when_that_is_accepted(client, enqueue, jobs):
    job = await enqueue()
    await jobs.fail(job["id"], billing="unclear")

    refused = await client.post(f"/v1/jobs/{job['id']}/retry", json={})
    accepted = await client.post(f"/v1/jobs/{job['id']}/retry", json={"accept_double_billing": True})

    assert (refused.status_code, refused.json()["parameter"]) == (409, "accept_double_billing")
    assert (accepted.status_code, accepted.json()["run"]) == (200, 2)
