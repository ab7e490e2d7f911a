"""submit_many, poll_many and the life of a connection over a real socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from runware_jobs.client import (
    Accepted,
    Blocked,
    Missing,
    NotSent,
    Polled,
    Refused,
    RunwareError,
    Unclear,
)
from runware_jobs.client.log import ClientLog
from runware_jobs.client.wire.websocket import WebSocketTransport
from runware_jobs.client.wire.ws_session import SessionTimes


@pytest.fixture
def open_socket(open_client):
    return lambda **options: open_client(transport="websocket", **options)


async def test_group_is_one_frame(open_socket, socket_platform, make_task):
    tasks = [make_task() for _ in range(50)]

    outcomes = await open_socket().submit_many(tasks)

    assert [len(frame) for frame in socket_platform.frames] == [50]
    assert list(map(type, outcomes.values())) == [Accepted] * 50


async def test_outcomes_gather_over_frames(open_socket, socket_platform, make_task, send_frame, ack_of):
    first, second, third = (make_task() for _ in range(3))

    async def one_by_one(connection, frame):
        await send_frame(connection, data=[ack_of(frame[2])])
        await send_frame(
            connection, errors=[{"code": "invalidModel", "message": "m", "taskUUID": frame[1]["taskUUID"]}]
        )
        await send_frame(connection, data=[ack_of(frame[0])])

    socket_platform.script = one_by_one
    outcomes = await open_socket().submit_many([first, second, third])

    assert [type(outcomes[t["taskUUID"]]) for t in (first, second, third)] == [Accepted, Refused, Accepted]


async def test_task_without_a_word_is_unclear(open_socket, socket_platform, make_task, send_frame, ack_of):
    taken, silent = make_task(), make_task()

    async def only_the_first(connection, frame):
        await send_frame(connection, data=[ack_of(frame[0])])

    socket_platform.script = only_the_first
    outcomes = await open_socket(submit_timeout=200).submit_many([taken, silent])

    assert isinstance(outcomes[taken["taskUUID"]], Accepted)
    assert isinstance(outcomes[silent["taskUUID"]], Unclear)


async def test_drop_after_the_write_is_unclear_and_nothing_is_sent_again(
    open_socket, socket_platform, make_task
):
    dropped = asyncio.Event()

    async def drop(connection, _frame):
        dropped.set()
        connection.transport.abort()

    socket_platform.script = drop
    task = make_task()
    client = open_socket()
    outcomes = await client.submit_many([task])
    await client.connect()

    assert isinstance(outcomes[task["taskUUID"]], Unclear)
    assert len(socket_platform.frames) == 1


async def test_line_that_comes_up_too_late_means_not_sent(open_socket, socket_platform, make_task):
    socket_platform.may_authenticate.clear()
    task = make_task()
    client = open_socket()

    outcomes = await client.submit_many([task], send_before=time.time() + 0.1)
    socket_platform.may_authenticate.set()
    await client.connect()

    assert isinstance(outcomes[task["taskUUID"]], NotSent)
    assert socket_platform.frames == []


async def test_no_server_means_not_sent(open_socket, make_task):
    task = make_task()

    outcomes = await open_socket(ws_base_url="ws://127.0.0.1:9/v1").submit_many(
        [task], send_before=time.time() + 0.2
    )

    assert isinstance(outcomes[task["taskUUID"]], NotSent)


async def test_refused_key_stops_and_blocks(open_socket, socket_platform, make_task):
    socket_platform.auth_error = {"code": "invalidApiKey", "message": "no", "taskType": "authentication"}
    task = make_task()
    client = open_socket()

    with pytest.raises(RunwareError) as raised:
        await client.connect()
    outcome = (await client.submit_many([task]))[task["taskUUID"]]

    assert raised.value.code == "auth"
    assert isinstance(outcome, Blocked)
    assert outcome.error.task_uuid is None
    assert socket_platform.frames == []
    assert len(socket_platform.auths) == 2


async def test_key_that_is_accepted_again_works_again(open_socket, socket_platform, make_task):
    socket_platform.auth_error = {"code": "invalidApiKey", "message": "no"}
    client = open_socket()
    blocked, taken = make_task(), make_task()
    first = await client.submit_many([blocked])

    socket_platform.auth_error = None
    second = await client.submit_many([taken])

    assert isinstance(first[blocked["taskUUID"]], Blocked)
    assert isinstance(second[taken["taskUUID"]], Accepted)


async def test_unknown_task_of_a_group_is_settled_over_http(
    open_socket, socket_platform, http_platform, send_frame, answer_with
):
    """A socket's silence about one of many is no answer; HTTP's answers end."""

    async def about_the_known(connection, frame):
        await send_frame(
            connection,
            data=[
                {"taskUUID": t["taskUUID"], "status": "processing"} for t in frame if t["taskUUID"] == "known"
            ],
        )

    socket_platform.script = about_the_known
    http_platform.script = lambda _: answer_with({"data": []})
    outcomes = await open_socket().poll_many(["known", "unknown"])

    assert isinstance(outcomes["known"], Polled)
    assert isinstance(outcomes["unknown"], Missing)
    assert [[task["taskUUID"] for task in request] for request in http_platform.requests] == [["unknown"]]


async def test_frame_of_many_megabytes_is_read(open_socket, socket_platform, send_frame):
    async def huge(connection, frame):
        await send_frame(
            connection,
            data=[
                {"taskUUID": frame[0]["taskUUID"], "status": "success", "imageBase64Data": "A" * 5_000_000}
            ],
        )

    socket_platform.script = huge
    outcome = (await open_socket().poll_many(["a"]))["a"]

    assert len(outcome.items[0]["imageBase64Data"]) == 5_000_000


async def test_archive_and_poll_of_one_task_do_not_mix(open_socket, socket_platform, send_frame):
    asked = []
    both_asked = asyncio.Event()

    async def answer_when_both_are_there(connection, frame):
        asked.append(frame[0]["taskType"])
        if len(asked) == 2:
            details = {"taskType": "getTaskDetails", "taskUUID": "a", "response": {"data": []}}
            state = {"taskType": "imageInference", "taskUUID": "a", "status": "processing"}
            await send_frame(connection, data=[details, state])
            both_asked.set()

    socket_platform.script = answer_when_both_are_there
    client = open_socket()
    polled, details = await asyncio.gather(
        client.poll_many(["a"]), client.get_task_details({"taskUUID": "a"})
    )

    assert polled["a"].items[0]["status"] == "processing"
    assert details[0]["response"] == {"data": []}


async def test_reconnect_resumes_the_session(open_socket, socket_platform, make_task):
    client = open_socket()
    await client.connect()
    socket_platform.connections[0].transport.abort()
    await client.submit_many([make_task()])
    if len(socket_platform.auths) == 1:  # the drop was noticed by that submit
        await client.submit_many([make_task()])

    assert "connectionSessionUUID" not in socket_platform.auths[0]
    assert socket_platform.auths[1]["connectionSessionUUID"] == "session-1"


async def test_graceful_close_by_the_server_is_followed_by_a_reconnect(
    open_socket, socket_platform, make_task
):
    client = open_socket()
    await client.connect()
    await socket_platform.connections[0].close()
    task = make_task()
    outcomes = await client.submit_many([task])

    assert isinstance(outcomes[task["taskUUID"]], Accepted)
    assert len(socket_platform.connections) == 2


async def test_connect_tells_the_first_failure(open_socket):
    with pytest.raises(RunwareError) as raised:
        await open_socket(ws_base_url="ws://127.0.0.1:9/v1").connect()

    assert raised.value.code == "connection"


async def test_close_ends_what_waits(open_socket, socket_platform, make_task):
    received = asyncio.Event()

    async def say_nothing(_connection, _frame):
        received.set()

    socket_platform.script = say_nothing
    task = make_task()
    client = open_socket()
    waiting = asyncio.create_task(client.submit_many([task]))
    await received.wait()
    await client.close()

    assert isinstance((await waiting)[task["taskUUID"]], Unclear)
    assert not client.is_connected


async def test_line_that_answers_no_ping_is_given_up(open_socket, socket_platform):
    """Half open: the peer is gone, and the system has not noticed."""

    async def say_nothing(_connection, _frame):
        pass

    socket_platform.script = say_nothing
    config = open_socket().config
    times = SessionTimes(heartbeat_s=0.02, pong_s=0.05)
    transport = WebSocketTransport(config, ClientLog(enabled=False), times=times)
    await transport.connect()
    first = socket_platform.connections[0]
    await first.wait_closed()
    await transport.connect()
    await transport.close()

    assert socket_platform.frames[0] == [{"taskType": "ping", "ping": True}]
    assert len(socket_platform.connections) == 2


async def test_unknown_task_in_the_archive_is_an_empty_list(
    open_socket, socket_platform, http_platform, send_frame, answer_with
):
    async def empty(connection, _frame):
        await send_frame(connection, data=[])

    socket_platform.script = empty
    http_platform.script = lambda _: answer_with({"data": []})

    assert await open_socket().get_task_details({"taskUUID": "a"}) == []
