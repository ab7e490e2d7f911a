"""stream(): pieces as they come, over whatever the network does to them."""

from __future__ import annotations

import asyncio
import json

import pytest

from runware_jobs.client import RunwareError, StreamOptions

PARAMS = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "hi"}]}


def event(**fields):
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


BODY = (
    b": ping\n\n"
    + event(delta={"reasoningContent": "hm"}, finishReason=None)
    + event(delta={"text": "Grüße, "}, finishReason=None)
    + event(data={"delta": {"text": "Welt 🌊"}})
    + event(delta={}, finishReason="stop", usage={"totalTokens": 3}, cost=0.25)
    + b"data: [DONE]\n\n"
)


@pytest.fixture
def stream_of(http_platform, answer_with, open_client):
    async def open_stream(body, *, options=None, status=200, part=None, headers=None, client=None):
        http_platform.script = lambda _: answer_with(body, status=status, part=part, headers=headers or {})
        return await (client or open_client()).stream(PARAMS, options)

    return open_stream


async def test_text_and_reasoning_come_in_pieces(stream_of, http_platform):
    stream = await stream_of(BODY)
    pieces = [piece async for piece in stream.text_stream]
    result = await stream.result()

    assert pieces == ["Grüße, ", "Welt 🌊"]
    assert [piece async for piece in stream.reasoning_stream] == ["hm"]
    assert (result.text, result.finish_reason, result.usage, result.cost) == (
        "Grüße, Welt 🌊",
        "stop",
        {"totalTokens": 3},
        0.25,
    )
    assert http_platform.requests[0][0]["deliveryMethod"] == "stream"


async def test_two_readers_see_everything(stream_of):
    stream = await stream_of(BODY)

    async def read(view):
        return "".join([piece async for piece in view])

    assert await asyncio.gather(read(stream.text_stream), read(stream.reasoning_stream), stream.text()) == [
        "Grüße, Welt 🌊",
        "hm",
        "Grüße, Welt 🌊",
    ]


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_characters_may_be_cut_anywhere(open_client, size):
    """A session of our own that hands over the body in pieces of a few bytes."""
    import httpx

    from runware_jobs.client import RuntimeDependencies

    async def pieces():
        for start in range(0, len(BODY), size):
            yield BODY[start : start + size]

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=pieces()))
    async with httpx.AsyncClient(transport=transport) as session:
        stream = await open_client(dependencies=RuntimeDependencies(session=session)).stream(PARAMS)

        assert await stream.text() == "Grüße, Welt 🌊"


@pytest.mark.parametrize(
    "cut", [BODY.split(b'data: {"delta": {}')[0], BODY[:90]], ids=["between events", "within an event"]
)
async def test_stream_without_its_end_is_an_error_that_keeps_the_text(stream_of, cut):
    stream = await stream_of(cut)

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert (raised.value.code, raised.value.retryable) == ("connection", False)
    assert raised.value.results[0]["text"] in "Grüße, Welt 🌊"


async def test_connection_that_breaks_is_an_error(stream_of):
    stream = await stream_of(BODY, part=80)

    with pytest.raises(RunwareError):
        await stream.text()


ERRORS = {
    "list": event(errors=[{"code": "providerError", "message": "gone"}]),
    "single": event(error={"code": "providerError", "message": "gone"}),
    "wrapped": event(data={"error": {"code": "providerError", "message": "gone"}}),
    "wrapped list": event(data=[{"errors": [{"code": "providerError", "message": "gone"}]}]),
    "failed item": event(status="error", code="providerError", message="gone"),
    "beside a chunk": event(data={"delta": {}}, errors=[{"code": "providerError", "message": "gone"}]),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_error_in_mid_stream_is_raised_after_the_pieces(stream_of, error):
    stream = await stream_of(event(delta={"text": "a"}) + error + b"data: [DONE]\n\n")
    pieces = []

    with pytest.raises(RunwareError, match="gone") as raised:
        await read_into(pieces, stream.text_stream)
    assert pieces == ["a"]
    assert (raised.value.code, raised.value.results[0]["text"]) == ("provider", "a")


async def test_nothing_is_sent_before_the_first_read(stream_of, http_platform):
    stream = await stream_of(BODY)
    sent_before = list(http_platform.requests)
    await stream.text()

    assert sent_before == []
    assert len(http_platform.requests) == 1


REFUSALS = {
    "single": (400, {"error": {"code": "invalidModel", "message": "bad"}}, "validation"),
    "list": (401, {"errors": [{"code": "invalidApiKey", "message": "bad"}]}, "auth"),
    "with status 200": (200, {"errors": [{"code": "invalidModel", "message": "bad"}]}, "validation"),
}


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_refusal_before_the_stream_is_raised_by_the_first_read(stream_of, status, body, code):
    stream = await stream_of(
        json.dumps(body).encode(), status=status, headers={"content-type": "application/json"}
    )

    for read in (stream.text, stream.result, lambda: anext(stream.text_stream)):
        with pytest.raises(RunwareError, match="bad") as raised:
            await read()
        assert (raised.value.code, raised.value.results) == (code, [])


async def test_busy_platform_says_when_to_come_back_and_is_not_asked_again(stream_of, http_platform):
    stream = await stream_of(b"", status=429, headers={"retry-after": "7"})

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert (raised.value.code, raised.value.retryable, raised.value.retry_after_s) == ("rateLimit", True, 7.0)
    assert len(http_platform.requests) == 1


async def test_refusal_under_another_task_uuid_still_means_the_stream(stream_of):
    body = b'{"error": {"code": "invalidMessages", "message": "too long"}, "taskUUID": "another"}'
    stream = await stream_of(body, status=400)

    with pytest.raises(RunwareError, match="too long") as raised:
        await stream.text()
    assert raised.value.code == "validation"


async def test_stream_that_cannot_be_opened_may_be_tried_again(open_client):
    stream = await open_client(http_base_url="http://127.0.0.1:9/v1").stream(PARAMS)

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert (raised.value.code, raised.value.retryable) == ("connection", True)


async def test_several_results_are_refused(open_client, http_platform):
    with pytest.raises(RunwareError) as raised:
        await open_client().stream({**PARAMS, "numberResults": 2})
    assert raised.value.parameter == "numberResults"
    assert http_platform.requests == []


async def test_stream_of_a_websocket_client_goes_over_http(stream_of, open_client, socket_platform):
    stream = await stream_of(BODY, client=open_client(transport="websocket"))

    assert await stream.text() == "Grüße, Welt 🌊"
    assert [frame for frame in socket_platform.frames if frame[0]["taskType"] == "textInference"] == []


LINE_ENDS = {"LF": "\n", "CR LF": "\r\n", "CR": "\r"}


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS)
async def test_any_line_end_ends_a_line(stream_of, line_end):
    stream = await stream_of(BODY.replace(b"\n", line_end.encode()))

    assert await stream.text() == "Grüße, Welt 🌊"


async def test_finish_reason_without_a_terminator_is_an_end(stream_of):
    stream = await stream_of(BODY.removesuffix(b"data: [DONE]\n\n"))

    assert (await stream.result()).finish_reason == "stop"


@pytest.fixture
def held_stream(http_platform, answer_with, open_client):
    """Open streams of a platform that says one word and then nothing more."""

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(event(delta={"text": "one"}))
        await writer.drain()
        await reader.read()  # until the client hangs up
        closed.set()
        writer.close()

    closed = asyncio.Event()
    http_platform.serve = serve

    async def open_one(client=None, **options):
        return await (client or open_client()).stream(PARAMS, StreamOptions(**options)), closed

    return open_one


async def test_timeout_limits_the_whole_stream(held_stream):
    stream, closed = await held_stream(timeout=50)

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert (raised.value.code, raised.value.retryable) == ("timeout", False)
    assert raised.value.results[0]["text"] == "one"
    await closed.wait()


@pytest.mark.parametrize("is_being_read", [True, False])
async def test_closing_the_client_ends_open_streams(held_stream, open_client, is_being_read):
    client = open_client()
    stream, closed = await held_stream(client)
    view = stream.text_stream
    first = await anext(view)
    reading = asyncio.ensure_future(stream.result()) if is_being_read else None
    await asyncio.sleep(0)
    await client.close()

    with pytest.raises(RunwareError, match="closed") as raised:
        await (reading or stream.result())
    assert (first, raised.value.code) == ("one", "connection")
    assert raised.value.results[0]["text"] == "one"
    await closed.wait()


async def test_leaving_the_block_hangs_up(held_stream):
    stream, closed = await held_stream()
    async with stream:
        await anext(stream.text_stream)
    await closed.wait()

    with pytest.raises(RunwareError, match="closed before its end") as raised:
        await stream.text()
    assert raised.value.code == "aborted"


async def test_complete_stream_can_be_read_after_its_block(stream_of):
    async with await stream_of(BODY) as stream:
        await stream.text()

    assert await stream.text() == "Grüße, Welt 🌊"


async def test_reader_that_is_cancelled_leaves_the_stream_to_the_next(held_stream):
    stream, _ = await held_stream(timeout=200)
    view = stream.text_stream
    await anext(view)
    waiting = asyncio.ensure_future(anext(view))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert raised.value.code == "timeout"  # and not "broke off"


async def test_event_that_is_set_already_sends_nothing(stream_of, http_platform):
    cancel = asyncio.Event()
    cancel.set()
    stream = await stream_of(BODY, options=StreamOptions(cancel_event=cancel))

    with pytest.raises(RunwareError) as raised:
        await stream.text()
    assert raised.value.code == "aborted"
    assert http_platform.requests == []


async def test_cancel_event_ends_the_stream(stream_of):
    cancel = asyncio.Event()
    stream = await stream_of(BODY, options=StreamOptions(cancel_event=cancel))
    pieces = []

    with pytest.raises(RunwareError) as raised:
        await read_into(pieces, stream.text_stream, after_each=cancel.set)
    assert pieces == ["Grüße, "]
    assert raised.value.code == "aborted"


async def read_into(pieces, view, after_each=lambda: None):
    async for piece in view:
        pieces.append(piece)
        after_each()
