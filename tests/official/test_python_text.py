"""runware-sdk, streamed text: over REST always, whatever the client's transport is."""

from __future__ import annotations

import asyncio

import pytest
from runware import RunwareError, StreamOptions

pytestmark = pytest.mark.slow

QUESTION = {"model": "google:gemma@4-31b", "messages": [{"role": "user", "content": "Explain gravity"}]}


async def test_a_stream_comes_in_pieces_and_ends_with_figures(client):
    stream = await client.stream({**QUESTION, "includeUsage": True, "includeCost": True})

    pieces = [piece async for piece in stream.text_stream]
    result = await stream.result()

    assert len(pieces) > 3
    assert "".join(pieces) == result.text
    assert result.finish_reason == "stop"
    assert result.usage["completionTokens"] > 0
    assert result.cost >= 0


async def test_the_whole_text_at_once(rest):
    stream = await rest.stream(QUESTION)

    assert len(await stream.text()) > 20


async def test_a_reasoning_model_thinks_before_it_answers(rest):
    stream = await rest.stream({**QUESTION, "model": "anthropic:claude@fable-5"})

    thoughts = [thought async for thought in stream.reasoning_stream]
    result = await stream.result()

    assert "".join(thoughts) == result.reasoning_content != ""
    assert result.text


async def test_a_stream_is_cancelled(rest, emulator):
    emulator.configure(latencies={"text": 3000})
    cancel = asyncio.Event()
    stream = await rest.stream(QUESTION, StreamOptions(cancel_event=cancel))

    error = await failure_of(read(stream, lambda _piece: cancel.set()))

    assert error.code == "aborted"


async def test_a_stream_is_refused_before_it_starts(rest):
    stream = await rest.stream({**QUESTION, "messages": [{"role": "assistant", "content": "Hm."}]})

    error = await failure_of(stream.text())

    assert error.code == "validation"
    assert error.status_code == 400


async def test_a_stream_fails_midway(rest, emulator):
    emulator.inject(
        {"on": "submit", "action": {"kind": "item_error", "code": "providerError", "message": "It broke."}}
    )
    stream = await rest.stream(QUESTION)
    pieces = []

    error = await failure_of(read(stream, pieces.append))

    assert error.code == "provider"
    assert pieces


async def read(stream, show):
    async for piece in stream.text_stream:
        show(piece)


async def failure_of(call):
    with pytest.raises(RunwareError) as caught:
        await call
    return caught.value
