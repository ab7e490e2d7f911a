"""Text while it is written: server-sent events of one `textInference` task.

Nothing is repeated: a second request would be a second text with a second price. A stream that
ends without its end mark is an error, with what had arrived at hand.
"""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from .config import user_agent
from .envelope import read_envelope
from .error_codes import CONNECTION_FAILED, CONNECTION_LOST, REQUEST_TIMEOUT
from .errors import RunwareError, create_runware_error
from .grouping import encode_task
from .parts import unless_cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .config import StreamOptions
    from .parts import Parts

_END = "[DONE]"


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
    """One stream. Its views can be read one after the other or side by side: each starts at the beginning.

    Abandon it early with `aclose()`; reading it to the end closes it.
    """

    def __init__(self, response: httpx.Response, options: StreamOptions, task_uuid: str) -> None:
        self._response = response
        self._options = options
        self._result = TextStreamResult(task_uuid=task_uuid)
        self._pieces: list[tuple[str, str]] = []
        self._lines = self._read_lines()
        self._lock = asyncio.Lock()
        self._is_over = False
        self._error: RunwareError | None = None

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
        """Read to the end and give text, reasoning, finish reason, usage and cost.

        Errors:
            RunwareError: the platform reported an error, or the stream broke off; `results` holds the partial text.
        """
        while not self._is_over:
            await self._advance()
        if self._error is not None:
            raise self._error
        return self._result

    async def aclose(self) -> None:
        """Stop reading. The platform may go on and bills what it has generated."""
        self._is_over = True
        await self._response.aclose()

    async def _view(self, kind: str) -> AsyncIterator[str]:
        position = 0
        while True:
            while position < len(self._pieces):
                piece_kind, piece = self._pieces[position]
                position += 1
                if piece_kind == kind:
                    yield piece
            if self._is_over:
                break
            await self._advance()
        if self._error is not None:
            raise self._error

    async def _advance(self) -> None:
        """Read until something new is there or the stream is over."""
        before = len(self._pieces)
        async with self._lock:
            if self._is_over or len(self._pieces) != before:
                return
            try:
                line = await unless_cancelled(_next(self._lines), self._options.cancel_event)
                if line is None:
                    raise create_runware_error(CONNECTION_LOST, "The stream broke off before its end.")
                self._take(line)
            except RunwareError as error:
                self._error = error.changed(
                    task_uuid=self._result.task_uuid, retryable=False, results=[self._partial()]
                )
            if self._error is not None or self._is_over:
                await self.aclose()

    def _take(self, line: str) -> None:
        if not line.startswith("data:"):  # comments keep the line alive; other fields mean nothing here
            return
        content = line.removeprefix("data:").strip()
        if content == _END:
            self._is_over = True
            return
        try:
            chunk = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise create_runware_error(
                CONNECTION_LOST, "The stream holds a piece that is no JSON."
            ) from error
        if isinstance(chunk, dict):
            self._take_chunk(chunk)

    def _take_chunk(self, chunk: dict[str, Any]) -> None:
        reply = read_envelope(orjson.dumps(chunk))
        errors = [*reply.unscoped, *(error for scoped in reply.by_task.values() for error in scoped.errors)]
        if errors:
            raise errors[0]
        inner = chunk.get("data")
        if isinstance(inner, dict):
            chunk = inner
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

    def _partial(self) -> dict[str, Any]:
        return {"text": self._result.text, "reasoningContent": self._result.reasoning_content}

    async def _read_lines(self) -> AsyncIterator[str]:
        """Split the body into lines; a character may arrive in two halves."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        try:
            async for part in self._response.aiter_bytes():
                *lines, rest = (rest + decoder.decode(part)).replace("\r\n", "\n").split("\n")
                for line in lines:
                    yield line
        except httpx.TimeoutException as error:
            raise create_runware_error(REQUEST_TIMEOUT, "The stream stood still for too long.") from error
        except httpx.HTTPError as error:
            raise create_runware_error(CONNECTION_LOST, f"The stream broke off: {error!r}.") from error
        if rest:
            yield rest
        # A finish reason is an end mark too: the terminator after it carries nothing.
        self._is_over = self._result.finish_reason is not None


async def open_stream(parts: Parts, task: Mapping[str, Any], options: StreamOptions) -> TextStream:
    """Send the request and give the stream once the platform has begun to answer.

    Errors:
        RunwareError: refused before the first piece, or not reachable.
    """
    if task.get("numberResults", 1) != 1:
        raise create_runware_error(
            "unsupportedParameter",
            "stream() gives one result: leave out numberResults, or use run() for several.",
            parameter="numberResults",
        )
    timeout_s = (options.timeout or parts.config.timeout) / 1_000
    request = parts.session.build_request(
        "POST",
        parts.config.http_base_url,
        content=b"[" + encode_task(task).json + b"]",
        headers={
            "Authorization": f"Bearer {parts.config.api_key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "User-Agent": user_agent(),
        },
        timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
    )
    try:
        response = await parts.session.send(request, stream=True)
        if response.is_success:
            return TextStream(response, options, task["taskUUID"])
        body = await response.aread()
    except httpx.TimeoutException as error:
        raise create_runware_error(REQUEST_TIMEOUT, "The stream did not begin in time.") from error
    except httpx.HTTPError as error:
        raise create_runware_error(
            CONNECTION_FAILED, f"The stream could not be opened: {error!r}."
        ) from error
    reply = read_envelope(body, status_code=response.status_code)
    errors = [*reply.of(task["taskUUID"]).errors, *reply.unscoped]
    raise (
        errors[0]
        if errors
        else create_runware_error(
            "", f"The stream was refused (HTTP {response.status_code}).", status_code=response.status_code
        )
    )


async def _next(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)
