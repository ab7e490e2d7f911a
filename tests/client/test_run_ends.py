"""How run() ends: what the error carries, what the callbacks have heard before it, what goes on."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import RunOptions, RunwareError

IMAGE = {"taskType": "imageInference", "model": "runware:400@1", "positivePrompt": "a lighthouse"}

pytestmark = pytest.mark.usefixtures("fast_pace")


def success(number):
    return {
        "status": "success",
        "imageUUID": f"image-{number}",
        "imageURL": f"https://x.example/{number}",
    }


FAILED = {"status": "error", "error": {"code": "providerError", "message": "p"}}
PROCESSING = {"status": "processing"}


@pytest.mark.parametrize("raw_code", ["invalidWidth", "invalidApiKey", "insufficientCredits", "rateLimit"])
async def test_failure_of_the_request_raises_at_submit_without_on_result(platform, raw_code):
    heard = []
    platform.answers({"errors": [{"code": raw_code}], "status": 400})

    with pytest.raises(RunwareError):
        await platform.client(max_retries=0).run(IMAGE, RunOptions(on_result=heard.append))
    assert heard == []


@pytest.mark.parametrize("delivery", ["sync", "async"])
@pytest.mark.parametrize("raw_code", ["contentPolicyViolation", "providerError"])
async def test_failure_of_a_result_is_heard_before_it_is_raised_also_as_first_answer(
    platform, delivery, raw_code
):
    heard = []
    platform.answers({"errors": [{"code": raw_code}]})

    with pytest.raises(RunwareError):
        await platform.client().run({**IMAGE, "deliveryMethod": delivery}, RunOptions(on_result=heard.append))
    assert [item["status"] for item in heard] == ["error"]


@pytest.mark.parametrize("delivery", ["sync", "async"])
async def test_data_and_errors_in_one_answer_lose_nothing(platform, delivery):
    heard = []
    error = {"code": "providerError", "status": "error"}
    platform.answers({"data": [success(1)], "errors": [error]})

    with pytest.raises(RunwareError) as raised:
        await platform.client().run(
            {**IMAGE, "numberResults": 2, "deliveryMethod": delivery}, RunOptions(on_result=heard.append)
        )
    assert [item["status"] for item in heard] == ["success", "error"]
    assert [item["imageUUID"] for item in raised.value.results] == ["image-1"]


async def test_error_after_partial_results_carries_them(platform):
    platform.answers({"data": [{}]}, {"data": [success(1), PROCESSING]}, {"data": [success(1), FAILED]})

    with pytest.raises(RunwareError) as raised:
        await platform.client().run({**IMAGE, "numberResults": 2})
    assert raised.value.code == "provider"
    assert [item["imageUUID"] for item in raised.value.results] == ["image-1"]


async def test_timeout_carries_the_finished_items_and_says_that_the_task_goes_on(platform):
    platform.answers({"data": [{}]}, {"data": [success(1), PROCESSING]})

    with pytest.raises(RunwareError, match="goes on") as raised:
        await platform.client().run({**IMAGE, "numberResults": 2}, RunOptions(timeout=200))
    assert raised.value.code == "timeout"
    assert [item["imageUUID"] for item in raised.value.results] == ["image-1"]


async def test_cancel_event_stops_only_the_waiting(platform):
    cancel = asyncio.Event()
    platform.answers({"data": [{}]}, {"data": [success(1), PROCESSING]})

    with pytest.raises(RunwareError, match="goes on and is billed") as raised:
        await platform.client().run(
            {**IMAGE, "numberResults": 2},
            RunOptions(cancel_event=cancel, on_result=lambda _: cancel.set()),
        )
    assert raised.value.code == "aborted"
    assert [item["imageUUID"] for item in raised.value.results] == ["image-1"]
    assert {task["taskType"] for task in platform.sent} == {"imageInference", "getResponse"}


async def test_closing_the_client_ends_the_waiting(platform):
    client = platform.client()
    polled = asyncio.Event()

    def poll(_task):
        polled.set()
        return {"data": [PROCESSING]}

    platform.answers({"data": [{}]}, poll)
    running = asyncio.ensure_future(client.run(IMAGE))
    await polled.wait()
    await client.close()

    with pytest.raises(RunwareError) as raised:
        await running
    assert raised.value.code == "connection"


async def test_coroutine_callback_has_heard_the_failure_before_the_call_raises(platform):
    heard = []

    async def slow(item):
        await asyncio.sleep(0)
        heard.append(item["status"])

    platform.answers({"data": [{}]}, {"data": [success(1), FAILED]})

    with pytest.raises(RunwareError):
        await platform.client().run({**IMAGE, "numberResults": 2}, RunOptions(on_result=slow))
    assert heard == ["success", "error"]


@pytest.mark.parametrize("name", ["on_result", "on_progress"])
@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_callback_that_raises_is_logged_and_changes_nothing(platform, name, is_coroutine):
    def broken(_item):
        raise ValueError("in the callback")

    async def broken_later(_item):
        raise ValueError("in the callback")

    entries = []
    platform.answers({"data": [{}]}, {"data": [{**PROCESSING, "progress": 10}]}, {"data": [success(1)]})
    client = platform.client(debug=True, log_sink=entries.append)
    results = await client.run(IMAGE, RunOptions(**{name: broken_later if is_coroutine else broken}))

    assert [item["imageUUID"] for item in results] == ["image-1"]
    assert [entry.category for entry in entries if entry.message == "callback_failed"] == ["error"]


async def test_progress_is_heard_when_its_value_changes_and_only_then(platform):
    heard = []
    shown = [10, 10, 60, 60]
    polls = [{"data": [{**PROCESSING, "progress": progress}]} for progress in shown]
    platform.answers({"data": [{}]}, *polls, {"data": [success(1)]})

    await platform.client().run(IMAGE, RunOptions(on_progress=lambda item: heard.append(item["progress"])))

    assert heard == [10, 60]


async def test_run_connects_by_itself(platform):
    platform.answers({"data": [success(1)]})
    client = platform.client()
    assert not client.is_connected

    assert len(await client.run(IMAGE)) == 1


async def test_run_of_a_client_that_nobody_answers_ends_with_the_reason(open_client):
    client = open_client(transport="websocket", ws_base_url="ws://127.0.0.1:9/v1", max_retries=1)

    with pytest.raises(RunwareError) as raised:
        await client.run(IMAGE)
    assert raised.value.code == "connection"


async def test_unknown_parameters_and_large_seeds_pass_unchanged(platform):
    params = {**IMAGE, "seed": 2**53 - 1, "notDocumented": {"deep": [1, None]}, "usePromptWeighting": True}
    platform.answers({"data": [success(1)]})

    await platform.client().run(params)

    assert platform.sent[0].items() >= params.items()


@pytest.mark.parametrize(
    "task_type",
    [
        "imageInference",
        "videoInference",
        "audioInference",
        "textInference",
        "3dInference",
        "upscale",
        "removeBackground",
        "caption",
        "controlNetPreprocess",
        "imageMasking",
        "promptEnhance",
        "vectorize",
        "tools",
        "imageUpscale",
        "upscaleImage",
        "imageBackgroundRemoval",
        "removeImageBackground",
        "imageCaption",
        "imageControlNetPreProcess",
        "photoMaker",
    ],
)
async def test_every_task_type_goes_out_as_it_is_named_and_async(platform, task_type):
    platform.answers({"data": [{"text": "t"}]})

    await platform.client().run({"taskType": task_type, "model": "some:model@1"})

    assert platform.sent[0]["taskType"] == task_type
    assert platform.sent[0]["deliveryMethod"] == "async"


async def test_training_has_no_delivery_method(platform):
    platform.answers({"data": [{"air": "a:b@1", "status": "success"}]})

    await platform.client().run({"taskType": "training", "model": "exactly:illustrative@training"})

    assert "deliveryMethod" not in platform.sent[0]


async def test_explicit_task_type_wins_and_unknown_identifiers_pass_unchanged(platform):
    platform.answers({"data": [success(1)]})

    await platform.client().run({"model": "runware:400@1", "taskType": "vectorize"})
    await platform.client().run({"model": "my-own-style", "taskType": "imageInference"})

    assert [(task["taskType"], task["model"]) for task in platform.sent] == [
        ("vectorize", "runware:400@1"),
        ("imageInference", "my-own-style"),
    ]


async def test_options_that_are_no_run_options_are_refused(platform):
    with pytest.raises(RunwareError, match="RunOptions"):
        await platform.client().run(IMAGE, {"timeout": 5})  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(RunwareError, match="timeout"):
        RunOptions(timeout="soon")  # type: ignore[arg-type]  # the mistake that is tested
    assert platform.sent == []


async def test_every_end_of_a_run_names_its_task(platform):
    """Who is told to ask for the task with get_response() has to know its UUID."""
    client, cancel = platform.client(), asyncio.Event()
    cancelled = RunOptions(cancel_event=cancel, on_progress=lambda _: cancel.set())
    platform.answers({"data": [{}]}, {"data": [{**PROCESSING, "progress": 1}]})
    with pytest.raises(RunwareError) as aborted:
        await client.run({**IMAGE, "taskUUID": "task-1"}, cancelled)

    platform.answers({"data": [{}]}, {"data": [{**PROCESSING, "progress": 1}]})
    closing = RunOptions(on_progress=lambda _: asyncio.ensure_future(client.close()))
    with pytest.raises(RunwareError) as closed:
        await client.run({**IMAGE, "taskUUID": "task-2"}, closing)

    assert [(e.value.code, e.value.task_uuid, e.value.task_type) for e in (aborted, closed)] == [
        ("aborted", "task-1", "imageInference"),
        ("connection", "task-2", "imageInference"),
    ]


async def test_poll_that_is_refused_once_does_not_end_the_run(platform):
    stray = {"errors": [{"code": "weird", "taskUUID": None, "taskType": None}]}
    platform.answers({"data": [{}]}, stray, {"data": [success(1)]})

    assert [item["imageUUID"] for item in await platform.client().run(IMAGE)] == ["image-1"]


async def test_poll_that_is_refused_again_and_again_ends_the_run(platform):
    stray = {"errors": [{"code": "weird", "taskUUID": None, "taskType": None}]}
    platform.answers({"data": [{}]}, stray)

    with pytest.raises(RunwareError) as raised:
        await platform.client(max_retries=2).run(IMAGE)
    assert raised.value.code == "unknown"
    assert [task["taskType"] for task in platform.sent] == ["imageInference", *["getResponse"] * 3]
