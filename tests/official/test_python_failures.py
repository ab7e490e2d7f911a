"""runware-sdk when something goes wrong: refusals, failed items, full queues, broken connections, impatience."""

from __future__ import annotations

import asyncio

import pytest
from runware import RunOptions, RunwareError

from tests.official.python_sdk import official_client
from tests.support.polling import poll_until_async

pytestmark = pytest.mark.slow

LIGHTHOUSE = {"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 256, "height": 256}
MODERATED = {"kind": "item_error", "code": "contentPolicyViolation", "message": "Not this.", "items": [1]}


async def failure_of(call):
    with pytest.raises(RunwareError) as caught:
        await call
    return caught.value


async def test_a_wrong_parameter_is_named(client):
    error = await failure_of(client.run({**LIGHTHOUSE, "width": 5}))

    assert error.code == "validation"
    assert error.parameter == "width"
    assert error.task_type == "imageInference"
    assert not error.retryable


async def test_an_unknown_model_is_refused(client):
    error = await failure_of(
        client.run({**LIGHTHOUSE, "model": "no such model", "taskType": "imageInference"})
    )

    assert error.code == "validation"
    assert error.parameter == "model"


async def test_a_rejected_key_is_refused_over_rest(official_emulator):
    async with official_client(official_emulator, "rest", api_key="bad-key") as client:
        error = await failure_of(client.run(LIGHTHOUSE))

    assert error.code == "auth"
    assert error.status_code == 401


async def test_a_rejected_key_is_refused_by_the_socket(official_emulator):
    client = official_client(official_emulator, "websocket", api_key="bad-key")

    error = await failure_of(client.connect())
    await client.close()

    assert error.code == "auth"


async def test_an_empty_balance_is_refused(client, emulator):
    emulator.configure(balance_usd=0)

    error = await failure_of(client.run(LIGHTHOUSE))

    assert error.code == "quota"
    assert not error.retryable


async def test_one_moderated_image_of_three_fails_the_call_after_the_others_were_shown(client, emulator):
    emulator.inject({"on": "submit", "action": MODERATED})
    seen = []

    error = await failure_of(
        client.run({**LIGHTHOUSE, "numberResults": 3}, RunOptions(on_result=seen.append))
    )

    assert error.code == "safety"
    assert [item["status"] for item in seen] == ["success", "error", "success"]


async def test_a_failed_task_may_be_tried_again(client, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "item_error", "code": "providerError"}})

    error = await failure_of(client.run(LIGHTHOUSE))
    [item] = await client.run(LIGHTHOUSE)

    assert error.code == "provider"
    assert error.retryable
    assert item["imageURL"]


async def test_a_full_queue_is_waited_out(rest, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "status", "status": 429}})

    [item] = await rest.run(LIGHTHOUSE)

    assert item["imageURL"]
    assert emulator.ledger()["totals"]["accepted"] == 1


async def test_a_gateway_that_answers_in_html_is_asked_again(rest, emulator):
    emulator.inject({"on": "poll", "count": 1, "action": {"kind": "status", "status": 502}})

    [item] = await rest.run(LIGHTHOUSE)

    assert item["imageURL"]


async def test_a_connection_that_breaks_before_the_task_arrives_is_made_anew(rest, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": "reset"})

    [item] = await rest.run(LIGHTHOUSE)

    assert item["imageURL"]


async def test_a_full_queue_is_told_over_the_socket(websocket, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "status", "status": 429}})

    error = await failure_of(websocket.run(LIGHTHOUSE))
    [item] = await websocket.run(LIGHTHOUSE)

    assert error.code == "rateLimit"
    assert error.retryable
    assert item["imageURL"]


@pytest.mark.parametrize("code", [None, 1000, 1011])
async def test_a_call_survives_its_socket(websocket, emulator, code):
    emulator.inject({"on": "poll", "count": 1, "action": {"kind": "drop_socket", "code": code}})

    [item] = await websocket.run(LIGHTHOUSE)
    [next_item] = await websocket.run(LIGHTHOUSE)

    assert item["imageURL"]
    assert next_item["imageURL"]
    assert emulator.ledger()["totals"]["accepted"] == 2


async def test_a_task_whose_acknowledgement_was_lost_with_the_socket_runs_once(websocket, emulator):
    emulator.inject({"on": "submit", "count": 1, "action": {"kind": "lose_answer", "how": "reset"}})

    [item] = await websocket.run(LIGHTHOUSE)

    assert item["imageURL"]
    assert emulator.ledger()["totals"]["accepted"] == 1
    assert emulator.ledger()["totals"]["duplicates"] == 1


async def test_a_key_that_is_withdrawn_ends_what_waits_on_the_socket(websocket, emulator):
    emulator.inject(
        {"on": "submit", "count": 1, "action": "stuck"},
        {"on": "poll", "count": 1, "action": "drop_socket"},
        {"on": "auth", "action": "reject_key"},
    )

    error = await failure_of(websocket.run(LIGHTHOUSE))

    assert error.code == "auth"
    assert not websocket.is_connected


async def test_a_stray_frame_before_the_login_is_answered_is_skipped(official_emulator):
    official_emulator.inject({"on": "auth", "action": "stray_frame"})

    async with official_client(official_emulator, "websocket") as client:
        [item] = await client.run(LIGHTHOUSE)

    assert item["imageURL"]


async def test_a_call_is_cancelled_and_its_task_runs_on(client, emulator):
    emulator.configure(latencies={"image": 200})
    cancel = asyncio.Event()
    call = asyncio.create_task(client.run(LIGHTHOUSE, RunOptions(cancel_event=cancel)))
    await poll_until_async(lambda: accepted(emulator), what="task accepted")

    cancel.set()
    error = await failure_of(call)
    emulator.configure(latencies={"image": 1})

    assert error.code == "aborted"
    await poll_until_async(lambda: billed(emulator), what="the cancelled task billed")


async def test_patience_ends(client, emulator):
    emulator.inject({"on": "submit", "action": "stuck"})

    error = await failure_of(client.run(LIGHTHOUSE, RunOptions(timeout=1500)))

    assert error.code == "timeout"
    assert error.retryable


async def test_what_is_under_way_ends_with_the_client(official_emulator):
    official_emulator.inject({"on": "submit", "action": "stuck"})
    client = official_client(official_emulator, "websocket")
    await client.connect()
    call = asyncio.create_task(client.run(LIGHTHOUSE))
    await poll_until_async(lambda: accepted(official_emulator), what="task accepted")

    await client.close()
    error = await failure_of(call)

    assert error.code == "connection"


async def accepted(emulator):
    return emulator.ledger()["totals"]["accepted"]


async def billed(emulator):
    return emulator.ledger()["totals"]["billed_usd"]
