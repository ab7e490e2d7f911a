"""`/v1/batches`: all of it or nothing, counted, paused, resumed, canceled, downloaded."""

from __future__ import annotations

import uuid

import orjson
import pytest

from runware_jobs.web import limits, lines

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024}
JSONL = {"Content-Type": "application/jsonl"}


def jsonl(*rows) -> bytes:
    return b"\n".join(orjson.dumps(row) for row in rows)


async def all_jobs(client, batch_id):
    listed = await client.get("/v1/jobs", params={"batch": batch_id, "limit": 200})
    return sorted(listed.json()["jobs"], key=lambda job: job["custom_id"] or "")


async def test_a_json_batch_makes_a_job_of_each_row(client):
    body = {
        "name": "spring",
        "budget_usd": 40,
        "priority": 3,
        "defaults": {"model": "runware:400@1", "width": 512, "height": 512},
        "jobs": [
            {"custom_id": "a", "params": {"positivePrompt": "one"}},
            {"custom_id": "b", "positivePrompt": "two", "width": 1024},
        ],
    }

    answer = await client.post("/v1/batches", json=body)

    assert answer.status_code == 202
    batch = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    assert (batch["name"], batch["budget_usd"], batch["counts"]) == ("spring", "40", {"queued": 2})
    first, second = await all_jobs(client, batch["id"])
    assert (first["custom_id"], first["params"]["positivePrompt"], first["params"]["width"]) == (
        "a",
        "one",
        512,
    )
    assert (second["custom_id"], second["params"]["positivePrompt"], second["params"]["width"]) == (
        "b",
        "two",
        1024,
    )
    assert {first["priority"], second["priority"]} == {3}
    assert (await client.get("/v1/batches")).json()["batches"] == [batch]


@pytest.mark.parametrize(
    "content_type", ["application/jsonl", "application/x-ndjson", "application/jsonl; charset=utf-8"]
)
async def test_a_jsonl_batch_makes_a_job_of_each_line(client, content_type):
    body = jsonl({"custom_id": "a", "params": PARAMS}, PARAMS | {"custom_id": "b"}) + b"\n\n"

    answer = await client.post(
        "/v1/batches",
        params={
            "name": "spring",
            "budget_usd": "1.5",
            "tags": ["x", "y"],
            "metadata": '{"user": 7}',
            "defaults": '{"steps": 9}',
            "max_attempts": "5",
        },
        content=body,
        headers={"Content-Type": content_type},
    )

    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert (batch["name"], batch["budget_usd"], batch["total"]) == ("spring", "1.5", 2)
    first, second = await all_jobs(client, batch["id"])
    assert [first["custom_id"], second["custom_id"]] == ["a", "b"]
    assert (first["tags"], first["metadata"], first["max_attempts"]) == (["x", "y"], {"user": 7}, 5)
    assert first["params"]["steps"] == 9


@pytest.mark.parametrize(
    ("label", "bad", "says"),
    [
        ("no JSON", b"{", "no JSON"),
        ("no object", b"[1]", "must be an object"),
        ("refused parameter", orjson.dumps(PARAMS | {"apiKey": "k"}), "apiKey"),
        ("no model", b'{"positivePrompt": "x"}', "model"),
        ("params of another type", b'{"params": 1}', "params"),
        ("U+0000", b'{"model": "runware:400@1", "positivePrompt": "\\u0000"}', "U+0000"),
        ("custom id too long", orjson.dumps({"custom_id": "x" * 256, "params": PARAMS}), "custom_id"),
        ("nested too deeply", b'{"model": "runware:400@1", "x": ' + b"[" * 900 + b"]" * 900 + b"}", "nested"),
    ],
)
async def test_a_bad_line_is_named_and_nothing_is_kept(client, jobs, label, bad, says):
    good = orjson.dumps(PARAMS)
    body = b"\n".join([good] * lines._CHUNK_JOBS + [b"", good, bad, good])

    answer = await client.post("/v1/batches", content=body, headers=JSONL)

    problem = answer.json()
    assert answer.status_code == 422, label
    assert problem["line"] == lines._CHUNK_JOBS + 3
    assert f"line {lines._CHUNK_JOBS + 3}:" in problem["detail"]
    assert says in problem["detail"]
    assert await jobs.scalar("SELECT count(*) FROM runware_jobs.job") == 0
    assert await jobs.scalar("SELECT count(*) FROM runware_jobs.batch") == 0


async def test_a_bad_row_of_a_json_batch_is_named_and_nothing_is_kept(client, jobs):
    answer = await client.post(
        "/v1/batches", json={"jobs": [PARAMS, PARAMS | {"webhookURL": "https://x.example"}]}
    )

    assert answer.status_code == 422
    assert "jobs[1]:" in answer.json()["detail"]
    assert answer.json()["parameter"] == "webhookURL"
    assert await jobs.scalar("SELECT count(*) FROM runware_jobs.batch") == 0


@pytest.mark.parametrize(
    ("label", "request_", "status", "parameter"),
    [
        ("no line", {"content": b"\n \n", "headers": JSONL}, 422, None),
        ("no job", {"json": {"jobs": []}}, 422, "jobs"),
        ("a budget of nothing", {"json": {"jobs": [PARAMS], "budget_usd": 0}}, 422, "budget_usd"),
        ("a budget that no column holds", {"json": {"jobs": [PARAMS], "budget_usd": 1e12}}, 422, "budget_usd"),
        ("an unknown option", {"content": b"{}", "headers": JSONL, "params": {"link": "x"}}, 422, "link"),
        ("a default of another type", {"content": b"{}", "headers": JSONL, "params": {"defaults": "x"}}, 422, "defaults"),
        ("one key for all jobs", {"json": {"jobs": [PARAMS], "idempotency_key": "x"}}, 422, "idempotency_key"),
        ("no JSON", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, None),
        ("a form", {"content": b"a=b", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415, None),
        ("a key that would mean nothing", {"json": {"jobs": [PARAMS]}, "headers": {"Idempotency-Key": "x"}}, 422, "Idempotency-Key"),
    ],
)  # fmt: skip
async def test_a_bad_batch_is_refused(client, label, request_, status, parameter):
    answer = await client.post("/v1/batches", **request_)

    assert answer.status_code == status, label
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["parameter"] == parameter


async def test_a_long_upload_is_taken_while_it_comes_and_never_is_in_memory(address, connect, jobs):
    import httpx

    line = orjson.dumps(PARAMS | {"positivePrompt": "x" * 2000}) + b"\n"

    async def upload():
        for _ in range(30):
            yield line * 100

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        answer = await client.post("/v1/batches", content=upload(), headers=JSONL)

    assert answer.status_code == 202
    assert answer.json()["total"] == 3000


async def test_json_batches_and_lines_have_limits_of_their_own(client):
    too_much = b"x" * (limits.MAX_BATCH_BYTES + 1)

    as_json = await client.post("/v1/batches", content=too_much, headers={"Content-Type": "application/json"})
    as_line = await client.post("/v1/batches", content=too_much, headers=JSONL)

    assert (as_json.status_code, "JSONL" in as_json.json()["detail"]) == (413, True)
    assert (as_line.status_code, as_line.json()["line"]) == (422, 1)
    assert "longer than" in as_line.json()["detail"]


async def test_pause_and_resume(client, jobs):
    batch = (await client.post("/v1/batches", json={"jobs": [PARAMS], "budget_usd": 1})).json()

    paused = await client.post(f"/v1/batches/{batch['id']}/pause")
    again = await client.post(f"/v1/batches/{batch['id']}/pause")
    resumed = await client.post(f"/v1/batches/{batch['id']}/resume", json={"budget_usd": "2.50"})
    refused = await client.post(f"/v1/batches/{batch['id']}/resume")

    assert (paused.json()["state"], paused.json()["pause_reason"]) == ("paused", "user")
    assert again.status_code == 200
    assert (resumed.json()["state"], resumed.json()["budget_usd"]) == ("open", "2.5")
    assert refused.status_code == 409


async def test_cancel_says_how_many(client, jobs):
    batch = (await client.post("/v1/batches", json={"jobs": [PARAMS] * 3})).json()
    await jobs.succeed((await all_jobs(client, batch["id"]))[0]["id"])

    answer = (await client.post(f"/v1/batches/{batch['id']}/cancel")).json()

    assert answer["canceled"] == 2
    assert answer["counts"] == {"succeeded": 1, "canceled": 2}


async def test_retry_failed_runs_again_what_is_not_unclear(client, jobs):
    batch = (await client.post("/v1/batches", json={"jobs": [PARAMS] * 3})).json()
    one, two, three = await all_jobs(client, batch["id"])
    await jobs.succeed(one["id"])
    await jobs.fail(two["id"])
    await jobs.fail(three["id"], billing="unclear")

    answer = (await client.post(f"/v1/batches/{batch['id']}/retry-failed")).json()

    assert (answer["retried"], answer["skipped"]) == (1, 1)
    assert answer["counts"] == {"succeeded": 1, "queued": 1, "failed": 1}


async def test_results_and_errors_are_lines_that_carry_the_custom_id(client, jobs):
    rows = [{"custom_id": name, "params": PARAMS} for name in "abcd"]
    batch = (await client.post("/v1/batches", json={"jobs": rows})).json()
    done, failed, canceled, _queued = await all_jobs(client, batch["id"])
    await jobs.succeed(done["id"], {"imageUUID": "1"}, {"imageUUID": "2"})
    await jobs.fail(failed["id"])
    await client.post(f"/v1/jobs/{canceled['id']}/cancel")

    results = await client.get(f"/v1/batches/{batch['id']}/results")
    errors = await client.get(f"/v1/batches/{batch['id']}/errors")

    assert results.headers["content-type"].startswith("application/jsonl")
    assert [orjson.loads(line) for line in results.content.splitlines()] == [
        {
            "custom_id": "a",
            "job_id": done["id"],
            "state": "succeeded",
            "results": [{"imageUUID": "1"}, {"imageUUID": "2"}],
            "cost_usd": "0.0013",
        }
    ]
    told = sorted(
        (orjson.loads(line) for line in errors.content.splitlines()), key=lambda line: line["custom_id"]
    )
    assert [(line["custom_id"], line["job_id"], line["error"]["code"]) for line in told] == [
        ("b", failed["id"], "safety"),
        ("c", canceled["id"], "aborted"),
    ]


async def test_a_long_download_holds_every_job_once_and_in_order(client, app):
    batch = (await client.post("/v1/batches", json={"jobs": [PARAMS] * 30})).json()
    await client.post(f"/v1/batches/{batch['id']}/cancel")

    ended = app.state.parts.producer.ended_jobs_of(
        uuid.UUID(batch["id"]), states=["canceled"], ids_at_once=7, page=3
    )
    ids = [job["id"] async for job in ended]

    assert len(set(ids)) == 30
    assert ids == sorted(ids)


async def test_a_batch_that_is_not_there_is_not_found(client):
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/pause"), ("POST", "/retry-failed")):
        answer = await client.request(method, f"/v1/batches/{uuid.uuid4()}{path}")

        assert answer.status_code == 404
