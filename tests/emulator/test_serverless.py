"""The serverless API: apps are invoked once per task id, wait or are polled, and refuse with problem documents."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.emulator.conftest import HEADERS

BASE = "/serverless/v1/apps"


async def invoke(still, endpoint="echo", payload=None, *, app="demo-app", how="async", task_id=None, **query):
    return await still.http.post(
        f"{BASE}/{app}/invoke-{how}/{endpoint}",
        json={"taskId": task_id or str(uuid4()), "payload": payload or {}},
        params=query,
        headers=HEADERS,
    )


async def task(still, task_id, *, app="demo-app", **query):
    return await still.http.get(f"{BASE}/{app}/tasks/{task_id}", params=query, headers=HEADERS)


async def test_an_async_invocation_is_accepted_and_then_completed(still):
    accepted = await invoke(still, payload={"prompt": "a cat"})
    still.pass_time(1)
    done = (await task(still, accepted.json()["id"])).json()

    assert (accepted.status_code, accepted.json()["status"]) == (202, "pending")
    assert accepted.json()["completedAt"] is None
    assert (done["status"], done["output"], done["error"]) == ("completed", {"prompt": "a cat"}, None)
    assert (done["appId"], done["endpointPath"]) == ("demo-app", "echo")
    assert done["createdAt"] < done["completedAt"]


async def test_an_app_that_fails_says_why(still):
    accepted = await invoke(still, "fail", {"message": "out of paint"})
    still.pass_time(1)
    done = (await task(still, accepted.json()["id"])).json()

    assert (done["status"], done["output"], done["error"]) == ("failed", None, "out of paint")


async def test_a_sync_invocation_answers_when_it_is_done(still):
    waiting = asyncio.create_task(invoke(still, "math/add", {"numbers": [2, 3]}, how="sync"))
    while not still.http._transport.app.state.invocations.by_key:  # the app behind the fixture
        await asyncio.sleep(0)
    still.pass_time(1)
    done = await waiting

    assert (done.status_code, done.json()["output"]) == (200, {"sum": 5})


async def test_a_sync_invocation_that_outlives_the_window_comes_back_pending(still):
    await still.configure(switches={"serverless_wait_s": 0})

    pending = await invoke(still, "sleep", {"seconds": 90}, how="sync")

    assert (pending.status_code, pending.json()["status"]) == (202, "pending")


async def test_the_same_task_id_is_the_same_task(still):
    task_id = str(uuid4())

    first = (await invoke(still, payload={"n": 1}, task_id=task_id)).json()
    still.pass_time(1)
    again = (await invoke(still, payload={"n": 2}, task_id=task_id)).json()

    assert again["createdAt"] == first["createdAt"]
    assert again["output"] == {"n": 1}


async def test_a_fresh_task_may_be_missing_for_a_moment(still):
    await still.configure(switches={"serverless_lag_s": 5})
    task_id = (await invoke(still)).json()["id"]

    early = await task(still, task_id)
    still.pass_time(5)

    assert early.status_code == 404
    assert (await task(still, task_id)).status_code == 200


async def test_tasks_are_listed_in_pages_and_by_status(still):
    ids = []
    for number in range(5):
        ids.append((await invoke(still, "fail" if number == 4 else "echo")).json()["id"])
        still.pass_time(1)
    base = f"{BASE}/demo-app/tasks"

    async def listed(**query):
        return (await still.http.get(base, params=query, headers=HEADERS)).json()

    first = await listed(limit=2)
    second = await listed(limit=2, cursor=first["nextCursor"])
    last = await listed(limit=2, cursor=second["nextCursor"])

    seen = [one["id"] for page in (first, second, last) for one in page["data"]]
    assert seen == list(reversed(ids))
    assert last["nextCursor"] is None
    assert [one["id"] for one in (await listed(status="failed"))["data"]] == [ids[4]]


async def test_environments_and_organisations_do_not_see_each_other(still):
    task_id = (await invoke(still, environment="staging")).json()["id"]
    stranger = {"Authorization": "Bearer somebody.else"}

    assert (await task(still, task_id, environment="staging")).status_code == 200
    assert (await task(still, task_id)).status_code == 404
    other = await still.http.get(
        f"{BASE}/demo-app/tasks/{task_id}", params={"environment": "staging"}, headers=stranger
    )
    assert other.status_code == 404


@pytest.mark.parametrize(
    ("values", "status", "member"),
    [
        pytest.param({"app": "No App"}, 400, {"title": "Bad Request"}, id="app name"),
        pytest.param({"app": "a-b-c"}, 400, {}, id="short app name"),
        pytest.param({"app": "unknown-app"}, 404, {"title": "Not Found"}, id="unknown app"),
        pytest.param({"app": "stopped-app"}, 409, {"detail": "The app is stopped."}, id="stopped"),
        pytest.param({"app": "failed-app"}, 409, {"detail": "The app is failed."}, id="failed"),
        pytest.param({"endpoint": "nothing"}, 404, {"endpointPath": "nothing"}, id="unknown endpoint"),
        pytest.param({"endpoint": "Bad_Name"}, 400, {"endpointPath": "Bad_Name"}, id="endpoint name"),
        pytest.param({"environment": "UPPER"}, 400, {}, id="environment name"),
        pytest.param({"environment": "elsewhere"}, 404, {}, id="unknown environment"),
        pytest.param(
            {"environment": "paused"},
            429,
            {"type": "https://docs.runware.ai/serverless/errors#environment-paused"},
            id="paused",
        ),
        pytest.param(
            {"task_id": "UPPER"},
            422,
            {"errors": [{"detail": "must be a lowercase UUID", "pointer": "/taskId"}]},
            id="task id",
        ),
        pytest.param(
            {"endpoint": "sleep", "payload": {"seconds": "long"}},
            422,
            {
                "errors": [
                    {"detail": "must be a number of seconds from 0 to 86400", "pointer": "/payload/seconds"}
                ]
            },
            id="payload",
        ),
    ],
)
async def test_a_refusal_is_a_problem_document(still, values, status, member):
    response = await invoke(still, **values)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "requestId"} <= set(response.json())
    assert member.items() <= response.json().items()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer bad-key"}], ids=["no key", "bad key"])
async def test_a_key_is_needed(still, headers):
    response = await still.http.get(f"{BASE}/demo-app/tasks", headers=headers)

    assert response.status_code == 401


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b"x" * (7 << 20), 413)])
async def test_a_body_that_is_no_invocation_is_refused(still, body, status):
    response = await still.http.post(f"{BASE}/demo-app/invoke-async/echo", content=body, headers=HEADERS)

    assert response.status_code == status
