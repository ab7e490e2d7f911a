"""The request of a stream, and what its answer is made of.

One POST over HTTP, whatever the client's transport is: the platform streams nowhere else. What the
pieces add up to is for `streaming`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from runware_jobs.client.backoff import parse_retry_after
from runware_jobs.client.config import user_agent
from runware_jobs.client.error_codes import (
    CONNECTION_FAILED,
    CONNECTION_LOST,
    REQUEST_TIMEOUT,
    UNREADABLE_ANSWER,
)
from runware_jobs.client.errors import RunwareError, create_runware_error, error_from_wire, with_others
from runware_jobs.client.log import masked_text
from runware_jobs.client.wire.envelope import read_envelope
from runware_jobs.client.wire.exchange import tell_errors
from runware_jobs.client.wire.grouping import encode_task

from .sse import EventReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from runware_jobs.client.log import ClientLog
    from runware_jobs.client.parts import Parts
    from runware_jobs.client.wire.envelope import Reply

_CONNECT_S = 10.0
_ERRORS = frozenset({"error", "errors"})


async def read_events(
    parts: Parts, task: Mapping[str, Any], timeout_s: float
) -> AsyncGenerator[list[str], None]:
    """Send the request and give the events of its answer, as they come in. Nothing is sent before the first step.

    Errors:
        RunwareError: not reachable (only then retryable), refused, or broken off.
    """
    log = parts.log
    log.write("request", "stream", {"task_uuid": task["taskUUID"]})
    try:
        response = await parts.session.send(
            _request(parts, task, timeout_s), stream=True, follow_redirects=False
        )
        try:
            log.write("receive", "stream_begins", {"status": response.status_code})
            if not response.is_success or "json" in response.headers.get("content-type", ""):
                raise _refusal(response, await response.aread(), log)
            reader = EventReader()
            async for part in response.aiter_bytes():
                yield reader.feed(part)
            yield reader.feed(b"", is_last=True)
        finally:
            await response.aclose()
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, RuntimeError, OSError) as error:
        log.write("error", "stream_failed", {"reason": error})
        raise _told(error) from error


def chunks_of(content: object) -> list[dict[str, Any]]:
    """Take a chunk out of what it may be wrapped in: `{"data": {...}}`, a list, or nothing."""
    if isinstance(content, list):
        return [chunk for entry in content for chunk in chunks_of(entry)]
    if not isinstance(content, dict):
        return []
    if not isinstance(content.get("data"), dict | list):
        return [content]
    # An envelope can hold a chunk and an error at once: first what arrived, then what ended it.
    failure = {key: value for key, value in content.items() if key != "data"}
    return [*chunks_of(content["data"]), *([failure] if _ERRORS & failure.keys() else [])]


def errors_of(chunk: dict[str, Any], log: ClientLog) -> list[RunwareError]:
    """Read what a chunk complains of, in any form of the platform."""
    if _ERRORS & chunk.keys():
        reply = read_envelope(orjson.dumps(chunk))
        tell_errors(log, reply)
        errors = _all_errors(reply)
        if errors:
            return errors
    return [error_from_wire(chunk)] if chunk.get("status") == "error" else []


def _all_errors(reply: Reply) -> list[RunwareError]:
    """Give every error of an answer: there is one task only, so each means it, whatever it names."""
    return [*(error for scoped in reply.by_task.values() for error in scoped.errors), *reply.unscoped]


def _request(parts: Parts, task: Mapping[str, Any], timeout_s: float) -> httpx.Request:
    return parts.session.build_request(
        "POST",
        parts.config.http_base_url,
        content=b"[" + encode_task(task).json + b"]",
        headers={
            "Authorization": f"Bearer {parts.config.api_key}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "User-Agent": user_agent(),
        },
        timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
    )


def _refusal(response: httpx.Response, body: bytes, log: ClientLog) -> RunwareError:
    status = response.status_code
    reply = read_envelope(
        body,
        status_code=status,
        retry_after_s=parse_retry_after(response.headers.get("retry-after")),
    )
    tell_errors(log, reply)
    errors = _all_errors(reply)
    if errors:
        return with_others(errors)
    # From 400 on the status names the class better than an identifier of ours would.
    return create_runware_error(
        "" if status >= HTTPStatus.BAD_REQUEST else UNREADABLE_ANSWER,
        f"The platform answered without a stream (HTTP {status}).",
        status_code=status,
        retry_after_s=reply.retry_after_s,
    )


def _told(error: Exception) -> RunwareError:
    reason = masked_text(str(error)) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.InvalidURL):
        return create_runware_error(CONNECTION_FAILED, f"The stream could not be opened: {reason}.")
    raw_code = REQUEST_TIMEOUT if isinstance(error, httpx.TimeoutException) else CONNECTION_LOST
    told = create_runware_error(raw_code, f"The stream broke off: {reason}.")
    return told.changed(retryable=False)
