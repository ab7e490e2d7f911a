"""PROTOCOL 3, and what 5 to 7 and 13 add to it: submits, polls and when a task is done."""

from __future__ import annotations

import uuid

import pytest

from runware_jobs.client import LogEntry, RunOptions, RunwareError

pytestmark = pytest.mark.usefixtures("fast_pace")
PARAMS = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 512, "height": 512}
ACK = {"data": [{}]}


def image(number, **fields):
    return {"status": "success", "imageUUID": f"image-{number}", "imageURL": "https://im.example/x", **fields}


async def test_webhook_makes_the_answer_of_a_sync_task_an_acknowledgement(platform):
    """3.1: the result of a sync task with `webhookURL` has to be asked for."""
    platform.answers(ACK, {"data": [image(1)]})
    params = {**PARAMS, "deliveryMethod": "sync", "webhookURL": "https://app.example/hook"}

    results = await platform.client().run(params)

    assert [result["imageUUID"] for result in results] == ["image-1"]
    assert [task["taskType"] for task in platform.sent] == ["imageInference", "getResponse"]


async def test_one_acknowledgement_stands_for_any_number_of_results(platform):
    """3.2: never count the ACK."""
    platform.answers(ACK, {"data": [image(1), image(2)]}, {"data": [image(1), image(2), image(3)]})

    assert len(await platform.client().run({**PARAMS, "numberResults": 3})) == 3


async def test_first_answer_that_holds_the_results_needs_no_poll(platform):
    """3.2."""
    platform.answers({"data": [image(1)]})

    assert len(await platform.client().run(PARAMS)) == 1
    assert [task["taskType"] for task in platform.sent] == ["imageInference"]


async def test_empty_first_answer_is_an_acknowledgement(platform):
    """3.2: `data: []`; what was meant is asked once more, under the task's own UUID."""
    platform.answers(lambda task: {"data": [image(1)]} if task["taskType"] == "getResponse" else {"data": []})

    assert len(await platform.client().run(PARAMS)) == 1
    assert len({task["taskUUID"] for task in platform.sent}) == 1


async def test_question_carries_nothing_but_the_task(platform):
    """3.3."""
    platform.answers(ACK, {"data": [image(1)]})
    await platform.client().run({**PARAMS, "includeCost": True})

    submit, question = platform.sent
    assert question == {"taskType": "getResponse", "taskUUID": submit["taskUUID"]}


@pytest.mark.parametrize(
    "status", ["processing", "pending", "queued", "scheduled", "waiting", "neverHeardOf"]
)
async def test_status_that_is_not_final_is_waited_for(platform, status):
    """3.3, 15: also one that nobody knows."""
    platform.answers(
        ACK, {"data": [{"status": status, "imageURL": "https://im.example/early"}]}, {"data": [image(1)]}
    )

    assert [result["imageUUID"] for result in await platform.client().run(PARAMS)] == ["image-1"]


@pytest.mark.parametrize(
    "item", [{"imageUUID": "early"}, {"imageUUID": "early", "status": "processing", "progress": 5}]
)
async def test_uuid_without_an_output_is_not_final(platform, item):
    """3.3: items under way may carry their media UUID."""
    platform.answers(ACK, {"data": [item]}, {"data": [image(1)]})

    assert [result["imageUUID"] for result in await platform.client().run(PARAMS)] == ["image-1"]


PAYLOADS = {
    "imageURL": "https://x.example/1",
    "videoURL": "https://x.example/1",
    "mediaURL": "https://x.example/1",
    "imageBase64Data": "AAAA",
    "audioDataURI": "data:audio/mp3;base64,AA",
    "text": "hello",
    "structuredData": {"label": "cat"},
    "outputs": {"files": [{"uuid": "u", "url": "https://x.example/1"}]},
    "air": "runware:my@1",
    "result": {},
}


@pytest.mark.parametrize("name", PAYLOADS)
async def test_payload_without_a_status_is_final(platform, name):
    """3.3, 6.1, 7, 15.4: a sync answer has no status."""
    platform.answers({"data": [{name: PAYLOADS[name]}]})
    params = {**PARAMS, "taskType": "tools", "deliveryMethod": "sync"}

    assert (await platform.client().run(params))[0][name] == PAYLOADS[name]


async def test_result_that_reappears_in_each_poll_is_heard_once(platform):
    """3.3: polls are cumulative."""
    heard = []
    platform.answers(ACK, {"data": [image(1)]}, {"data": [image(1)]}, {"data": [image(1), image(2)]})
    options = RunOptions(on_result=lambda item: heard.append(item["imageUUID"]))
    await platform.client().run({**PARAMS, "numberResults": 2}, options)

    assert heard == ["image-1", "image-2"]


@pytest.mark.parametrize("delivery", ["async", "sync"])
async def test_several_texts_of_one_task_are_several_results(platform, delivery):
    """3.3: without a media UUID they collapsed onto the task's own in SDK 1.8.0, and never completed."""
    texts = [{"text": "one", "status": "success"}, {"text": "two", "status": "success"}]
    platform.answers({"data": [{}] if delivery == "async" else texts}, {"data": texts})
    params = {"model": "google:gemma@4-31b", "messages": [], "numberResults": 2, "deliveryMethod": delivery}

    assert [result["text"] for result in await platform.client().run(params)] == ["one", "two"]


async def test_each_version_of_a_prompt_is_a_result(platform):
    """6.1: one item per `promptVersions`, all under the task's UUID."""
    platform.answers(ACK, {"data": [{"text": text, "status": "success"} for text in "abc"]})
    params = {"taskType": "promptEnhance", "prompt": "x", "promptVersions": 3}

    assert [result["text"] for result in await platform.client().run(params)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "form", [{"data": []}, {"errors": [{"code": "taskNotFound"}]}], ids=["empty", "error"]
)
async def test_fresh_task_that_is_not_known_yet_is_asked_for_again(
    platform, http_platform, answer_with, form
):
    """3.5: either form of "unknown" may only mean "not yet"."""
    answers = [ACK, form, {"data": [image(1)]}]
    platform.answers(*answers)
    if platform.transport == "websocket":  # what a socket leaves open is asked over HTTP
        http_platform.script = lambda _: answer_with({"data": []})

    assert len(await platform.client().run(PARAMS)) == 1


@pytest.mark.parametrize(
    "first", ["internalServerError", "serviceUnavailable", "requestTimeout"], ids=lambda code: code
)
async def test_conflict_after_a_resend_means_that_the_task_is_there(platform, first):
    """3.5: on REST SDK 1.8.0 raised it although the task was running."""
    platform.answers(
        {"errors": [{"code": first}]},
        {"errors": [{"code": "conflictTaskUUID"}], "status": 400},
        {"data": [image(1)]},
    )

    assert len(await platform.client().run(PARAMS)) == 1
    assert [task["taskType"] for task in platform.sent] == ["imageInference", "imageInference", "getResponse"]
    assert len({task["taskUUID"] for task in platform.sent}) == 1


async def test_conflict_of_the_first_try_is_raised(platform):
    """3.5: then it is somebody else's task."""
    platform.answers({"errors": [{"code": "conflictTaskUUID"}], "status": 400})

    with pytest.raises(RunwareError) as raised:
        await platform.client().run({**PARAMS, "taskUUID": str(uuid.uuid4())})
    assert raised.value.code == "validation"


async def test_task_uuid_is_a_version_4(platform):
    """3.5."""
    platform.answers({"data": [image(1)]})
    await platform.client().run(PARAMS)

    assert uuid.UUID(platform.sent[0]["taskUUID"]).version == 4


async def test_unclear_submit_is_not_sent_again_at_once(open_client, http_platform, answer_with, monkeypatch):
    """3.5: a very fresh resend may race the platform's own knowledge of the first."""
    monkeypatch.setattr("runware_jobs.client.running.runs.RESEND_AGE_S", 0.05)
    heard: list[LogEntry] = []
    answers = [answer_with(hang_up=True)]
    http_platform.script = lambda tasks: (
        answers.pop()
        if answers
        else answer_with(
            {"data": [{"taskType": "imageInference", "taskUUID": tasks[0]["taskUUID"], **image(1)}]}
        )
    )
    await open_client(retry_delay=0, debug=True, log_sink=heard.append).run(PARAMS)

    assert [entry.data["pause_ms"] for entry in heard if entry.message == "request_again"] == [50]


async def test_number_of_results_that_is_no_number_counts_as_one(platform):
    """11: the platform judges it; the client only has to know when to stop."""
    platform.answers({"data": [image(1)]})

    assert len(await platform.client().run({**PARAMS, "numberResults": "many"})) == 1


async def test_timed_out_try_and_its_repetition_are_exactly_two_sends(
    open_client, http_platform, answer_with
):
    """13.3, async-retry: a missing return once made a third."""
    answers = [answer_with(b"", status=504)]
    http_platform.script = lambda tasks: (
        answers.pop()
        if answers
        else answer_with(
            {"data": [{"taskType": "imageInference", "taskUUID": tasks[0]["taskUUID"], **image(1)}]}
        )
    )
    await open_client().run(PARAMS)

    assert len(http_platform.requests) == 2


async def test_refusal_is_not_sent_again(platform):
    """13.3, async-retry: an error of the API is no reason to try again."""
    platform.answers({"errors": [{"code": "invalidModel"}], "status": 400})

    with pytest.raises(RunwareError):
        await platform.client().run(PARAMS)
    assert len(platform.sent) == 1
