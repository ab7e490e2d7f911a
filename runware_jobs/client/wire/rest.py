"""The REST transport: one POST per exchange, and the knowledge whether bytes left.

It repeats nothing. The body is read on every HTTP status; what it means is for `verdicts`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from runware_jobs.client.backoff import parse_retry_after
from runware_jobs.client.config import dry_run_headers, user_agent
from runware_jobs.client.error_codes import (
    ANSWER_TOO_LARGE,
    CONNECTION_FAILED,
    CONNECTION_LOST,
    REQUEST_TIMEOUT,
)
from runware_jobs.client.errors import RunwareError, create_runware_error
from runware_jobs.client.log import masked_text

from .envelope import Reply, failed, read_envelope
from .exchange import tell_errors
from .fence import fence_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.client.log import ClientLog

    from .exchange import Exchange
    from .fence import SendFence

# Connecting is quick or it is broken; the rest of a request's time belongs to the answer. It must end before the
# whole request does: httpcore closes a socket whose TLS handshake timed out, but not one that was cancelled.
_CONNECT_S = 10.0
# A peer that takes no bytes for this long is gone; also the longest that a byte may follow the fence.
_WRITE_S = 10.0
# Groups keep the number of requests small; this bounds sockets when a caller runs thousands of single tasks at once.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=50, keepalive_expiry=15.0)


def open_session() -> httpx.AsyncClient:
    """Make the HTTP client that one `Runware` shares between all its services."""
    return httpx.AsyncClient(limits=_LIMITS, headers={"User-Agent": user_agent()}, follow_redirects=False)


class _SendWindowPassedError(Exception):
    """Raised inside a write hook to keep the bytes here."""


class _WriteWatch:
    """Stand at the moment of writing: ask the fence last thing, and remember whether bytes could have left.

    httpcore calls trace hooks directly before it writes the head and the body of a request, after the pool, DNS,
    connect and TLS are done; an exception in a hook stops the write. A session that a caller brought along may
    have no hooks: until one was called its requests count as written.
    """

    def __init__(self, fence: SendFence, *, has_hooks: bool) -> None:
        self._fence = fence
        self.has_hooks = has_hooks
        self.was_written = False

    async def __call__(self, event: str, fields: Mapping[str, Any]) -> None:
        self.has_hooks = True
        if getattr(fields.get("request"), "method", None) == b"CONNECT":  # a proxy's tunnel, not the request
            return
        if event.endswith(("send_request_headers.started", "send_request_body.started")):
            if self._fence.has_passed():
                # With the head out and the body kept the platform has no task either.
                self.was_written = False
                raise _SendWindowPassedError
            self.was_written = True


class RestTransport:
    """POST to one URL. `session` is borrowed from the caller; closing it is not this object's business."""

    def __init__(
        self,
        session: httpx.AsyncClient,
        url: str,
        api_key: str,
        log: ClientLog,
        *,
        is_own_session: bool,
        is_dry_run: bool = False,
    ) -> None:
        self._session = session
        self._is_own_session = is_own_session
        self._url = url
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent(),
            **dry_run_headers(is_dry_run=is_dry_run),
        }
        self._log = log

    @property
    def is_connected(self) -> bool:
        """Whether requests can be made; HTTP itself connects on demand."""
        return not self._session.is_closed

    async def connect(self) -> None:
        """Do nothing: HTTP connects on demand."""

    async def close(self) -> None:
        """Do nothing: the session belongs to whoever opened it."""

    async def exchange(self, exchange: Exchange) -> Reply:
        """POST once. Never raises but on cancellation; never sends twice."""
        watch = _WriteWatch(exchange.fence, has_hooks=self._is_own_session)
        if exchange.fence.has_passed():
            return failed(fence_error(), was_written=False)
        self._log.write("request", "post", {"tasks": len(exchange.group.tasks)})
        try:
            async with asyncio.timeout(exchange.timeout_s):
                reply = await self._post(exchange, watch)
        except _SendWindowPassedError:
            return failed(fence_error(), was_written=False)
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            TimeoutError,
            _AnswerTooLargeError,
            RuntimeError,
            OSError,
        ) as error:
            reply = failed(_told(error), was_written=_may_have_left(error, watch))
            self._log.write("error", "post_failed", {"reason": repr(error), "was_written": reply.was_written})
            return reply
        self._log.write("receive", "answer", {"status": reply.status_code, "tasks": len(reply.by_task)})
        tell_errors(self._log, reply)
        return reply

    async def _post(self, exchange: Exchange, watch: _WriteWatch) -> Reply:
        wait_s = exchange.timeout_s
        request = self._session.build_request(
            "POST",
            self._url,
            content=exchange.group.body(),
            headers=self._headers,
            timeout=httpx.Timeout(
                connect=min(_CONNECT_S, wait_s / 2),
                write=min(_WRITE_S, wait_s),
                read=wait_s,
                pool=wait_s,
            ),
            extensions={"trace": watch},
        )
        # Whatever a session brought along would do: a POST that is redirected becomes another request elsewhere.
        response = await self._session.send(request, stream=True, follow_redirects=False)
        try:
            body = await _read_up_to(response, exchange.answer_limit_bytes)
        finally:
            await response.aclose()
        return read_envelope(
            body,
            status_code=response.status_code,
            retry_after_s=parse_retry_after(response.headers.get("retry-after")),
        )


class _AnswerTooLargeError(Exception):
    """The answer grew beyond what the caller allowed for."""


async def _read_up_to(response: httpx.Response, limit_bytes: int | None) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    async for part in response.aiter_bytes():
        size_bytes += len(part)
        if limit_bytes is not None and size_bytes > limit_bytes:
            raise _AnswerTooLargeError(f"more than {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _may_have_left(error: Exception, watch: _WriteWatch) -> bool:
    if watch.has_hooks:
        return watch.was_written
    return not isinstance(
        error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.InvalidURL
    )


def _told(error: Exception) -> RunwareError:
    match error:
        case httpx.TimeoutException() | TimeoutError():
            raw_code, what = REQUEST_TIMEOUT, "The request ran into its time limit"
        case httpx.ConnectError() | httpx.InvalidURL():
            raw_code, what = CONNECTION_FAILED, "No connection to the platform"
        case _AnswerTooLargeError():
            raw_code, what = ANSWER_TOO_LARGE, "The answer is too large to be read in one piece"
        case _:
            raw_code, what = CONNECTION_LOST, "The connection broke during the request"
    # An exception of a library may quote a header or a URL, and with it a key.
    return create_runware_error(raw_code, f"{what}: {masked_text(str(error)) or type(error).__name__}.")
