"""The socket, through a real client against a real server."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
import websockets

from tests.emulator.sample_tasks import image
from tests.emulator.sockets import ask, configure, connected, fault


async def test_sync_results_are_pushed_one_frame_per_item(live):
    task = image(numberResults=3, deliveryMethod="sync")
    async with connected(live) as socket:
        await socket.send(json.dumps([task]))
        frames = [json.loads(await socket.recv()) for _ in range(3)]

    assert [[task["taskUUID"]]] * 3 == [[item["taskUUID"] for item in frame["data"]] for frame in frames]
    assert len({frame["data"][0]["imageUUID"] for frame in frames}) == 3


async def test_async_tasks_are_acknowledged_and_polled(live):
    task = image()
    configure(live, latencies={"image": 0})
    async with connected(live) as socket:
        ack = await ask(socket, task)
        polled = await ask(socket, {"taskType": "getResponse", "taskUUID": task["taskUUID"]})

    assert {"data": [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]} == ack
    assert polled["data"][0]["status"] == "success"


async def test_refusals_and_duplicates_arrive_as_errors_frames(live):
    task = image()
    async with connected(live) as socket:
        await ask(socket, task)
        duplicate = await ask(socket, task)
        refused = await ask(socket, image(width=7))

    assert set(duplicate) == {"errors"}
    assert duplicate["errors"][0]["code"] == "conflictTaskUUID"
    assert refused["errors"][0]["code"] == "invalidWidth"


async def test_ping_pong_and_rejected_keys(live):
    async with websockets.connect(live.address.replace("http", "ws") + "/v1") as socket:
        early = await ask(socket, image())
        bad = await ask(socket, {"taskType": "authentication", "apiKey": "bad-key"})
        pong = await ask(socket, {"taskType": "ping", "ping": True})

    assert early["errors"][0]["code"] == "missingApiKey"
    assert bad["errors"][0]["code"] == "invalidApiKey"
    assert pong == {"data": [{"taskType": "ping", "pong": True}]}


async def test_a_silent_socket_is_closed(live):
    configure(live, switches={"idle_close_s": 0.05})
    async with connected(live) as socket:
        with pytest.raises(websockets.ConnectionClosedOK):
            await socket.recv()


async def test_results_of_a_dropped_socket_are_replayed_to_its_session(live):
    task = image(deliveryMethod="sync")
    configure(live, latencies={"image": 50})
    fault(live, {"on": "submit", "action": "drop_socket", "count": 1})
    async with connected(live) as socket:
        session = socket.session
        await socket.send(json.dumps([task]))
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()

    async with connected(live, session=session) as again:
        frame = json.loads(await again.recv())

    assert again.session == session
    assert frame["data"][0]["taskUUID"] == task["taskUUID"]


async def test_a_foreign_session_is_a_new_one(live):
    async with connected(live) as mine, connected(live, session=mine.session, key="else.one") as other:
        assert other.session != mine.session


async def test_a_closing_fault_says_goodbye_with_its_code(live):
    fault(live, {"on": "submit", "action": {"kind": "drop_socket", "code": 1001}, "count": 1})
    async with connected(live) as socket:
        ack = await ask(socket, image())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert len(ack["data"]) == 1
    assert closed.value.rcvd.code == 1001


async def test_busy_platform_answers_each_task_on_the_socket(live):
    first, second = image(), image()
    fault(live, {"on": "submit", "action": {"kind": "status", "status": 503}})
    async with connected(live) as socket:
        frame = await ask(socket, first, second)

    expected = [(first["taskUUID"], "serviceUnavailable"), (second["taskUUID"], "serviceUnavailable")]
    assert expected == [(error["taskUUID"], error["code"]) for error in frame["errors"]]


async def test_model_upload_pushes_each_phase(live):
    task = {"taskType": "modelUpload", "taskUUID": str(uuid4()), "category": "lora", "architecture": "flux1d"}
    task |= {"format": "safetensors", "name": "Ink", "version": "1", "downloadURL": "https://files.example/a"}
    async with connected(live) as socket:
        await socket.send(json.dumps([task]))
        frames = [json.loads(await socket.recv()) for _ in range(5)]

    phases = ["validated", "downloaded", "optimized", "stored", "ready"]
    assert phases == [frame["data"][0]["status"] for frame in frames]


async def test_a_sync_task_beyond_the_window_times_out_and_can_be_polled(live):
    configure(live, switches={"sync_window_s": 0.05}, latencies={"image": 36_000_000})
    task = image(deliveryMethod="sync")
    async with connected(live) as socket:
        timeout = await ask(socket, task)
        polled = await ask(socket, {"taskType": "getResponse", "taskUUID": task["taskUUID"]})

    assert (timeout["errors"][0]["code"], timeout["errors"][0]["taskUUID"]) == ("timeout", task["taskUUID"])
    assert polled["data"][0]["status"] == "processing"


async def test_a_frame_may_be_reshaped_and_lack_its_scope(live):
    fault(live, {"action": {"kind": "error_shape", "shape": "single", "scoped": False}})
    async with connected(live) as socket:
        frame = await ask(socket, image(width=7))

    assert frame["error"]["code"] == "invalidWidth"
    assert "taskUUID" not in frame["error"]


async def test_a_socket_drops_while_a_task_runs(live):
    fault(live, {"on": "submit", "action": {"kind": "drop_socket", "code": 1001, "after_s": 0.05}})
    configure(live, latencies={"image": 36_000_000})
    async with connected(live) as socket:
        acknowledged = await ask(socket, image())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert acknowledged["data"]
    assert closed.value.rcvd.code == 1001


async def test_a_key_may_be_rejected_while_it_worked_before(live):
    fault(live, {"transport": "websocket", "action": "reject_key"})
    async with websockets.connect(live.address.replace("http", "ws") + "/v1") as socket:
        refused = await ask(socket, {"taskType": "authentication", "apiKey": "acme.one"})

    assert refused["errors"][0] | {"message": ""} == {
        "code": "invalidApiKey",
        "message": "",
        "parameter": "apiKey",
        "taskType": "authentication",
        "documentation": refused["errors"][0]["documentation"],
    }
