"""Both sides of what the sources leave open about WebSockets and webhooks."""

from __future__ import annotations

import pytest
import websockets

from tests.emulator.hooks import hook
from tests.emulator.sample_tasks import image
from tests.emulator.sockets import ask, configure, connected, heard, socket_url, tell


async def test_the_close_code_of_an_idle_socket(live):
    configure(live, switches={"idle_close_s": 0.05, "idle_close_code": 1008})
    async with connected(live) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 1008


async def test_an_unknown_session_may_be_an_error(live):
    configure(live, switches={"unknown_session": "error"})
    async with websockets.connect(socket_url(live)) as socket:
        login = {"taskType": "authentication", "apiKey": "acme.one", "connectionSessionUUID": "gone"}
        answer = await ask(socket, login)

    assert answer["errors"][0]["code"] == "invalidConnectionSessionUUID"


async def test_async_results_may_be_pushed(live):
    configure(live, switches={"async_push": True})
    task = image()
    async with connected(live) as socket:
        acknowledged = await ask(socket, task)
        result = await heard(socket)

    assert acknowledged["data"] == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    assert result["data"][0]["imageURL"]


async def test_a_key_may_have_too_many_sockets(live):
    configure(live, switches={"sockets_per_key": 1})
    login = {"taskType": "authentication", "apiKey": "acme.one"}
    async with connected(live), websockets.connect(socket_url(live)) as second:
        refused = await ask(second, login)
        other = await ask(second, {**login, "apiKey": "else.one"})

    assert refused["errors"][0]["code"] == "maxConnectionsExceeded"
    assert other["data"][0]["taskType"] == "authentication"


async def test_pushes_may_go_to_every_socket_of_a_key(live):
    configure(live, switches={"shared_pushes": True})
    task = image(deliveryMethod="sync")
    async with connected(live) as first, connected(live) as second:
        await tell(first, task)
        frames = [await heard(first), await heard(second)]

    assert frames[0] == frames[1]


# --- webhooks ---


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ("flat", lambda body: (body["taskUUID"], body["status"], body["code"])),
        ("errors", lambda body: (body["errors"][0]["taskUUID"], "error", body["errors"][0]["code"])),
        ("item", lambda body: (body["taskUUID"], body["status"], body["error"]["code"])),
    ],
)
async def test_forms_of_a_failed_callback(still, form, read):
    await still.configure(switches={"webhook_failure": form})
    await still.fault("provider_error")
    async with hook() as receiver:
        task = image(webhookURL=receiver.url)
        await still.send(task)
        still.pass_time(2)
        body = await receiver.next_body()

    assert read(body) == (task["taskUUID"], "error", "providerError")


@pytest.mark.parametrize(("follows", "calls"), [(True, 2), (False, 1)])
async def test_callbacks_follow_redirects_or_not(still, follows, calls):
    await still.configure(switches={"webhook_redirects": follows, "webhook_attempts": 1})
    async with hook(307, 204) as receiver:
        await still.send(image(webhookURL=receiver.url))
        still.pass_time(2)
        await still.webhooks.attempted()

    assert len(receiver.bodies) == calls


async def test_a_callback_is_tried_so_often(still):
    await still.configure(switches={"webhook_attempts": 2})
    async with hook(500, 500, 500) as receiver:
        await still.send(image(webhookURL=receiver.url))
        for _ in range(6):
            still.pass_time(10)
            await still.webhooks.attempted()

    assert len(receiver.bodies) == 2
