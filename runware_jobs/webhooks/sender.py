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
from runware_jobs.outgoing import (
    Answer,
    BrokenAnswer,
    HostPlaces,
    NameNotFound,
    NotConnected,
    Poster,
    Resolver,
    TooLate,
    ask_system,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

# Standard Webhooks asks senders to wait 15 to 30 seconds for a receiver.
DEFAULT_TIMEOUT_S: Final = 15.0
# Enough to read an error page by, little enough to keep one with each attempt.
DEFAULT_ANSWER_BYTES: Final = 4096
DEFAULT_PER_HOST: Final = 8
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class FailureReason(StrEnum):
    """Why a webhook was not delivered; stored with the attempt, shown to people."""

    ADDRESS_REFUSED = "address_refused"
    NAME_NOT_FOUND = "name_not_found"
    BUSY = "busy"
    LATE = "late"
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
    sentence for people, without the URL. For `BUSY` and `LATE` nothing was tried: all
    places of the host were taken for the whole time, or it might not be sent any more.
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
        self._poster = Poster(
            allow_private=allow_private,
            resolver=resolver,
            ssl_context=ssl_context if ssl_context is not None else httpx.create_ssl_context(),
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
        await self._poster.aclose()

    async def send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        may_send: Callable[[], bool] = lambda: True,
    ) -> SendResult:
        """Post the body, JSON, with these headers and say what came of it.

        `may_send` is asked when there is a connection and before the first byte is
        written: False, and nothing leaves. Sending twice delivers twice: receivers tell
        by `webhook-id`. Raises only `CancelledError`; the receiver may have got the body then.
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
            return await self._post(location, body, headers, may_send)

    async def _post(
        self, location: Location, body: bytes, headers: Mapping[str, str], may_send: Callable[[], bool]
    ) -> SendResult:
        stopwatch = _Stopwatch()
        try:
            answer = await self._poster.post(
                location,
                body,
                {"Content-Type": "application/json", **headers},
                timeout_s=self._timeout_s,
                max_answer_bytes=self._max_answer_bytes,
                may_send=may_send,
            )
        except (AddressRefused, NameNotFound, NotConnected, BrokenAnswer, TooLate, TimeoutError) as error:
            reason, detail = _explain(error)
            return stopwatch.failed(reason, detail=detail)
        return self._judge(answer, stopwatch)

    def _judge(self, answer: Answer, stopwatch: _Stopwatch) -> SendResult:
        status_code, said = answer.status_code, bytes(answer.body)
        if 200 <= status_code < 300:  # noqa: PLR2004  what HTTP calls successful
            return Delivered(status_code, stopwatch.elapsed_ms(), said)
        if status_code == HTTPStatus.GONE:
            return Gone(stopwatch.elapsed_ms(), said)
        if status_code in _REDIRECTS and "location" in answer.headers:
            return stopwatch.failed(
                FailureReason.REDIRECT,
                detail="the receiver redirects, which we do not follow; set its final URL",
                status_code=status_code,
                answer=said,
            )
        return stopwatch.failed(
            FailureReason.STATUS,
            detail=f"the receiver answered {status_code}",
            status_code=status_code,
            retry_after_s=read_retry_after(answer.headers.get("retry-after"), now=self._now()),
            answer=said,
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
    return FailureReason.BROKEN_ANSWER, "the receiver broke off or answered no valid HTTP"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


# None as the sentence stands for the error's own.
_EXPLANATIONS: Final[tuple[tuple[type[Exception], FailureReason, str | None], ...]] = (
    (AddressRefused, FailureReason.ADDRESS_REFUSED, None),
    (NameNotFound, FailureReason.NAME_NOT_FOUND, None),
    (TooLate, FailureReason.LATE, "its time had passed before it could be sent"),
    (TimeoutError, FailureReason.TIMEOUT, "the receiver did not answer in time"),
    (NotConnected, FailureReason.CONNECT, "no connection could be opened"),
)
