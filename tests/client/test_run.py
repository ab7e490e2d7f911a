"""run(): what is sent again and what is not, in which order results come, what callbacks hear."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import RunOptions, RunwareError

PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}


@pytest.fixture(autouse=True)
def fast_polls(monkeypatch):
    """The pauses between polls are the platform's pace, not what is tested here."""
    monkeypatch.setattr("runware_jobs.client.running.runs._FIRST_POLL_S", 0.005)
    monkeypatch.setattr("runware_jobs.client.running.runs._MAX_POLL_S", 0.01)
    monkeypatch.setattr("runware_jobs.client.running.runs.RESEND_AGE_S", 0.005)


@pytest.fixture
def script(http_platform, answer_with):
    """Answer request by request; the last answer stays."""

    def install(*answers):
        queue = list(answers)

        def answer(tasks):
            current = queue.pop(0) if len(queue) > 1 else queue[0]
            task_uuid = tasks[0]["taskUUID"]
            status, headers = current.get("status", 200), current.get("headers", {})
            body = {}
            if "data" in current:
                body["data"] = [
                    {"taskType": "imageInference", "taskUUID": task_uuid, **item} for item in current["data"]
                ]
            if "errors" in current:
                body["errors"] = [
                    {"taskUUID": task_uuid, "message": "m", **error} for error in current["errors"]
                ]
            if current.get("hang_up"):
                return answer_with(hang_up=True)
            return answer_with(body, status=status, headers=headers)

        http_platform.script = answer

    return install


def success(number, **fields):
    return {
        "status": "success",
        "imageUUID": f"image-{number}",
        "imageURL": f"https://x.example/{number}",
        **fields,
    }


async def test_task_is_submitted_once_and_asked_for_until_done(open_client, http_platform, script):
    script({"data": [{}]}, {"data": [{"status": "processing"}]}, {"data": [success(1)]})

    results = await open_client().run(PARAMS)

    assert [result["imageUUID"] for result in results] == ["image-1"]
    sent = [request[0]["taskType"] for request in http_platform.requests]
    assert sent == ["imageInference", "getResponse", "getResponse"]
    assert http_platform.requests[0][0]["deliveryMethod"] == "async"


async def test_slug_becomes_the_air(open_client, http_platform, script):
    script({"data": [success(1)]})

    await open_client().run({**PARAMS, "model": "bfl-flux-2-dev"})

    assert http_platform.requests[0][0]["model"] == "runware:400@1"


async def test_unknown_model_names_the_remedy(open_client, http_platform):
    with pytest.raises(RunwareError, match="taskType") as raised:
        await open_client().run({"model": "nobody:1@1"})
    assert raised.value.code == "notFound"
    assert http_platform.requests == []


async def test_results_keep_the_order_of_the_platform(open_client, script):
    heard = []
    script(
        {"data": [{}]},
        {"data": [{"status": "processing"}, success(2), {"status": "processing"}]},
        {"data": [success(1), success(2), success(3)]},
    )

    results = await open_client().run({**PARAMS, "numberResults": 3}, RunOptions(on_result=heard.append))

    assert [result["imageUUID"] for result in heard] == ["image-2", "image-1", "image-3"]
    assert [result["imageUUID"] for result in results] == ["image-1", "image-2", "image-3"]


async def test_result_index_orders_before_arrival(open_client, script):
    script({"data": [success(1, resultIndex=1), success(0, resultIndex=0)]})

    results = await open_client().run({**PARAMS, "numberResults": 2})

    assert [result["resultIndex"] for result in results] == [0, 1]


async def test_several_texts_of_one_task_are_all_there(open_client, script):
    script(
        {"data": [{}]}, {"data": [{"status": "success", "text": "one"}, {"status": "success", "text": "two"}]}
    )

    results = await open_client().run({"model": "google:gemma@4-31b", "messages": [], "numberResults": 2})

    assert [result["text"] for result in results] == ["one", "two"]


@pytest.mark.parametrize("form", ["in data", "in errors"])
async def test_failed_item_is_heard_before_the_call_raises(open_client, script, form):
    heard = []
    failure = {
        "in data": {
            "data": [
                success(1),
                {"status": "error", "error": {"code": "contentPolicyViolation", "message": "no"}},
            ]
        },
        "in errors": {
            "data": [success(1)],
            "errors": [{"code": "contentPolicyViolation", "message": "no", "status": "error"}],
        },
    }
    script({"data": [{}]}, failure[form])

    with pytest.raises(RunwareError) as raised:
        await open_client().run({**PARAMS, "numberResults": 2}, RunOptions(on_result=heard.append))

    assert [item["status"] for item in heard] == ["success", "error"]
    assert raised.value.code == "safety"
    assert [item["imageUUID"] for item in raised.value.results] == ["image-1"]


async def test_progress_is_heard_when_it_changes(open_client, script):
    heard = []
    script(
        {"data": [{}]},
        {"data": [{"status": "processing", "progress": 10}]},
        {"data": [{"status": "processing", "progress": 10}]},
        {"data": [{"status": "processing", "progress": 60}]},
        {"data": [success(1)]},
    )

    async def hear(item):
        heard.append(item["progress"])

    await open_client().run(PARAMS, RunOptions(on_progress=hear))

    assert heard == [10, 60]


async def test_callback_that_fails_changes_nothing(open_client, script):
    script({"data": [success(1)]})

    results = await open_client().run(PARAMS, RunOptions(on_result=lambda _: 1 / 0))

    assert len(results) == 1


async def test_unclear_submit_is_repeated_with_its_own_uuid_and_a_conflict_is_good_news(
    open_client, http_platform, script
):
    script(
        {"hang_up": True},
        {"errors": [{"code": "conflictTaskUUID"}], "status": 400},
        {"data": [success(1)]},
    )

    results = await open_client().run(PARAMS)

    assert len(results) == 1
    assert len({request[0]["taskUUID"] for request in http_platform.requests}) == 1


async def test_conflict_of_a_first_try_is_an_error(open_client, script):
    script({"errors": [{"code": "conflictTaskUUID"}], "status": 400})

    with pytest.raises(RunwareError) as raised:
        await open_client().run({**PARAMS, "taskUUID": "2b1f3a52-2a53-4b4c-9a13-0c4b3a6c7d11"})
    assert raised.value.code == "validation"


@pytest.mark.parametrize(
    ("error", "status", "tries"),
    [
        ("rateLimitExceeded", 429, 3),
        ("serviceUnavailable", 503, 3),
        ("internalServerError", 500, 3),
        ("invalidModel", 400, 1),
        ("invalidApiKey", 401, 1),
        ("insufficientCredits", 402, 1),
        ("contentPolicyViolation", 400, 1),
        ("providerError", 500, 1),
    ],
)
async def test_class_of_an_error_decides_about_another_try(
    open_client, http_platform, script, error, status, tries
):
    script({"errors": [{"code": error}], "status": status})

    with pytest.raises(RunwareError):
        await open_client(max_retries=2).run(PARAMS)
    assert len(http_platform.requests) == tries


async def test_poll_that_fails_is_asked_again(open_client, script):
    script({"data": [{}]}, {"hang_up": True}, {"status": 503}, {"data": [success(1)]})

    assert len(await open_client().run(PARAMS)) == 1


async def test_time_that_is_over_says_that_the_task_goes_on(open_client, script):
    script({"data": [{"status": "processing"}]})

    with pytest.raises(RunwareError, match="goes on") as raised:
        await open_client().run(PARAMS, RunOptions(timeout=60))
    assert raised.value.code == "timeout"
    assert raised.value.task_uuid is not None


async def test_cancel_event_ends_the_waiting(open_client, script):
    cancel = asyncio.Event()
    script({"data": [{}]}, {"data": [{"status": "processing", "progress": 1}]})

    with pytest.raises(RunwareError) as raised:
        await open_client().run(PARAMS, RunOptions(cancel_event=cancel, on_progress=lambda _: cancel.set()))
    assert raised.value.code == "aborted"


async def test_event_that_is_set_already_sends_nothing(open_client, http_platform):
    cancel = asyncio.Event()
    cancel.set()

    with pytest.raises(RunwareError):
        await open_client().run(PARAMS, RunOptions(cancel_event=cancel))
    assert http_platform.requests == []


async def test_sync_delivery_needs_no_poll(open_client, http_platform, script):
    script({"data": [{"imageUUID": "a", "imageURL": "u"}]})

    results = await open_client().run({**PARAMS, "deliveryMethod": "sync"})

    assert results[0]["imageURL"] == "u"
    assert len(http_platform.requests) == 1


async def test_sync_results_on_a_socket_are_heard_one_by_one(
    open_client, socket_platform, send_frame, ack_of
):
    heard = []

    async def push(connection, frame):
        await send_frame(connection, data=[{**ack_of(frame[0]), "text": "one"}])
        await send_frame(connection, data=[{**ack_of(frame[0]), "text": "two"}])

    socket_platform.script = push
    params = {"model": "google:gemma@4-31b", "messages": [], "numberResults": 2, "deliveryMethod": "sync"}
    results = await open_client(transport="websocket").run(params, RunOptions(on_result=heard.append))

    assert [result["text"] for result in results] == ["one", "two"]
    assert heard == results


async def test_run_is_held_while_the_line_is_down_and_survives_a_drop(
    open_client, socket_platform, send_frame, ack_of
):
    frames = []

    async def drop_the_first(connection, frame):
        frames.append(frame)
        if len(frames) == 1:
            connection.transport.abort()
        elif frame[0]["taskType"] == "imageInference":
            await send_frame(
                connection,
                errors=[{"code": "conflictTaskUUID", "message": "m", "taskUUID": frame[0]["taskUUID"]}],
            )
        else:
            await send_frame(connection, data=[{"taskUUID": frame[0]["taskUUID"], **success(1)}])

    socket_platform.script = drop_the_first
    results = await open_client(transport="websocket").run(PARAMS)

    assert len(results) == 1
    assert len({frame[0]["taskUUID"] for frame in frames}) == 1


async def test_sync_run_that_may_have_arrived_is_not_sent_again(open_client, http_platform, script):
    script({"hang_up": True})

    with pytest.raises(RunwareError) as raised:
        await open_client().run({**PARAMS, "deliveryMethod": "sync"})
    assert not raised.value.retryable
    assert len(http_platform.requests) == 1


async def test_missing_schema_checks_nothing(open_client, http_platform, answer_with, script):
    from runware_jobs.client import clear_validator_cache

    clear_validator_cache()
    script({"data": [success(1)]})

    assert len(await open_client(validate=True, schemas_base_url="http://127.0.0.1:9").run(PARAMS)) == 1
