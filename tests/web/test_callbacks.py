"""The platform's callbacks: whatever is sent, all that can follow is one poll."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import event

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


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("a task object", b'{"taskType":"imageInference","taskUUID":"x","status":"success"}'),
        ("wrapped", b'{"data":[{"taskUUID":"x"}]}'),
        ("a failure", b'{"errors":[{"code":"timeout"}]}'),
        ("a list", b"[{}]"),
        ("nothing", b""),
        ("no JSON", b"\xff\xfe<html>"),
        ("progress", b'{"status":"processing","progress":50}'),
    ],
)
async def test_any_body_is_taken_without_a_key_and_makes_the_task_due(
    connect, new_key, engine, task, address_of, label, body
):
    await new_key()  # from now on nobody comes in without one
    client = connect(address="203.0.113.9", base_url="https://jobs.example")
    answer = await client.post(address_of(task), content=body)

    assert answer.status_code == 204
    assert (await hint_of(engine, task))[0] is not None


async def test_flood_writes_once(client, engine, task, address_of):
    await client.post(address_of(task))
    first = await hint_of(engine, task)
    answers = {(await client.post(address_of(task), json={})).status_code for _ in range(20)}

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
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    path, _, token = address_of(task).rpartition("/")
    answers = [await client.post(f"{path}/{forged}") for forged in (f"{token[:-6]}AAAAAA", task, "x")]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[0].json()["code"] == "notFound"
    assert statements == []


async def test_huge_body_is_refused(client, task, address_of):
    assert (await client.post(address_of(task), content=b"x" * 1_000_001)).status_code == 413
