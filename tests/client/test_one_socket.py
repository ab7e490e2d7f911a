"""Many calls on one socket, and the life of its line: down, half open, given up, closed."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect as websockets_connect

from runware_jobs.client import Accepted, NotSent, RunOptions, RuntimeDependencies, RunwareError
from runware_jobs.client.log import ClientLog
from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup, encode_task
from runware_jobs.client.wire.websocket import WebSocketTransport
from runware_jobs.client.wire.ws_session import SessionTimes


@pytest.fixture
def open_socket(open_client):
    return lambda **options: open_client(transport="websocket", **options)


async def test_parallel_calls_on_one_socket_get_only_their_own_items_and_errors(
    open_socket, socket_platform, make_task, send_frame
):
    """Every frame speaks of both tasks: items of one, errors of the other, then the other way round."""
    good, bad = (make_task(deliveryMethod="sync", numberResults=2) for _ in range(2))
    asked: list[str] = []

    def result_of(task, number):
        return {
            "taskType": task["taskType"],
            "taskUUID": task["taskUUID"],
            "imageUUID": f"{number}",
            "imageURL": "u",
        }

    async def mix(connection, frame):
        asked.append(frame[0]["taskUUID"])
        if len(asked) < 2:
            return
        failure = {"code": "providerError", "message": "broken", "taskUUID": bad["taskUUID"]}
        await send_frame(connection, data=[result_of(bad, 1), result_of(good, 2)])
        await send_frame(connection, errors=[failure], data=[result_of(good, 3)])

    socket_platform.script = mix
    client = open_socket()
    heard: dict[str, list[str]] = {"good": [], "bad": []}

    def hear(name):
        return RunOptions(on_result=lambda item: heard[name].append(item.get("imageUUID", "error")))

    results, failure = await asyncio.gather(
        client.run(good, hear("good")), client.run(bad, hear("bad")), return_exceptions=True
    )

    assert [item["imageUUID"] for item in results] == ["2", "3"]
    assert isinstance(failure, RunwareError)
    assert (failure.message, failure.task_uuid) == ("broken", bad["taskUUID"])
    assert [item["imageUUID"] for item in failure.results] == ["1"]
    assert heard == {"good": ["2", "3"], "bad": ["1", "error"]}
    assert len(socket_platform.connections) == 1


async def test_error_that_names_nobody_leaves_the_other_calls_alone(
    open_socket, socket_platform, make_task, send_frame, ack_of
):
    asked = []

    async def complain_then_answer(connection, frame):
        asked.extend(frame)
        if len(asked) == 2:
            await send_frame(connection, errors=[{"code": "somethingOdd", "message": "x"}])
            await send_frame(connection, data=[ack_of(task) for task in asked])

    socket_platform.script = complain_then_answer
    client = open_socket()
    outcomes = await asyncio.gather(*(client.submit_many([make_task()]) for _ in range(2)))

    assert [type(outcome) for found in outcomes for outcome in found.values()] == [Accepted, Accepted]


# ---- the line ------------------------------------------------------------------------------------


async def test_submit_is_not_held_for_a_second_attempt_to_connect(open_client, make_task):
    tries = []

    async def refuse(*_args, **_options):
        tries.append(1)
        raise OSError("nobody there")

    client = open_client(
        transport="websocket",
        submit_timeout=600_000,
        dependencies=RuntimeDependencies(ws_connect=refuse),
    )
    task = make_task()
    outcome = (await client.submit_many([task]))[task["taskUUID"]]

    assert isinstance(outcome, NotSent)
    assert len(tries) == 1


async def test_line_that_must_not_be_connected_again_is_given_up(open_socket, socket_platform, make_task):
    async def drop(connection, _frame):
        connection.transport.abort()

    socket_platform.script = drop
    client = open_socket(max_reconnect_attempts=0)
    task = make_task()
    with pytest.raises(RunwareError) as raised:
        await client.run(task)

    assert raised.value.code == "connection"
    assert len(socket_platform.connections) == 1


async def test_closed_client_stays_closed_and_ends_its_runs(open_socket, socket_platform, make_task):
    """disconnect() must not be undone by a run that tries again."""
    received = asyncio.Event()

    async def say_nothing(_connection, _frame):
        received.set()

    socket_platform.script = say_nothing
    client = open_socket()
    running = asyncio.create_task(client.run(make_task()))
    await received.wait()
    await client.disconnect()

    with pytest.raises(RunwareError, match="closed") as raised:
        await running
    assert raised.value.code == "connection"
    assert (len(socket_platform.connections), client.is_connected) == (1, False)


async def test_transport_that_was_closed_opens_no_socket_again(open_socket, socket_platform, make_task):
    transport = WebSocketTransport(open_socket().config, ClientLog(enabled=False))
    await transport.connect()
    await transport.close()
    group = TaskGroup((encode_task(make_task()),))
    reply = await transport.exchange(Exchange(group=group, kind=Kind.SUBMIT, timeout_s=1))

    assert (reply.was_written, reply.failure.code) == (False, "connection")
    with pytest.raises(RunwareError, match="closed"):
        await transport.connect()
    assert len(socket_platform.connections) == 1


async def test_question_goes_to_the_fresh_line_and_never_into_a_stale_one(
    open_socket, socket_platform, send_frame
):
    """The socket looks open and its pong is overdue: connect again, then ask, once."""

    async def answer_on_the_second_line(connection, frame):
        if connection is not socket_platform.connections[0]:
            await send_frame(
                connection, data=[{"taskUUID": frame[0].get("taskUUID"), "status": "processing"}]
            )

    socket_platform.script = answer_on_the_second_line
    config = open_socket().config
    times = SessionTimes(heartbeat_s=0.02, pong_s=0.05)
    transport = WebSocketTransport(config, ClientLog(enabled=False), times=times)
    await transport.connect()
    await socket_platform.connections[0].wait_closed()
    question = TaskGroup((encode_task({"taskType": "getResponse", "taskUUID": "a"}),))
    reply = await transport.exchange(Exchange(group=question, kind=Kind.POLL, timeout_s=5))
    await transport.close()

    assert reply.of("a").items[0]["status"] == "processing"
    asked = [task for frame in socket_platform.frames for task in frame if task["taskType"] == "getResponse"]
    assert len(asked) == 1


async def test_auth_that_is_not_answered_is_a_timeout_and_no_verdict_on_the_key(open_socket, socket_platform):
    socket_platform.may_authenticate.clear()

    with pytest.raises(RunwareError) as raised:
        await open_socket(auth_timeout=50).connect()
    socket_platform.may_authenticate.set()
    assert (raised.value.code, raised.value.retryable) == ("timeout", True)


async def test_requests_wait_for_the_line_and_leave_after_auth(open_socket, socket_platform, make_task):
    socket_platform.may_authenticate.clear()
    client = open_socket()
    waiting = asyncio.create_task(client.submit_many([make_task()]))
    while not socket_platform.auths:
        await asyncio.sleep(0)
    before = list(socket_platform.frames)
    socket_platform.may_authenticate.set()
    outcomes = await waiting

    assert before == []
    assert [type(outcome) for outcome in outcomes.values()] == [Accepted]


async def test_call_that_comes_while_a_failed_connection_is_cleared_away_gets_a_line_of_its_own(
    open_socket, socket_platform, make_task
):
    """The first call gives up a line that says nothing; the second comes before its socket is gone."""
    config = open_socket(auth_timeout=50).config
    hanging_up = asyncio.Event()

    class SlowToClose:
        """A socket whose closing takes until somebody else has come."""

        def __init__(self):
            self.transport = self

        def __aiter__(self):
            return self

        async def __anext__(self):
            await aborted.wait()
            raise StopAsyncIteration

        async def send(self, _frame):
            pass

        def abort(self):
            aborted.set()

        async def close(self):
            hanging_up.set()
            await somebody_came.wait()

    aborted, somebody_came = asyncio.Event(), asyncio.Event()
    sockets = [SlowToClose()]

    async def connect(url, **options):
        return sockets.pop() if sockets else await websockets_connect(url, **options)

    transport = WebSocketTransport(config, ClientLog(enabled=False), connect_socket=connect)
    first = asyncio.create_task(transport.connect())
    await hanging_up.wait()
    group = TaskGroup((encode_task(make_task()),))
    second = asyncio.create_task(transport.exchange(Exchange(group=group, kind=Kind.SUBMIT, timeout_s=5)))
    await asyncio.sleep(0)
    somebody_came.set()
    with pytest.raises(RunwareError):
        await first
    reply = await second
    await transport.close()

    assert list(reply.by_task) == list(group.task_uuids)
    assert len(socket_platform.connections) == 1
