"""The platform's callbacks: whatever is sent, all that can follow is one poll."""

from __future__ import annotations

import json
import logging
import uuid

import httpx
import pytest
from sqlalchemy.event import listen

from runware_jobs.core.callbacks import callback_url
from runware_jobs.store.accounts import installation_secret


@pytest.fixture
async def address_of(engine):
    """Make the path of a task's callbacks."""
    async with engine.connect() as connection:
        secret = await installation_secret(connection)
    return lambda task: callback_url("", secret, uuid.UUID(str(task)))


@pytest.fixture
async def task(enqueue, jobs):
    """A task that the platform works on."""
    job = await enqueue()
    task = uuid.uuid4()
    await jobs.run(
        "INSERT INTO runware_jobs.attempt (task_uuid, job_id, run, number, account_id, state)"
        " SELECT CAST(:task AS uuid), id, 1, 1, account_id, 'accepted' FROM runware_jobs.job WHERE id = :id",
        id=job["id"],
        task=str(task),
    )
    return task


async def hint_of(engine, task):
    async with engine.connect() as connection:
        row = await connection.exec_driver_sql(
            f"SELECT hinted_at, xmin::text FROM runware_jobs.attempt WHERE task_uuid = '{task}'"
        )
        return row.one()


ITEM = {"taskType": "imageInference", "taskUUID": "x", "imageUUID": "y", "imageURL": "https://im/y"}
FAILURE = {
    "taskType": "imageInference",
    "taskUUID": "x",
    "status": "error",
    "code": "timeout",
    "message": "late",
}


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("a flat item", json.dumps(ITEM | {"status": "success", "cost": 0.01})),
        ("items in data", json.dumps({"data": [ITEM]})),
        ("a flat failure", json.dumps(FAILURE)),
        ("a list of errors", json.dumps({"errors": [FAILURE]})),
        ("data and errors", json.dumps({"data": [ITEM], "errors": [FAILURE]})),
        ("a bare list", json.dumps([ITEM, FAILURE])),
        ("a failed item in data", json.dumps({"data": [FAILURE]})),
        ("progress", json.dumps(ITEM | {"status": "processing", "progress": 50})),
        ("about another task", json.dumps(ITEM | {"taskUUID": str(uuid.uuid4())})),
        ("nothing", b""),
        ("no UTF-8", b"\xff\xfe<html>"),
        ("half of a JSON", b'{"data":[{"taskUUID"'),
        ("nested too deep", b"[" * 100_000),
        ("a megabyte", b"x" * 1_048_576),
    ],
)
async def test_any_body_is_taken_without_a_key_and_makes_the_task_due(
    connect, new_key, engine, task, address_of, label, body
):
    await new_key()  # from now on nobody comes in without one
    client = connect(address="203.0.113.9", base_url="https://jobs.example")
    answer = await client.post(address_of(task), content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await hint_of(engine, task))[0] is not None


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/html; charset=klingon",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonl",
    ],
)
async def test_type_of_the_body_does_not_matter(client, engine, task, address_of, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await client.post(address_of(task), content=b"a=1&b", headers=headers)

    assert answer.status_code == 204
    assert (await hint_of(engine, task))[0] is not None


async def test_body_of_any_size_is_passed_over_on_a_real_socket(address, engine, task, address_of):
    async with httpx.AsyncClient() as platform:
        for _ in range(2):  # the second on the same connection
            answer = await platform.post(address + address_of(task), content=b"x" * 20_000_000)

            assert answer.status_code == 204

    assert (await hint_of(engine, task))[0] is not None


async def test_without_any_key_the_platform_gets_in_and_nobody_else(connect, engine, task, address_of):
    client = connect(address="203.0.113.9", base_url="https://jobs.example")
    called_back = await client.post(address_of(task), json=ITEM)
    others = await client.get("/v1/jobs")

    assert called_back.status_code == 204
    assert others.status_code == 403


async def test_call_is_one_look_up_in_one_index(app, client, engine, task, address_of):
    await client.post(address_of(task))  # the secret is read once
    statements = []
    listen(
        app.state.parts.engine.sync_engine,
        "before_cursor_execute",
        lambda *given: statements.append(given[2]),
    )
    await client.post(address_of(task))
    [statement] = statements
    async with engine.begin() as connection:
        # As many others as make an index worth its while.
        await connection.exec_driver_sql(
            "INSERT INTO runware_jobs.attempt (task_uuid, job_id, run, number, account_id, state, outcome, finished_at)"
            " SELECT gen_random_uuid(), job_id, 1, 1 + n, account_id, 'ended', 'failed', now()"
            " FROM runware_jobs.attempt, generate_series(1, 2000) AS n"
        )
        await connection.exec_driver_sql("ANALYZE runware_jobs.attempt")
        plan = await connection.exec_driver_sql(
            f"EXPLAIN {statement.replace('%(task_uuid)s', repr(str(task)))}".replace("::UUID", "::uuid")
        )
        lines = [line for (line,) in plan]

    assert sum("Scan" in line for line in lines) == 1
    assert "Index Scan using attempt_pkey" in " ".join(lines)


async def test_flood_writes_once(client, engine, task, address_of):
    await client.post(address_of(task))
    first = await hint_of(engine, task)
    answers = {(await client.post(address_of(task), json={})).status_code for _ in range(100)}

    assert answers == {204}
    assert await hint_of(engine, task) == first


async def test_call_about_a_task_that_has_ended_changes_nothing(client, engine, jobs, enqueue, address_of):
    job = await enqueue()
    await jobs.succeed(job["id"])
    async with engine.connect() as connection:
        task = (await connection.exec_driver_sql("SELECT task_uuid FROM runware_jobs.attempt")).scalar_one()
    before = await hint_of(engine, task)
    answer = await client.post(address_of(task), json={"status": "error"})

    assert answer.status_code == 204
    assert await hint_of(engine, task) == before


async def test_forged_address_is_refused_before_any_query(app, client, task, address_of):
    await client.post(address_of(task))
    statements = []
    engine = app.state.parts.engine.sync_engine
    listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    path, _, token = address_of(task).rpartition("/")
    answers = [await client.post(f"{path}/{forged}") for forged in (f"{token[:-6]}AAAAAA", task, "x")]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[0].json()["code"] == "notFound"
    assert statements == []


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_token_is_in_no_access_log(address, task, address_of, caplog, method):
    path = address_of(task)
    with caplog.at_level(logging.INFO, logger="uvicorn.access"):
        async with httpx.AsyncClient() as platform:
            for called in (path, path[:-6] + "AAAAAA"):
                await platform.request(method, address + called)
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]

    assert len(lines) == 2
    assert all("/v1/callbacks/runware/..." in line for line in lines)
    assert path.rpartition("/")[2][:20] not in caplog.text
