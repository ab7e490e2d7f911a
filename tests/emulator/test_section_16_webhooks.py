"""PROTOCOL section 16, line 5: callbacks. One test per clause; time stands still between the tries."""

from __future__ import annotations

import pytest

from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image


async def settled(still):
    """Every callback that is being made has been made."""
    await still.webhooks.attempted()


async def test_line_5_one_call_per_item(still):
    async with hook() as receiver:
        task = image(numberResults=3, webhookURL=receiver.url)
        await still.send(task)
        still.pass_time(2)
        bodies = [await receiver.next_body() for _ in range(3)]
        await settled(still)
        polled = (await still.poll(task["taskUUID"]))["data"]

    assert len(receiver.bodies) == 3
    assert {body["imageUUID"] for body in bodies} == {item["imageUUID"] for item in polled}


async def test_line_5_items_are_called_as_they_finish(still):
    async with hook() as receiver:
        await still.send(image(numberResults=2, webhookURL=receiver.url))
        still.pass_time(1.9)
        await settled(still)
        between = len(receiver.bodies)
        still.pass_time(0.1)
        await settled(still)

    assert (between, len(receiver.bodies)) == (1, 2)


@pytest.mark.parametrize("shape", ["flat", "wrapped"])
async def test_line_5_flat_or_wrapped(still, shape):
    await still.configure(switches={"webhook_body": shape})
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        await still.send(task)
        still.pass_time(2)
        body = await receiver.next_body()

    item = body["data"][0] if shape == "wrapped" else body
    assert set(body) == {"data"} if shape == "wrapped" else "data" not in body
    assert (item["taskUUID"], item["status"]) == (task["taskUUID"], "success")


async def test_line_5_duplicate_deliveries(still):
    await still.fault({"action": {"kind": "webhook_duplicate", "times": 3}})
    async with hook() as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await settled(still)

    assert len(receiver.bodies) == 3
    assert receiver.bodies[0] == receiver.bodies[1] == receiver.bodies[2]


async def test_line_5_retries_double_from_250_ms_to_8_s_with_jitter(still):
    pauses = [0.25, 0.5, 1, 2, 4, 8, 8]
    async with hook(*[500] * len(pauses)) as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await settled(still)
        seen = [len(receiver.bodies)]
        for pause in pauses:
            still.pass_time(pause - 0.001)
            await settled(still)
            too_early = len(receiver.bodies)
            still.pass_time(0.25 * pause + 0.002)
            await settled(still)
            seen += [too_early, len(receiver.bodies)]
        still.pass_time(100)
        await settled(still)

    expected = [1] + [number for tries in range(1, len(pauses) + 1) for number in (tries, tries + 1)]
    assert seen == expected
    assert len(receiver.bodies) == len(pauses) + 1


async def test_line_5_a_receiver_that_keeps_silent_is_given_5_seconds_and_called_again(still):
    default = still.platform.switches.webhook_deadline_s
    await still.configure(switches={"webhook_deadline_s": 0.05})
    async with hook(None) as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await settled(still)
        still.pass_time(0.32)
        await settled(still)

    assert default == 5
    assert len(receiver.bodies) == 2


async def test_line_5_a_callback_before_the_submit_response(still):
    await still.fault({"action": "webhook_first"})
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        response = await still.send(task)
        called_before = list(receiver.bodies)

    assert response.json()["data"] == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    assert [body["taskUUID"] for body in called_before] == [task["taskUUID"]]


async def test_line_5_callbacks_out_of_order(still):
    await still.fault({"count": 1, "action": {"kind": "webhook_hold", "seconds": 3600}})
    async with hook() as receiver:
        task = image(numberResults=2, webhookURL=receiver.url)
        await still.send(task)
        still.pass_time(1.9)
        await settled(still)
        held = len(receiver.bodies)
        still.pass_time(0.1)
        bodies = [await receiver.next_body(), await receiver.next_body()]
        polled = (await still.poll(task["taskUUID"]))["data"]

    assert held == 0
    assert [body["imageUUID"] for body in bodies] == [item["imageUUID"] for item in reversed(polled)]
