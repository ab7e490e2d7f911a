"""Where runware-sdk 1.8.0 does not end well, and the platform is not to blame: see the table in README.md."""

from __future__ import annotations

import asyncio

import pytest
from runware import RunOptions, RunwareError

from tests.official.python_sdk import noise, official_client
from tests.support.polling import poll_until_async

pytestmark = pytest.mark.slow

LIGHTHOUSE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 256, "height": 256}
QUESTION = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "Explain gravity"}]}
ENHANCE = {"model": "runware:llama-3-1-8b@prompt-enhancer", "prompt": "a lighthouse", "promptVersions": 3}
LORA = {
    "category": "lora",
    "architecture": "sdxl",
    "format": "safetensors",
    "name": "Ink",
    "version": "1",
    "downloadURL": "https://studio.example/ink.safetensors",
}
ONE_FAILS = {"kind": "item_error", "code": "providerError", "items": [1]}


async def failure_of(call):
    with pytest.raises(RunwareError) as caught:
        await call
    return caught.value


async def test_two_texts_of_one_task_are_never_both_there(client, emulator):
    error = await failure_of(client.run({**QUESTION, "numberResults": 2}, RunOptions(timeout=2500)))

    [task] = emulator.ledger()["tasks"].values()
    assert error.code == "timeout"
    assert (task["state"], task["items"]) == ("success", 2)


async def test_two_texts_are_there_once_items_are_numbered(client, emulator):
    emulator.configure(switches={"result_index": True})

    items = await client.run({**QUESTION, "numberResults": 2})

    assert [item["resultIndex"] for item in items] == [0, 1]


async def test_three_versions_of_a_prompt_become_one(client, emulator):
    items = await client.run(ENHANCE)

    [task] = emulator.ledger()["tasks"].values()
    assert len(items) == 1
    assert task["items"] == 3


async def test_a_model_upload_returns_after_its_first_phase(websocket):
    [phase] = await websocket.model_upload(LORA)

    assert phase["status"] == "validated"


async def test_a_model_upload_returns_its_acknowledgement_over_rest(rest):
    [answer] = await rest.model_upload(LORA)

    assert set(answer) == {"taskType", "taskUUID"}


async def test_successes_beside_an_entry_of_errors_are_dropped(client, emulator):
    emulator.configure(switches={"failure_form": "A"})
    emulator.inject({"on": "submit", "action": ONE_FAILS})
    seen = []

    error = await failure_of(
        client.run({**LIGHTHOUSE, "numberResults": 3}, RunOptions(on_result=seen.append))
    )

    [task] = emulator.ledger()["tasks"].values()
    assert error.code == "provider"
    assert task["items"] == 2
    assert seen == []


async def test_an_empty_list_of_errors_is_an_error(rest, emulator):
    emulator.configure(switches={"empty_errors": True})

    error = await failure_of(rest.run(LIGHTHOUSE))

    assert error.code == "unknown"


async def test_a_submit_that_is_resent_over_rest_fails_although_its_task_runs(rest, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "lose_answer", "how": "status"}})

    error = await failure_of(rest.run(LIGHTHOUSE))

    [task] = emulator.ledger()["tasks"].values()
    assert error.code == "validation"
    assert not error.retryable
    assert (task["accepted"], task["duplicates"]) == (1, 1)


async def test_a_sync_call_does_not_survive_its_socket(websocket, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": "drop_socket"})

    error = await failure_of(websocket.run({**LIGHTHOUSE, "deliveryMethod": "sync"}))

    [task] = emulator.ledger()["tasks"].values()
    assert error.code == "connection"
    assert error.retryable
    assert task["accepted"] == 1


async def test_an_error_of_nobody_ends_every_call_of_the_socket(websocket, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": "stuck"})
    first = asyncio.create_task(websocket.run(LIGHTHOUSE))
    await poll_until_async(lambda: accepted(emulator), what="task accepted")
    emulator.inject(
        {"on": "submit", "count": 1, "action": {"kind": "status", "status": 503, "body": "request"}}
    )

    errors = [await failure_of(websocket.run(LIGHTHOUSE)), await failure_of(first)]

    assert [error.code for error in errors] == ["serverError"] * 2


async def test_a_frame_of_more_than_a_mebibyte_ends_the_call(websocket, emulator):
    enlarge = {"model": "runware:504@1", "inputs": {"image": noise(512, 512)}, "upscaleFactor": 2}

    error = await failure_of(
        websocket.run(
            {**enlarge, "outputFormat": "PNG", "outputType": "base64Data", "deliveryMethod": "sync"}
        )
    )

    [task] = emulator.ledger()["tasks"].values()
    assert error.code == "connection"
    assert error.retryable
    assert task["state"] == "success"


async def test_a_provider_that_timed_out_is_not_known_as_a_timeout(client, emulator):
    emulator.inject({"on": "submit", "action": {"kind": "item_error", "code": "timeoutProvider"}})

    error = await failure_of(client.run(LIGHTHOUSE))

    assert error.code == "unknown"
    assert not error.retryable


async def test_a_status_without_a_body_is_unknown(official_emulator):
    official_emulator.inject({"on": "submit", "action": {"kind": "status", "status": 503, "body": "empty"}})

    async with official_client(official_emulator, "rest", max_retries=0) as client:
        error = await failure_of(client.run(LIGHTHOUSE))

    assert error.code == "unknown"
    assert not error.retryable


async def test_retry_after_is_not_read(rest, emulator):
    emulator.inject(
        {"on": "submit", "count": 1, "action": {"kind": "status", "status": 429, "retry_after": 3600}}
    )

    [item] = await rest.run(LIGHTHOUSE)

    assert item["imageURL"]


async def test_several_streams_of_one_task_are_refused_by_the_sdk(rest, emulator):
    error = await failure_of(rest.stream({**QUESTION, "numberResults": 2}))

    assert error.code == "unknown"
    assert emulator.ledger()["requests"]["total"] == 0


async def test_a_stream_that_breaks_off_counts_as_whole(rest, emulator):
    emulator.inject({"on": "submit", "action": {"kind": "truncate", "part": 0.5}})

    result = await (await rest.stream(QUESTION)).result()

    assert result.text
    assert result.finish_reason is None


async def accepted(emulator):
    return emulator.ledger()["totals"]["accepted"]
