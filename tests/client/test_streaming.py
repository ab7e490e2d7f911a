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
    async def open_stream(body, *, options=None, status=200, part=None):
        http_platform.script = lambda _: answer_with(body, status=status, part=part)
        return await open_client().stream(PARAMS, options)

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


async def test_error_in_mid_stream_is_raised_after_the_pieces(stream_of):
    stream = await stream_of(
        event(delta={"text": "a"}) + event(errors=[{"code": "providerError", "message": "gone"}])
    )
    pieces = []

    with pytest.raises(RunwareError, match="gone"):
        await read_into(pieces, stream.text_stream)
    assert pieces == ["a"]


async def test_refusal_before_the_stream_is_raised_at_once(stream_of):
    with pytest.raises(RunwareError, match="bad") as raised:
        await stream_of(
            json.dumps({"error": {"code": "invalidModel", "message": "bad"}}).encode(), status=400
        )
    assert raised.value.code == "validation"


async def test_several_results_are_refused(open_client, http_platform):
    with pytest.raises(RunwareError) as raised:
        await open_client().stream({**PARAMS, "numberResults": 2})
    assert raised.value.parameter == "numberResults"
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
