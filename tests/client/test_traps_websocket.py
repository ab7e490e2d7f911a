"""PROTOCOL 2 and 13.3: the traps of the socket that need a real one. The others are in `test_ws_session`."""

from __future__ import annotations

import asyncio

import pytest

from runware_jobs.client import Accepted, RunwareError, Unclear


@pytest.fixture
def open_socket(open_client):
    return lambda **options: open_client(transport="websocket", **options)


async def test_key_goes_into_the_first_frame_and_into_no_header(open_socket, socket_platform):
    """2.1."""
    await open_socket().connect()

    assert socket_platform.auths == [{"taskType": "authentication", "apiKey": "test-key"}]
    assert "authorization" not in socket_platform.connections[0].request.headers


async def test_client_sends_arrays_and_reads_objects(open_socket, socket_platform, make_task):
    """2.1."""
    task = make_task()
    outcomes = await open_socket().submit_many([task])

    assert socket_platform.frames == [[task]]
    assert isinstance(outcomes[task["taskUUID"]], Accepted)


async def test_stray_frames_before_the_auth_answer_are_skipped(open_socket, socket_platform, send_frame):
    """2.1: a pong, or a result of an earlier life."""

    async def serve(connection):
        socket_platform.connections.append(connection)
        await connection.recv()
        await send_frame(connection, data=[{"taskType": "ping", "pong": True}])
        await send_frame(
            connection, data=[{"taskType": "imageInference", "taskUUID": "old", "imageURL": "u"}]
        )
        await send_frame(connection, errors=[{"code": "providerError", "message": "m", "taskUUID": "old"}])
        await send_frame(connection, data=[{"taskType": "authentication", "connectionSessionUUID": "s"}])
        await connection.wait_closed()

    socket_platform.serve_one = serve
    client = open_socket()
    await client.connect()

    assert client.is_connected


@pytest.mark.parametrize("kind", ["errors", "error"])
async def test_refused_key_is_told_in_either_form_and_not_tried_again(
    open_client, socket_platform, send_frame, kind
):
    """2.1, 13.3: an invalid key stops reconnecting."""
    refusal = {"code": "invalidApiKey", "message": "no", "parameter": "apiKey", "taskType": "authentication"}

    async def serve(connection):
        socket_platform.connections.append(connection)
        await connection.recv()
        await send_frame(connection, **{kind: [refusal] if kind == "errors" else refusal})
        await connection.wait_closed()

    socket_platform.serve_one = serve
    with pytest.raises(RunwareError) as raised:
        await open_client(transport="websocket").connect()
    assert (raised.value.code, raised.value.retryable, raised.value.parameter) == ("auth", False, "apiKey")
    assert len(socket_platform.connections) == 1


async def test_calls_that_find_the_line_down_share_one_connection(open_socket, socket_platform, make_task):
    """13.3: several reconnect loops once ran side by side."""
    client = open_socket()
    outcomes = await asyncio.gather(*(client.submit_many([make_task()]) for _ in range(20)))

    assert {type(outcome) for found in outcomes for outcome in found.values()} == {Accepted}
    assert len(socket_platform.connections) == 1


async def test_key_that_is_withdrawn_fails_what_waits(open_socket, socket_platform, make_task):
    """11: rejected on reconnect, it gives up and fails all that is pending with `auth`."""
    client = open_socket()
    await client.connect()
    socket_platform.auth_error = {"code": "invalidApiKey", "message": "withdrawn"}
    running = asyncio.ensure_future(client.run(make_task(deliveryMethod="sync")))

    async def drop(connection, _frame):
        connection.transport.abort()

    socket_platform.script = drop
    with pytest.raises(RunwareError, match="withdrawn") as raised:
        await running
    assert raised.value.code == "auth"


async def test_sync_result_is_delivered_by_the_resumed_session_and_not_asked_for_again(
    open_socket, socket_platform, make_task, send_frame
):
    """2.2, 15.5: undelivered results come after a resume; the request is not sent a second time."""
    task = make_task(deliveryMethod="sync")

    async def drop_then_replay(connection, _frame):
        connection.transport.abort()

    async def replay(connection):
        result = {
            "taskType": "imageInference",
            "taskUUID": task["taskUUID"],
            "imageURL": "https://im.example/x",
        }
        await send_frame(connection, data=[result])

    socket_platform.script = drop_then_replay
    socket_platform.after_resume = replay
    results = await open_socket().run(task)

    assert [result["imageURL"] for result in results] == ["https://im.example/x"]
    assert len(socket_platform.frames) == 1
    assert socket_platform.auths[1]["connectionSessionUUID"] == "session-1"


async def test_submit_of_many_is_never_sent_again_by_the_line(open_socket, socket_platform, make_task):
    """3.5, 11: what may have arrived is for its owner to settle."""

    usual = socket_platform.script

    async def drop_once(connection, _frame):
        socket_platform.script = usual
        connection.transport.abort()

    socket_platform.script = drop_once
    first, second = make_task(), make_task()
    client = open_socket()
    outcomes = await client.submit_many([first])
    await client.submit_many([second])

    assert isinstance(outcomes[first["taskUUID"]], Unclear)
    assert socket_platform.frames == [[first], [second]]
