"""PROTOCOL 1: the traps of the envelope and of HTTP, on each transport where it has them."""

from __future__ import annotations

import pytest

from runware_jobs.client import LogEntry, RunwareError

pytestmark = pytest.mark.usefixtures("fast_pace")
PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}
SUCCESS = {"status": "success", "imageUUID": "image-1", "imageURL": "https://im.example/1.jpg"}


async def test_body_is_an_array_also_for_one_task(open_client, http_platform, make_task):
    """1.1: a bare object is not accepted."""
    await open_client().submit_many([make_task()])

    assert isinstance(http_platform.requests[0], list)


async def test_key_goes_into_the_header_and_not_into_the_body_as_well(open_client, http_platform, make_task):
    """1.1: one variant of authentication, not both."""
    await open_client().submit_many([make_task()])

    assert [task["taskType"] for task in http_platform.requests[0]] == ["imageInference"]
    assert "test-key" not in repr(http_platform.requests)


async def test_authentication_item_beside_the_results_is_filtered_out(
    open_client, http_platform, answer_with
):
    """1.1: payload auth of a proxy in between shows in the answer."""
    http_platform.script = lambda tasks: answer_with(
        {
            "data": [
                {"taskType": "authentication", "connectionSessionUUID": "s"},
                {"taskType": "imageInference", "taskUUID": tasks[0]["taskUUID"], **SUCCESS},
            ]
        }
    )

    results = await open_client().run(PARAMS)

    assert [result["imageUUID"] for result in results] == ["image-1"]


async def test_answers_are_matched_by_uuid_and_never_by_place(
    open_client, http_platform, make_task, answer_with, ack_of
):
    """1.2."""
    tasks = [make_task() for _ in range(3)]
    refusal = {"code": "invalidModel", "message": "m", "taskUUID": tasks[0]["taskUUID"]}
    http_platform.script = lambda sent: answer_with(
        {"data": [ack_of(task) for task in reversed(sent[1:])], "errors": [refusal]}
    )

    outcomes = await open_client().submit_many(tasks)

    kinds = [type(outcomes[task["taskUUID"]]).__name__ for task in tasks]
    assert kinds == ["Refused", "Accepted", "Accepted"]


EMPTY_ERRORS = {"list": {"errors": []}, "null": {"errors": None}, "single": {"error": None}}


@pytest.mark.parametrize("empty", EMPTY_ERRORS.values(), ids=EMPTY_ERRORS)
async def test_empty_errors_are_no_error(open_client, http_platform, answer_with, empty):
    """1.3: the mere presence of the key made SDK 1.8.0 fail."""
    http_platform.script = lambda tasks: answer_with(
        {"data": [{"taskType": "imageInference", "taskUUID": tasks[0]["taskUUID"], **SUCCESS}], **empty}
    )

    assert (await open_client().run(PARAMS))[0]["imageUUID"] == "image-1"


@pytest.mark.parametrize("status", [200, 207, 400, 422])
async def test_body_is_read_before_the_status(
    open_client, http_platform, make_task, answer_with, ack_of, status
):
    """1.3: the status of a partly rejected batch is unknown."""
    taken, refused = make_task(), make_task()
    error = {"code": "invalidModel", "message": "m", "taskUUID": refused["taskUUID"]}
    http_platform.script = lambda tasks: answer_with(
        {"data": [ack_of(tasks[0])], "errors": [error]}, status=status
    )

    outcomes = await open_client().submit_many([taken, refused])

    assert [type(outcome).__name__ for outcome in outcomes.values()] == ["Accepted", "Refused"]


async def test_wholly_rejected_task_is_refused(open_client, http_platform, make_task, answer_with):
    """1.3: HTTP 400 with `{"data": [], "errors": [...]}`."""
    task = make_task()
    error = {"code": "invalidModel", "message": "m", "taskUUID": task["taskUUID"]}
    http_platform.script = lambda _: answer_with({"data": [], "errors": [error]}, status=400)

    outcome = (await open_client().submit_many([task]))[task["taskUUID"]]

    assert (type(outcome).__name__, outcome.error.code) == ("Refused", "validation")


FORMS = {
    "object": lambda task: {"error": {"code": "invalidModel", "message": "m", "taskUUID": task["taskUUID"]}},
    "list": lambda task: {"error": [{"code": "invalidModel", "message": "m", "taskUUID": task["taskUUID"]}]},
    "scope outside": lambda task: {
        "error": {"code": "invalidModel", "message": "m"},
        "taskUUID": task["taskUUID"],
        "taskType": task["taskType"],
    },
    "without a scope": lambda _: {"error": {"code": "invalidModel", "message": "m"}},
    "beside data": lambda _: {"data": [], "error": {"code": "invalidModel", "message": "m"}},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_singular_error_is_an_error(platform, form):
    """1.3: an object or a list, on both transports."""
    platform.answers(form)

    with pytest.raises(RunwareError) as raised:
        await platform.client().run(PARAMS)
    assert (raised.value.code, raised.value.message) == ("validation", "m")


async def test_oldest_form_of_an_error_is_read(open_client, http_platform, answer_with):
    """1.3: `{"error": true, "errorId": 19, ...}`."""
    body = {"error": True, "errorId": 19, "errorMessageContentId": 1212, "errorMessage": "Invalid API key"}
    http_platform.script = lambda _: answer_with(body, status=401)

    with pytest.raises(RunwareError, match="Invalid API key") as raised:
        await open_client().run(PARAMS)
    assert (raised.value.code, raised.value.status_code) == ("auth", 401)


async def test_envelopes_in_an_array_are_read(open_client, http_platform, make_task, answer_with):
    """1.3: `[{"errors": [...]}]`."""
    task = make_task()
    error = {"code": "invalidModel", "message": "m", "taskUUID": task["taskUUID"]}
    http_platform.script = lambda _: answer_with([{"errors": [error]}])

    assert type((await open_client().submit_many([task]))[task["taskUUID"]]).__name__ == "Refused"


@pytest.mark.parametrize("header", ["0.05", "Mon, 01 Jan 2001 00:00:00 GMT"], ids=["seconds", "date"])
async def test_retry_after_decides_the_pause(open_client, http_platform, answer_with, ack_of, header):
    """1.5: SDK 1.8.0 ignored it and waited for its own delay."""
    heard: list[LogEntry] = []
    answers = [
        answer_with({"errors": [{"code": "rateLimitExceeded"}]}, status=429, headers={"retry-after": header})
    ]
    http_platform.script = lambda tasks: (
        answers.pop()
        if answers
        else answer_with(
            {"data": [{"taskType": "imageInference", "taskUUID": tasks[0]["taskUUID"], **SUCCESS}]}
        )
    )
    client = open_client(retry_delay=60_000, debug=True, log_sink=heard.append)
    await client.run(PARAMS)

    pauses = [entry.data["pause_ms"] for entry in heard if entry.message == "request_again"]
    assert pauses == [50 if header == "0.05" else 0]


async def test_pause_that_is_too_long_is_the_callers_to_make(open_client, http_platform, answer_with):
    """1.5: bounded; the error says how long."""
    http_platform.script = lambda _: answer_with(b"", status=429, headers={"retry-after": "1800"})

    with pytest.raises(RunwareError) as raised:
        await open_client().run(PARAMS)
    assert (raised.value.code, raised.value.retry_after_s) == ("rateLimit", 1800.0)
    assert len(http_platform.requests) == 1
