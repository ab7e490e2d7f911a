"""One webhook, sent once: a POST whose outcome is a value.

Signs nothing, retries nothing, stores nothing. A failure of the network or of the
receiver is never an exception: the caller decides by matching on `SendResult`.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from runware_jobs.core.addresses import AddressRefused, Location, locate
from runware_jobs.core.delivery import read_retry_after
from runware_jobs.outgoing import HostPlaces, NameNotFound, Resolver, ask_system, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

# Standard Webhooks asks senders to wait 15 to 30 seconds for a receiver.
DEFAULT_TIMEOUT_S: Final = 15.0
# Enough to read an error page by, little enough to keep one with each attempt.
DEFAULT_ANSWER_BYTES: Final = 4096
DEFAULT_PER_HOST: Final = 8


class FailureReason(StrEnum):
    """Why a webhook was not delivered; stored with the attempt, shown to people."""

    ADDRESS_REFUSED = "address_refused"
    NAME_NOT_FOUND = "name_not_found"
    BUSY = "busy"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    BROKEN_ANSWER = "broken_answer"
    REDIRECT = "redirect"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver said 2xx. `answer` is the beginning of what else it said."""

    status_code: int
    duration_ms: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Not delivered, or not known to be: to be sent again with the same id.

    `status_code` and `retry_after_s` are None where no answer came. `detail` is one
    sentence for people, without the URL. For `BUSY` nothing was tried: all places of
    the host were taken for the whole time, which is no fault of the receiver's.
    """

    reason: FailureReason
    status_code: int | None
    retry_after_s: float | None
    duration_ms: int
    answer: bytes
    detail: str


@dataclass(frozen=True, slots=True)
class Gone:
    """410: the receiver wants nothing any more; the endpoint is to be disabled."""

    duration_ms: int
    answer: bytes
    status_code: int = HTTPStatus.GONE


SendResult = Delivered | Failed | Gone


class WebhookSender:
    """Sends webhooks through the guard; open it with `async with`.

    `timeout_s` bounds one sending from the name's resolution to the last byte that
    is read, and before that the wait for a place: the host's own, `per_host` at
    once. Of an answer at most `max_answer_bytes` are read.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_answer_bytes: int = DEFAULT_ANSWER_BYTES,
        per_host: int = DEFAULT_PER_HOST,
        resolver: Resolver = ask_system,
        ssl_context: ssl.SSLContext | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._places = HostPlaces(per_host)
        self._now = now
        self._client = open_client(
            allow_private=allow_private, timeout_s=timeout_s, resolver=resolver, ssl_context=ssl_context
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a sending that is under way fails."""
        await self._client.aclose()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> SendResult:
        """Post the body, JSON, with these headers and say what came of it.

        Sending twice delivers twice: receivers tell by `webhook-id`. Raises only
        `CancelledError`; the receiver may have got the body then.
        """
        stopwatch = _Stopwatch()
        try:
            location = locate(url, allow_private=self._allow_private)
        except AddressRefused as error:
            return stopwatch.failed(FailureReason.ADDRESS_REFUSED, detail=str(error))
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await held.enter_async_context(self._places.take(location.host))
            except TimeoutError:
                return stopwatch.failed(
                    FailureReason.BUSY, detail=f"other deliveries to '{location.host}' took all places"
                )
            return await self._post(location, body, headers)

    async def _post(self, location: Location, body: bytes, headers: Mapping[str, str]) -> SendResult:
        stopwatch = _Stopwatch()
        response: httpx.Response | None = None
        answer = bytearray()
        request = {"Content-Type": "application/json", **headers}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", location.url, content=body, headers=request) as response,
            ):
                # Raw, as it came: unpacking could make megabytes of a few bytes.
                async for chunk in response.aiter_raw():
                    answer += chunk[: self._max_answer_bytes - len(answer)]
                    if len(answer) >= self._max_answer_bytes:
                        break
        except (AddressRefused, NameNotFound, TimeoutError, httpx.TransportError) as error:
            if response is None:
                reason, detail = _explain(error)
                return stopwatch.failed(reason, detail=detail)
            # The status line was the receiver's verdict; what broke after it is its prose.
        return self._judge(response, stopwatch, bytes(answer))

    def _judge(self, response: httpx.Response, stopwatch: _Stopwatch, answer: bytes) -> SendResult:
        status_code = response.status_code
        if response.is_success:
            return Delivered(status_code, stopwatch.elapsed_ms(), answer)
        if status_code == HTTPStatus.GONE:
            return Gone(stopwatch.elapsed_ms(), answer)
        if response.has_redirect_location:
            return stopwatch.failed(
                FailureReason.REDIRECT,
                detail="the receiver redirects, which we do not follow; set its final URL",
                status_code=status_code,
                answer=answer,
            )
        return stopwatch.failed(
            FailureReason.STATUS,
            detail=f"the receiver answered {status_code}",
            status_code=status_code,
            retry_after_s=read_retry_after(response.headers.get("Retry-After"), now=self._now()),
            answer=answer,
        )


class _Stopwatch:
    """Milliseconds since it was made, on the loop's clock."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._started = self._clock()

    def elapsed_ms(self) -> int:
        return round((self._clock() - self._started) * 1000)

    def failed(
        self,
        reason: FailureReason,
        *,
        detail: str,
        status_code: int | None = None,
        retry_after_s: float | None = None,
        answer: bytes = b"",
    ) -> Failed:
        return Failed(reason, status_code, retry_after_s, self.elapsed_ms(), answer, detail)


def _explain(error: Exception) -> tuple[FailureReason, str]:
    """Return why there was no answer, and one sentence about it for people."""
    for cause in _causes(error):  # a failed handshake comes as a failed connect
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FailureReason.TLS, f"the certificate was not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return FailureReason.TLS, "the TLS handshake failed"
    for kind, reason, detail in _EXPLANATIONS:
        if isinstance(error, kind):
            return reason, detail or str(error)
    return FailureReason.BROKEN_ANSWER, "the connection broke before an answer came"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


# None as the sentence stands for the error's own.
_EXPLANATIONS: Final[tuple[tuple[type[Exception], FailureReason, str | None], ...]] = (
    (AddressRefused, FailureReason.ADDRESS_REFUSED, None),
    (NameNotFound, FailureReason.NAME_NOT_FOUND, None),
    (httpx.PoolTimeout, FailureReason.BUSY, "other deliveries took all connections"),
    (httpx.TimeoutException, FailureReason.TIMEOUT, "the receiver did not answer in time"),
    (TimeoutError, FailureReason.TIMEOUT, "the receiver did not answer in time"),
    (httpx.ProtocolError, FailureReason.BROKEN_ANSWER, "the receiver broke off or answered no valid HTTP"),
    (httpx.ConnectError, FailureReason.CONNECT, "no connection could be opened"),
)
