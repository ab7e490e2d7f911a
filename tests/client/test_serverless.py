"""Serverless apps: invoked once however often that takes, followed to the end, and told by clear errors."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import uuid

import pytest
import runware

from runware_jobs.client import GetTaskOptions, InvokeOptions, Runware, RunwareError
from tests.support.side_service import SideAnswer

APP, ENDPOINT = "my-app", "images/generate"
TASK_ID = "0b6b6b6e-1111-4222-8333-444444444444"
PROBLEMS = "https://docs.runware.ai/serverless/errors"
AT_ONCE = InvokeOptions(poll_interval=0.001)


def task(status="completed", **fields):
    return {
        "id": TASK_ID,
        "status": status,
        "appId": APP,
        "endpointPath": ENDPOINT,
        "output": {"seed": 7} if status == "completed" else None,
        "error": None,
        "createdAt": "2026-11-01T00:00:00Z",
        "completedAt": None,
        **fields,
    }


def problem(status, name="about:blank", headers=None, **fields):
    kind = name if name == "about:blank" else f"{PROBLEMS}#{name}"
    body = {"type": kind, "title": f"Title {status}", "status": status, **fields}
    return SideAnswer(body, status, {"content-type": "application/problem+json", **(headers or {})})


PENDING, DONE = SideAnswer(task("pending"), 202), SideAnswer(task())


@pytest.fixture
def client(open_side_client):
    return open_side_client()


@pytest.mark.parametrize("name", ["invoke", "get_task"])
def test_arguments_are_those_that_users_know(name):
    official, ours = (
        inspect.signature(getattr(kind, name)).parameters for kind in (runware.Runware, Runware)
    )

    assert [(p.name, p.kind, p.default) for p in official.values()] == [
        (p.name, p.kind, p.default) for p in ours.values()
    ]


@pytest.mark.parametrize("name", ["InvokeOptions", "GetTaskOptions"])
def test_options_are_those_that_users_know(name):
    official, ours = (
        getattr(runware, name),
        {"InvokeOptions": InvokeOptions, "GetTaskOptions": GetTaskOptions},
    )

    assert vars(official()) == {field: getattr(ours[name](), field) for field in vars(official())}


# ---- invoking ---------------------------------------------------------------------------------


async def test_invocation_is_submitted_and_followed_to_its_end(client, side_service):
    side_service.answers(PENDING, SideAnswer(task("pending")), DONE)

    done = await client.invoke(APP, ENDPOINT, {"prompt": "a lighthouse"}, task_id=TASK_ID, options=AT_ONCE)

    assert done == task()
    submit, *polls = side_service.requests
    assert (submit.method, submit.path) == ("POST", f"/serverless/v1/apps/{APP}/invoke-async/{ENDPOINT}")
    assert submit.body == {"taskId": TASK_ID, "payload": {"prompt": "a lighthouse"}}
    assert submit.headers["authorization"] == "Bearer test-key"
    assert [(poll.method, poll.path) for poll in polls] == [
        ("GET", f"/serverless/v1/apps/{APP}/tasks/{TASK_ID}")
    ] * 2


async def test_invocation_without_payload_and_id_gets_both(client, side_service):
    side_service.answers(DONE)

    await client.invoke(APP, ENDPOINT)

    body = side_service.requests[0].body
    assert body["payload"] == {}
    assert str(uuid.UUID(body["taskId"])) == body["taskId"]


async def test_sync_invocation_that_is_done_in_time_is_one_request(client, side_service):
    side_service.answers(DONE)

    done = await client.invoke(APP, ENDPOINT, options=InvokeOptions(delivery_method="sync"))

    assert done["output"] == {"seed": 7}
    assert side_service.paths == [f"/serverless/v1/apps/{APP}/invoke-sync/{ENDPOINT}"]


async def test_sync_invocation_that_outlives_its_window_is_followed(client, side_service):
    side_service.answers(PENDING, DONE)
    options = InvokeOptions(delivery_method="sync", poll_interval=0.001)

    assert (await client.invoke(APP, ENDPOINT, options=options))["status"] == "completed"
    assert len(side_service.requests) == 2


async def test_invocation_need_not_be_waited_for(client, side_service):
    side_service.answers(PENDING)

    pending = await client.invoke(APP, ENDPOINT, task_id=TASK_ID, options=InvokeOptions(wait=False))

    assert pending["status"] == "pending"
    assert len(side_service.requests) == 1


async def test_failed_task_is_given_and_not_raised(client, side_service):
    side_service.answers(SideAnswer(task("failed", error="out of memory"), 202))

    failed = await client.invoke(APP, ENDPOINT, task_id=TASK_ID)

    assert (failed["status"], failed["error"]) == ("failed", "out of memory")


async def test_id_of_another_apps_task_is_followed_there(client, side_service):
    side_service.answers(SideAnswer(task("pending", appId="older-app"), 202), DONE)

    await client.invoke(APP, ENDPOINT, task_id=TASK_ID, options=AT_ONCE)

    assert side_service.paths[1] == f"/serverless/v1/apps/older-app/tasks/{TASK_ID}"


@pytest.mark.parametrize(
    ("of_client", "of_call", "expected"),
    [
        (None, None, {}),
        ("staging", None, {"environment": "staging"}),
        (None, "staging", {"environment": "staging"}),
        ("production", "staging", {"environment": "staging"}),
    ],
)
async def test_environment_is_the_calls_or_the_clients(
    open_side_client, side_service, of_client, of_call, expected
):
    side_service.answers(PENDING, DONE)
    client = open_side_client(serverless_environment=of_client)

    await client.invoke(APP, ENDPOINT, environment=of_call, options=AT_ONCE)

    assert [request.query for request in side_service.requests] == [expected] * 2


# ---- repeating --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(problem(503), id="503"),
        pytest.param(SideAnswer(b"bad gateway", 502), id="502"),
        pytest.param(problem(429), id="429"),
        pytest.param(SideAnswer(b"<html>"), id="unreadable"),
        pytest.param(None, id="hang-up"),
    ],
)
async def test_repeated_invocation_keeps_its_task_id(client, side_service, first):
    side_service.answers(first, DONE)

    await client.invoke(APP, ENDPOINT)

    assert len(side_service.requests) == 2
    assert len({request.body["taskId"] for request in side_service.requests}) == 1


async def test_pause_is_exactly_the_one_the_service_asks_for(open_side_client, side_service):
    entries = []
    client = open_side_client(debug=True, log_sink=entries.append)
    side_service.answers(problem(429, headers={"retry-after": "0.03"}), DONE)

    await client.invoke(APP, ENDPOINT)

    assert [entry.data["pause_ms"] for entry in entries if entry.category == "retry"] == [30]


async def test_paused_environment_is_a_quota_and_never_asked_again(client, side_service):
    side_service.answers(
        problem(
            429,
            "environment-paused",
            detail="The environment is paused.",
            requestId="r-1",
            headers={"retry-after": "0"},
        )
    )

    with pytest.raises(RunwareError, match="paused") as raised:
        await client.invoke(APP, ENDPOINT)

    error = raised.value
    assert (error.code, error.retryable, error.status_code) == ("quota", False, 429)
    assert (error.problem_type, error.request_id) == (f"{PROBLEMS}#environment-paused", "r-1")
    assert len(side_service.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "validation"),
        (401, "auth"),
        (402, "quota"),
        (403, "auth"),
        (404, "notFound"),
        (409, "validation"),
        (413, "validation"),
        (422, "validation"),
        (302, "unknown"),
    ],
)
async def test_refusal_is_told_once_by_its_stable_code(client, side_service, status, code):
    side_service.answers(problem(status, headers={"location": "/elsewhere"}))

    with pytest.raises(RunwareError) as raised:
        await client.invoke(APP, ENDPOINT, task_id=TASK_ID)

    error = raised.value
    assert (error.code, error.status_code, error.task_uuid) == (code, status, TASK_ID)
    assert error.problem_type is None
    assert len(side_service.requests) == 1


async def test_refused_fields_are_listed_in_error_and_message(client, side_service):
    side_service.answers(
        problem(
            422,
            "validation-failed",
            detail="The payload is not valid.",
            errors=[
                {"detail": "is required", "pointer": "/payload/prompt"},
                {"detail": "must be below 9", "pointer": "#/payload/sizes/0/w~1h"},
            ],
            headers={"x-request-id": "r-2"},
        )
    )

    with pytest.raises(RunwareError) as raised:
        await client.invoke(APP, ENDPOINT)

    error = pickle.loads(pickle.dumps(raised.value))
    assert [(entry["path"], entry["message"]) for entry in error.validation_errors] == [
        ("payload.prompt", "is required"),
        ("payload.sizes.0.w/h", "must be below 9"),
    ]
    assert {tuple(entry) for entry in error.validation_errors} == {
        ("message", "path", "rule", "rule_definition")
    }
    assert "payload.prompt: is required" in error.message
    assert (error.parameter, error.request_id) == ("payload.prompt", "r-2")
    assert error.problem_type == f"{PROBLEMS}#validation-failed"


async def test_unknown_endpoint_is_told_from_an_unknown_app(client, side_service):
    side_service.answers(problem(404, endpointPath=ENDPOINT))
    with pytest.raises(RunwareError) as endpoint:
        await client.invoke(APP, ENDPOINT)
    side_service.answers(problem(404))
    with pytest.raises(RunwareError) as app:
        await client.invoke(APP, ENDPOINT)

    assert (endpoint.value.parameter, app.value.parameter) == ("endpoint_path", None)


async def test_missing_credit_is_told_with_its_amount(client, side_service):
    side_service.answers(problem(402, "insufficient-credit", detail="Not enough.", shortfall="12.50"))

    with pytest.raises(RunwareError, match=r"12\.50"):
        await client.invoke(APP, ENDPOINT)


# ---- following --------------------------------------------------------------------------------


async def test_time_limit_ends_the_waiting_and_names_the_task(client, side_service):
    side_service.answers(PENDING)
    options = InvokeOptions(poll_timeout=50, poll_interval=0.01)

    with pytest.raises(RunwareError, match="get_task") as raised:
        await client.invoke(APP, ENDPOINT, task_id=TASK_ID, options=options)
    assert (raised.value.code, raised.value.task_uuid) == ("timeout", TASK_ID)


async def test_cancel_event_ends_the_waiting_and_names_the_task(client, side_service):
    cancel = asyncio.Event()

    def pending(_):
        cancel.set()
        return PENDING

    side_service.script = pending

    with pytest.raises(RunwareError) as raised:
        await client.invoke(APP, ENDPOINT, task_id=TASK_ID, options=InvokeOptions(cancel_event=cancel))
    assert (raised.value.code, raised.value.task_uuid) == ("aborted", TASK_ID)


async def test_call_limit_bounds_one_request(open_side_client, side_service):
    async def never(_):
        await asyncio.Event().wait()

    side_service.script = never
    client = open_side_client(max_retries=0)

    with pytest.raises(RunwareError) as raised:
        await client.get_task(APP, TASK_ID, GetTaskOptions(timeout=50))
    assert raised.value.code == "timeout"


# ---- asking -----------------------------------------------------------------------------------


async def test_task_is_asked_for_by_app_and_id(client, side_service):
    side_service.answers(DONE)

    assert await client.get_task(APP, TASK_ID, environment="staging") == task()
    (request,) = side_service.requests
    assert request.path == f"/serverless/v1/apps/{APP}/tasks/{TASK_ID}"
    assert request.query == {"environment": "staging"}


async def test_unknown_task_is_told_at_once(client, side_service):
    side_service.answers(problem(404))

    with pytest.raises(RunwareError) as raised:
        await client.get_task(APP, TASK_ID)
    assert raised.value.code == "notFound"
    assert len(side_service.requests) == 1


async def test_question_for_a_task_is_asked_again(client, side_service):
    side_service.answers(problem(503), DONE)

    assert (await client.get_task(APP, TASK_ID))["status"] == "completed"


@pytest.mark.parametrize("body", [{}, {"id": TASK_ID}, [], b"<html>"])
async def test_answer_that_is_no_task_is_a_server_error(open_side_client, side_service, body):
    side_service.answers(SideAnswer(body))

    with pytest.raises(RunwareError) as raised:
        await open_side_client(max_retries=0).get_task(APP, TASK_ID)
    assert raised.value.code == "serverError"


async def test_tasks_are_listed_page_by_page(client, side_service):
    side_service.answers(
        SideAnswer({"data": [], "nextCursor": "c-2"}), SideAnswer({"data": [task()], "nextCursor": None})
    )

    first = await client.list_tasks(APP, status="pending", limit=5)
    second = await client.list_tasks(APP, status="pending", limit=5, cursor=first["nextCursor"])

    assert (first["data"], second) == ([], {"data": [task()], "nextCursor": None})
    assert side_service.paths == [f"/serverless/v1/apps/{APP}/tasks"] * 2
    assert side_service.requests[1].query == {"status": "pending", "limit": "5", "cursor": "c-2"}
