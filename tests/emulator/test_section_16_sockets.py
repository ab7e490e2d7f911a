"""PROTOCOL section 16, line 4: everything that happens to WebSockets. One test per clause."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import websockets

from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image
from tests.emulator.sockets import (
    ask,
    configure,
    connected,
    fault,
    heard,
    ledger_of,
    poll_of,
    socket_url,
    tell,
)

PING = {"taskType": "ping", "ping": True}
PONG = {"data": [{"taskType": "ping", "pong": True}]}


async def accepted(live, task):
    """Return once the platform has taken the task."""
    url = f"{live.address}/_emulator/ledger/{task['taskUUID']}"
    async with asyncio.timeout(20), httpx.AsyncClient() as http:
        while (await http.get(url)).json().get("accepted") != 1:
            await asyncio.sleep(0)


async def test_line_4_an_idle_socket_is_closed(live):
    configure(live, switches={"idle_close_s": 0.05})
    async with connected(live) as socket:
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 1000


async def test_line_4_an_idle_socket_is_given_120_seconds(live):
    switches = httpx.get(f"{live.address}/_emulator/config").json()["switches"]

    assert (switches["idle_close_s"], switches["replay_s"], switches["sync_window_s"]) == (120, 120, 120)


async def test_line_4_a_session_gets_what_a_dropped_socket_missed(live):
    task = image(deliveryMethod="sync", numberResults=2)
    configure(live, latencies={"image": 50})
    fault(live, {"on": "submit", "action": "drop_socket", "count": 1})
    async with connected(live) as socket:
        session = socket.session
        await tell(socket, task)
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()

    async with connected(live, session=session) as again:
        frames = [await heard(again), await heard(again)]

    assert again.session == session
    assert [frame["data"][0]["taskUUID"] for frame in frames] == [task["taskUUID"]] * 2


async def test_line_4_another_key_or_a_late_client_gets_a_new_session(live):
    async with connected(live) as mine:
        session = mine.session
    async with connected(live, session=session, key="else.one") as foreign:
        pass
    configure(live, switches={"replay_s": 0})
    async with connected(live, session=session) as late:
        pass

    assert len({session, foreign.session, late.session}) == 3


async def test_line_4_a_stray_frame_before_the_login_is_answered(live):
    fault(live, "stray_frame")
    async with websockets.connect(socket_url(live)) as socket:
        await tell(socket, {"taskType": "authentication", "apiKey": "acme.one"})
        stray, login = await heard(socket), await heard(socket)

    assert stray == PONG
    assert login["data"][0]["taskType"] == "authentication"


async def test_line_4_one_frame_mixes_the_items_of_several_tasks(live):
    fault(live, {"on": "submit", "action": "gather"})
    tasks = [image(deliveryMethod="sync", numberResults=2) for _ in range(3)]
    async with connected(live) as socket:
        frame = await ask(socket, *tasks)

    uuids = [item["taskUUID"] for item in frame["data"]]
    assert sorted(uuids) == sorted(task["taskUUID"] for task in tasks for _ in range(2))


async def test_line_4_several_results_of_a_task_come_in_several_frames(live):
    task = image(deliveryMethod="sync", numberResults=3)
    async with connected(live) as socket:
        await tell(socket, task)
        frames = [await heard(socket) for _ in range(3)]

    assert [len(frame["data"]) for frame in frames] == [1, 1, 1]
    assert len({frame["data"][0]["imageUUID"] for frame in frames}) == 3


async def test_line_4_several_results_come_in_one_frame(live):
    configure(live, latencies={"image": 0})
    task = image(numberResults=3)
    async with connected(live) as socket:
        await ask(socket, task)
        frame = await ask(socket, poll_of(task))

    assert len({item["imageUUID"] for item in frame["data"]}) == 3


async def test_line_4_frames_above_a_mebibyte(live):
    fault(live, {"on": "submit", "action": {"kind": "pad", "bytes": 1_200_000}})
    async with connected(live) as small:
        await tell(small, image())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await small.recv()
    async with connected(live, max_size=None) as large:
        await tell(large, image())
        frame = await large.recv()

    assert closed.value.sent.code == 1009
    assert len(frame) == 1_200_000
    assert json.loads(frame)["data"][0]["taskType"] == "imageInference"


@pytest.mark.parametrize("code", [1000, 1001])
async def test_line_4_a_graceful_close(live, code):
    fault(live, {"on": "submit", "action": {"kind": "drop_socket", "code": code}})
    async with connected(live) as socket:
        await ask(socket, image())
        with pytest.raises(websockets.ConnectionClosedOK) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == code


async def test_line_4_an_abrupt_close(live):
    fault(live, {"on": "poll", "action": "drop_socket"})
    async with connected(live) as socket:
        task = image()
        await ask(socket, task)
        await tell(socket, poll_of(task))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            # The answer may have arrived before the end did.
            await anext(frame async for frame in socket if not frame)

    assert closed.value.rcvd is None


async def test_line_4_half_open_answers_neither_pings_nor_tasks(live):
    fault(live, {"on": "submit", "action": {"kind": "half_open", "seconds": 0.5}})
    task = image()
    async with connected(live, ping_interval=None) as socket:
        await tell(socket, task)
        await accepted(live, task)
        # Were either answered before the socket breaks, it would not raise.
        with pytest.raises(websockets.ConnectionClosedError):
            await (await socket.ping())
        with pytest.raises(websockets.ConnectionClosedError):
            await ask(socket, PING)


async def test_line_4_no_ack(live):
    fault(live, {"count": 1, "action": "no_ack"})
    task = image()
    async with connected(live) as socket:
        await tell(socket, task)
        next_frame = await ask(socket, PING)

    assert next_frame == PONG
    assert ledger_of(live, task)["accepted"] == 1


async def test_line_4_a_late_ack_lets_others_pass(live):
    fault(live, {"on": "submit", "action": {"kind": "delay", "seconds": 0.1}})
    task = image()
    async with connected(live) as socket:
        await tell(socket, task)
        frames = [await ask(socket, PING), await heard(socket)]

    assert frames[0] == PONG
    assert frames[1]["data"][0]["taskUUID"] == task["taskUUID"]


async def test_line_4_the_ack_is_lost_and_the_resend_is_a_conflict(live):
    fault(live, {"on": "submit", "count": 1, "action": "lose_answer"})
    task = image()
    async with connected(live) as socket:
        await tell(socket, task)
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()
    async with connected(live) as again:
        conflict = await ask(again, task)
        polled = await ask(again, poll_of(task))

    assert conflict["errors"][0]["code"] == "conflictTaskUUID"
    assert polled["data"][0]["taskUUID"] == task["taskUUID"]
    assert ledger_of(live, task)["submits"] == 2


async def test_line_4_pushes_that_could_not_leave_are_kept_for_the_session(live):
    """The socket ends between the submit and the result, and the result waits."""
    configure(live, latencies={"image": 100})
    task = image(deliveryMethod="sync")
    async with connected(live) as socket:
        session = socket.session
        await tell(socket, task)
        await ask(socket, PING)
    async with asyncio.timeout(20):
        while ledger_of(live, task)["state"] != "success":
            await asyncio.sleep(0)
    async with connected(live, session=session) as again:
        frame = await heard(again)

    assert frame["data"][0]["taskUUID"] == task["taskUUID"]
    assert httpx.post(f"{live.address}/v1", json=[poll_of(task)], headers=HEADERS).status_code == 200
