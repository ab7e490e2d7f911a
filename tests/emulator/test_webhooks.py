"""Callbacks that never come, come after their time, come first, or come after a restart."""

from __future__ import annotations

from runware_jobs.emulator import Config, create_app
from runware_jobs.emulator.messages import Caller
from runware_jobs.emulator.state import StateFile
from tests.emulator.conftest import SECONDS, StubClock
from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image
from tests.emulator.sockets import connected, fault, heard, tell


async def test_a_lost_callback_leaves_polling(still):
    await still.fault({"count": 1, "action": "webhook_lose"})
    async with hook() as receiver:
        lost, called = (image(webhookURL=receiver.url) for _ in range(2))
        await still.send(lost)
        still.pass_time(2)
        await still.send(called)
        still.pass_time(2)
        await still.webhooks.attempted()
        polled = (await still.poll(lost["taskUUID"]))["data"]

    assert [body["taskUUID"] for body in receiver.bodies] == [called["taskUUID"]]
    assert polled[0]["status"] == "success"


async def test_a_held_callback_goes_after_its_time_when_none_follows(still):
    await still.fault({"action": {"kind": "webhook_hold", "seconds": 10}})
    async with hook() as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await still.webhooks.attempted()
        before = len(receiver.bodies)
        still.pass_time(10)
        await still.webhooks.attempted()

    assert (before, len(receiver.bodies)) == (0, 1)


async def test_a_rule_on_webhooks_looks_at_the_task(still):
    await still.fault({"model": "runware:100@1", "action": "webhook_lose"})
    async with hook() as receiver:
        await still.send(*(image(webhookURL=receiver.url, model=f"runware:{one}@1") for one in (100, 400)))
        still.pass_time(2)
        await still.webhooks.attempted()

    assert len(receiver.bodies) == 1


async def test_a_sync_task_with_a_webhook_is_only_acknowledged(still):
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        del task["deliveryMethod"]
        answer = (await still.send(task)).json()

    assert answer == {"data": [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]}


async def test_a_callback_comes_before_the_answer_on_a_socket_too(live):
    fault(live, "webhook_first")
    async with hook() as receiver, connected(live) as socket:
        task = image(webhookURL=receiver.url)
        await tell(socket, task)
        acknowledged = await heard(socket)
        called_before = list(receiver.bodies)

    assert [body["taskUUID"] for body in called_before] == [task["taskUUID"]]
    assert "imageURL" not in acknowledged["data"][0]


async def test_a_receiver_that_does_not_exist_is_given_up(still):
    await still.configure(switches={"webhook_attempts": 2})
    task = image(webhookURL="http://127.0.0.1:9/nobody")
    await still.send(task)
    for _ in range(4):
        still.pass_time(10)
        await still.webhooks.attempted()

    assert (await still.poll(task["taskUUID"]))["data"][0]["status"] == "success"


async def test_a_task_that_ends_after_a_restart_calls_its_webhook(tmp_path):
    clock = StubClock()
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        before = create_app(Config(latencies=SECONDS), clock=clock).state.platform
        caller = Caller(before.accounts.of_key("acme.one"), "http://emulator.test")
        state_file = StateFile(tmp_path / "state.db")
        before.answer([task], caller)
        state_file.save(before)
        app = create_app(Config(latencies=SECONDS), clock=clock)
        state_file.load(app.state.platform)
        state_file.close()
        clock.time += 2
        app.state.platform.schedule.run_due()
        body = await receiver.next_body()
        await app.state.webhooks.aclose()

    assert body["taskUUID"] == task["taskUUID"]
