"""Text while it is written: server-sent events of one `textInference` task.

Nothing is repeated: a second request would be a second text with a second price. A stream that
ends without its end mark is an error, with what had arrived at hand.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import orjson

from runware_jobs.client.error_codes import CONNECTION_LOST, REQUEST_TIMEOUT, ErrorCode
from runware_jobs.client.errors import RunwareError, create_runware_error
from runware_jobs.client.parts import aborted, disconnected, unless_cancelled

from .sse import END
from .stream_request import chunks_of, errors_of, read_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from runware_jobs.client.config import StreamOptions
    from runware_jobs.client.parts import Parts


@dataclass(slots=True)
class TextStreamResult:
    """What a stream has told so far; `usage` and `cost` come with the last chunk when they were asked for."""

    text: str = ""
    reasoning_content: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    cost: float | None = None
    task_uuid: str | None = None
    chunks: list[dict[str, Any]] = field(default_factory=list)


class TextStream:
    """One stream. The request leaves when it is first read; so what the platform refuses is raised there.

    Its views can be read one after the other or side by side: each starts at the beginning. Reading to
    the end closes it; leave it early with `async with` or `aclose()`. It ends with its client.

    Errors of every view, `text()` and `result()`:
        RunwareError: the platform reported an error, `timeout` or `aborted` of the options, or the stream broke
            off (`connection`; not retryable, as the text may be billed). `results` holds the partial text.
    """

    def __init__(self, parts: Parts, task: Mapping[str, Any], options: StreamOptions) -> None:
        self._parts = parts
        self._task = task
        self._cancel_event = options.cancel_event
        self._timeout_s = (options.timeout or parts.config.timeout) / 1_000
        self._ends_at: float | None = None
        self._result = TextStreamResult(task_uuid=task["taskUUID"])
        self._pieces: list[tuple[str, str]] = []
        self._events = read_events(parts, task, self._timeout_s)
        # Held apart from its readers: one who is cancelled while waiting leaves the stream as it is.
        self._reading: asyncio.Task[list[str] | None] | None = None
        self._lock = asyncio.Lock()
        self._is_over = self._is_released = False
        self._error: RunwareError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text, piece by piece."""
        return self._view("text")

    @property
    def reasoning_stream(self) -> AsyncIterator[str]:
        """The model's reasoning, piece by piece, where the model tells it."""
        return self._view("reasoningContent")

    async def text(self) -> str:
        """Read to the end and give the whole text."""
        return (await self.result()).text

    async def result(self) -> TextStreamResult:
        """Read to the end and give text, reasoning, finish reason, usage and cost."""
        while not self._is_over:
            await self._advance(len(self._pieces))
        if self._error is not None:
            raise self._error
        return self._result

    async def aclose(self) -> None:
        """Stop reading; a stream that was not at its end raises `aborted` from then on.

        The platform may go on and bills what it has generated.
        """
        if not self._is_over:
            error = disconnected() if self._parts.closing.is_set() else aborted()
            self._fail(error.changed(message=f"The stream was closed before its end. {error.message}"))
        await self._release()

    # ---- reading ------------------------------------------------------------------------------

    async def _view(self, kind: str) -> AsyncIterator[str]:
        position = 0
        while True:
            while position < len(self._pieces):
                piece_kind, piece = self._pieces[position]
                position += 1
                if piece_kind == kind:
                    # The rest may have arrived already: who cancels wants no more of it all the same.
                    if self._cancel_event is not None and self._cancel_event.is_set():
                        raise self._told(aborted())
                    yield piece
            if self._is_over:
                break
            await self._advance(position)
        if self._error is not None:
            raise self._error

    async def _advance(self, seen: int) -> None:
        """Read until there is more than the `seen` pieces, something else was told, or the stream is over."""
        async with self._lock:
            if self._is_over or len(self._pieces) > seen:
                return
            try:
                self._take_all(await self._next_events())
            except RunwareError as error:
                if self._result.finish_reason is None or error.code is not ErrorCode.CONNECTION:
                    self._fail(error)
                self._is_over = True  # a line that breaks after the finish reason takes nothing away
            if self._is_over:
                await self._release()

    async def _next_events(self) -> list[str] | None:
        """Wait for the next part of the answer; None at its end."""
        loop = asyncio.get_running_loop()
        if self._ends_at is None:
            self._ends_at = loop.time() + self._timeout_s
            self._parts.streams.add(self)
        if self._reading is None:
            self._reading = asyncio.create_task(_next(self._events), name="runware-stream")
        try:
            async with asyncio.timeout_at(self._ends_at):
                waiting = _result_of(self._reading)
                events = await unless_cancelled(waiting, self._cancel_event, self._parts.closing)
        except TimeoutError as error:
            message = f"The stream was not over within {self._timeout_s:g} s."
            raise create_runware_error(REQUEST_TIMEOUT, message).changed(retryable=False) from error
        self._reading = None
        return events

    def _take_all(self, events: list[str] | None) -> None:
        if events is None and self._result.finish_reason is None:
            message = "The stream broke off before its end."
            raise create_runware_error(CONNECTION_LOST, message).changed(retryable=False)
        for event in events or ():
            if self._is_over:
                return
            self._take(event)
        # A finish reason is an end mark too: the terminator after it carries nothing.
        self._is_over = self._is_over or events is None

    def _take(self, event: str) -> None:
        if event == END:
            self._is_over = True
            return
        try:
            content = orjson.loads(event)
        except orjson.JSONDecodeError as error:
            message = "The stream holds a piece that is no JSON."
            raise create_runware_error(CONNECTION_LOST, message).changed(retryable=False) from error
        for chunk in chunks_of(content):
            errors = errors_of(chunk, self._parts.log)
            if errors:
                raise errors[0].changed(others=errors[1:])
            self._take_chunk(chunk)

    def _take_chunk(self, chunk: dict[str, Any]) -> None:
        self._result.chunks.append(chunk)
        delta = chunk.get("delta")
        if isinstance(delta, dict):
            for kind in ("reasoningContent", "text"):
                piece = delta.get(kind)
                if isinstance(piece, str) and piece:
                    self._pieces.append((kind, piece))
                    self._append(kind, piece)
        self._result.finish_reason = chunk.get("finishReason") or self._result.finish_reason
        self._result.usage = chunk.get("usage") or self._result.usage
        cost = chunk.get("cost")
        self._result.cost = self._result.cost if cost is None else cost

    def _append(self, kind: str, piece: str) -> None:
        if kind == "text":
            self._result.text += piece
        else:
            self._result.reasoning_content += piece

    # ---- ends ---------------------------------------------------------------------------------

    def _fail(self, error: RunwareError) -> None:
        if not self._is_over:
            self._error = self._told(error)
            self._is_over = True

    def _told(self, error: RunwareError) -> RunwareError:
        partial = {
            "taskType": self._task["taskType"],
            "taskUUID": self._task["taskUUID"],
            "text": self._result.text,
            "reasoningContent": self._result.reasoning_content,
        }
        told = error.changed(
            task_uuid=self._task["taskUUID"],
            task_type=self._task["taskType"],
            results=[partial] if self._pieces else [],
        )
        told.__cause__ = error.__cause__
        return told

    async def _release(self) -> None:
        if self._is_released:
            return
        self._is_released = True
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await self._events.aclose()
        self._parts.streams.discard(self)


def open_stream(parts: Parts, task: Mapping[str, Any], options: StreamOptions) -> TextStream:
    """Make the stream of a task; nothing is sent before it is read.

    Errors:
        RunwareError (validation): `numberResults` above 1.
    """
    count = task.get("numberResults")
    if isinstance(count, int | float) and count > 1:
        raise create_runware_error(
            "unsupportedParameter",
            "stream() gives one result: leave out numberResults, or use run() for several.",
            parameter="numberResults",
            task_type=task["taskType"],
        )
    return TextStream(parts, task, options)


async def _next(events: AsyncIterator[list[str]]) -> list[str] | None:
    return await anext(events, None)


async def _result_of(reading: asyncio.Task[list[str] | None]) -> list[str] | None:
    """Wait for a task without owning it: to be cancelled here does not cancel it."""
    await asyncio.wait({reading})
    return None if reading.cancelled() else reading.result()
