"""The socket, through a real client against a real server."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
import websockets

from tests.emulator.sample_tasks import image


@asynccontextmanager
async def connected(live, session=None, key="acme.one"):
    url = live.address.replace("http", "ws") + "/v1"
    async with websockets.connect(url) as socket:
        login = {"taskType": "authentication", "apiKey": key}
        if session:
            login["connectionSessionUUID"] = session
        socket.session = (await ask(socket, login))["data"][0]["connectionSessionUUID"]
        yield socket


async def ask(socket, *tasks):
    await socket.send(json.dumps(list(tasks)))
    return json.loads(await socket.recv())


def configure(live, **values):
    assert httpx.post(f"{live.address}/_emulator/config", json=values).status_code == 200


def fault(live, rule):
    assert httpx.post(f"{live.address}/_emulator/faults", json=[rule]).status_code == 201


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
