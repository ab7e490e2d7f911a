"""Who is let in: by key, and without any key only this machine."""

from __future__ import annotations

import pytest

from runware_jobs.store.keys import Scope, create_key, find_key, hash_key, list_keys, revoke_key

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse"}
JOB = {"params": PARAMS}


async def test_without_keys_this_machine_is_served_as_the_default_tenant(client):
    answer = await client.post("/v1/jobs", json=JOB)

    assert answer.status_code == 202
    assert answer.json()["tenant"] == "default"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_every_spelling_of_loopback_is_this_machine(connect, address):
    answer = await connect(address=address).get("/v1/jobs")

    assert answer.status_code == 200


@pytest.mark.parametrize("address", ["192.168.1.7", "8.8.8.8", "::ffff:10.0.0.1", "fe80::1", "unix"])
async def test_without_keys_another_machine_is_told_to_make_one(connect, address):
    for path in ("/v1/jobs", "/", "/metrics", "/dashboard/overview", "/nowhere"):
        answer = await connect(address=address).get(path)

        assert answer.status_code == 403
        assert answer.json()["code"] == "auth"
        assert "runware-jobs keys create" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"])
async def test_without_keys_a_proxy_on_this_machine_opens_no_door(client, header):
    answer = await client.get("/v1/jobs", headers={header: "127.0.0.1"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9400", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9400", 200),
        ("[::1]:9400", 200),
        ("evil.example:9400", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("[::1].evil.example", 403),
        ("", 403),
    ],
)
async def test_without_keys_a_rebound_name_is_refused(client, host, status):
    answer = await client.get("/v1/jobs", headers={"Host": host})

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": "http://localhost:9400", "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_without_keys_pages_of_other_sites_change_nothing(client, headers, status):
    answer = await client.post("/v1/jobs", json=JOB, headers=headers)

    assert answer.status_code == status


async def test_once_there_is_a_key_nobody_comes_in_without_one(client, new_key):
    await new_key()

    for path in ("/v1/jobs", "/metrics", "/dashboard/overview", "/"):
        answer = await client.get(path)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "auth"


async def test_a_key_is_served_from_anywhere(connect, new_key):
    client = connect(address="8.8.8.8", base_url="https://jobs.example", key=await new_key(Scope.ENQUEUE))

    answer = await client.post("/v1/jobs", json=JOB, headers={"Origin": "https://app.example"})

    assert answer.status_code == 202


@pytest.mark.parametrize("header", ["Bearer rwj_wrong", "Bearer", "Basic cndqXzE=", "rwj_wrong", ""])
async def test_a_wrong_key_is_refused_even_on_this_machine(client, header):
    answer = await client.get("/v1/jobs", headers={"Authorization": header})

    assert answer.status_code == 401


async def test_a_revoked_key_is_refused_and_does_not_open_the_keyless_door(client, connect, engine):
    async with engine.begin() as connection:
        key_id, token = await create_key(connection, name="old", tenant="default", scopes={Scope.ADMIN})
    assert (await connect(key=token).get("/v1/jobs")).status_code == 200

    async with engine.begin() as connection:
        assert await revoke_key(connection, key_id)
        assert not await revoke_key(connection, key_id)

    assert (await connect(key=token).get("/v1/jobs")).status_code == 401
    assert (await client.get("/v1/jobs")).status_code == 401


async def test_the_database_knows_a_key_by_its_hash_only(engine):
    async with engine.begin() as connection:
        key_id, token = await create_key(connection, name="ci", tenant="acme", scopes={Scope.READ})
        found = await find_key(connection, hash_key(token))
        listed = await list_keys(connection)

    assert token.startswith("rwj_")
    assert found is not None
    assert (found.id, found.tenant, found.scopes) == (key_id, "acme", {Scope.READ})
    assert [row["name"] for row in listed] == ["ci"]
    assert token not in str(listed)


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        (Scope.READ, "GET", "/v1/jobs", 200),
        (Scope.READ, "POST", "/v1/jobs", 403),
        (Scope.READ, "GET", "/v1/webhook-endpoints", 200),
        (Scope.READ, "POST", "/v1/webhook-endpoints", 403),
        (Scope.READ, "GET", "/metrics", 403),
        (Scope.ENQUEUE, "POST", "/v1/jobs", 202),
        (Scope.ENQUEUE, "GET", "/v1/jobs", 403),
        (Scope.ENQUEUE, "POST", "/v1/webhook-endpoints", 403),
        (Scope.ADMIN, "GET", "/v1/jobs", 200),
        (Scope.ADMIN, "POST", "/v1/jobs", 202),
        (Scope.ADMIN, "POST", "/v1/webhook-endpoints", 201),
        (Scope.ADMIN, "GET", "/metrics", 200),
    ],
)
async def test_a_key_does_what_its_scope_allows(connect, new_key, scope, method, path, status):
    body = {"url": "https://hooks.example/x"} if "webhook" in path else JOB

    answer = await connect(key=await new_key(scope)).request(
        method, path, json=body if method == "POST" else None
    )

    assert answer.status_code == status
    if status == 403:
        assert answer.json()["type"].endswith(":scope-missing")


async def test_a_tenant_sees_and_touches_only_its_own(connect, new_key):
    ours, theirs = connect(key=await new_key(tenant="acme")), connect(key=await new_key(tenant="other"))
    job = (await ours.post("/v1/jobs", json=JOB)).json()
    batch = (await ours.post("/v1/batches", json={"jobs": [PARAMS]})).json()
    endpoint = (await ours.post("/v1/webhook-endpoints", json={"url": "https://h.example/x"})).json()

    assert job["tenant"] == "acme"
    for method, path in (
        ("GET", f"/v1/jobs/{job['id']}"),
        ("GET", f"/v1/jobs/{job['id']}/events"),
        ("POST", f"/v1/jobs/{job['id']}/cancel"),
        ("POST", f"/v1/jobs/{job['id']}/retry"),
        ("GET", f"/v1/batches/{batch['id']}"),
        ("GET", f"/v1/batches/{batch['id']}/results"),
        ("GET", f"/v1/batches/{batch['id']}/errors"),
        ("POST", f"/v1/batches/{batch['id']}/pause"),
        ("POST", f"/v1/batches/{batch['id']}/resume"),
        ("POST", f"/v1/batches/{batch['id']}/cancel"),
        ("POST", f"/v1/batches/{batch['id']}/retry-failed"),
        ("GET", f"/v1/webhook-endpoints/{endpoint['id']}"),
        ("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}"),
        ("POST", f"/v1/webhook-endpoints/{endpoint['id']}/rotate-secret"),
    ):
        assert (await theirs.request(method, path)).status_code == 404, path
    assert (await theirs.get("/v1/jobs")).json()["jobs"] == []
    assert (await theirs.get("/v1/batches")).json()["batches"] == []
    assert (await theirs.get("/v1/webhook-endpoints")).json()["endpoints"] == []
    assert (await theirs.get("/dashboard/overview")).json()["jobs"] == []
    assert (await ours.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued"


async def test_two_tenants_may_use_the_same_idempotency_key(connect, new_key):
    ours, theirs = connect(key=await new_key(tenant="acme")), connect(key=await new_key(tenant="other"))

    first = await ours.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "1"})
    second = await theirs.post("/v1/jobs", json=JOB, headers={"Idempotency-Key": "1"})

    assert (first.status_code, second.status_code) == (202, 202)


async def test_a_key_cannot_write_for_another_tenant(connect, new_key):
    client = connect(key=await new_key(tenant="acme"))

    for path, body in (
        ("/v1/jobs", JOB),
        ("/v1/batches", {"jobs": [PARAMS]}),
        ("/v1/webhook-endpoints", {"url": "https://h.example/x"}),
    ):
        answer = await client.post(path, json=body | {"tenant": "other"})

        assert answer.status_code == 403
        assert answer.json()["parameter"] == "tenant"


async def test_a_key_of_every_tenant_serves_each(connect, new_key):
    client = connect(key=await new_key(tenant="*"))

    made = [(await client.post("/v1/jobs", json=JOB | {"tenant": name})).json() for name in ("a", "b")]

    assert [job["tenant"] for job in made] == ["a", "b"]
    assert {job["tenant"] for job in (await client.get("/v1/jobs")).json()["jobs"]} == {"a", "b"}
    assert (await client.post("/v1/jobs", json=JOB | {"tenant": "*"})).status_code == 422
    assert (await client.post("/v1/jobs", json=JOB)).json()["tenant"] == "default"
