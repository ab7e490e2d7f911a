"""One request to a side service of the platform (schemas, content, serverless), and its repetition.

Plain HTTP beside the two transports: these services know no tasks and no groups. Whatever fails on
the way is a `RunwareError` here; what an answer means is for the callers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import orjson

from runware_jobs.client.error_codes import (
    CONNECTION_FAILED,
    CONNECTION_LOST,
    REQUEST_TIMEOUT,
    UNREADABLE_ANSWER,
)
from runware_jobs.client.errors import RunwareError, create_runware_error
from runware_jobs.client.parts import pause_before_retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runware_jobs.client.parts import Parts

Value = TypeVar("Value")

# Connecting is quick or it is broken; the rest of the time belongs to the answer.
_CONNECT_S = 10.0


async def fetch(
    session: httpx.AsyncClient,
    url: str,
    *,
    timeout_s: float,
    method: str = "GET",
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
) -> httpx.Response:
    """Send one request and read its whole answer, whatever its status. `timeout_s` limits all of it.

    Redirects are answers like others: a key in `headers` goes to no other server.

    Errors:
        RunwareError: `timeout` or `connection`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await session.request(
                method,
                url,
                params=query or None,
                headers=headers,
                content=content,
                timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
                follow_redirects=False,
            )
    except (httpx.TimeoutException, TimeoutError) as error:
        raise _failure(REQUEST_TIMEOUT, f"No answer within {timeout_s:g} s", url, error) from error
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise _failure(CONNECTION_FAILED, "No connection", url, error) from error
    except (
        httpx.HTTPError,
        RuntimeError,
        OSError,
    ) as error:  # RuntimeError: the session was closed meanwhile
        raise _failure(CONNECTION_LOST, "The connection broke", url, error) from error


async def repeated(parts: Parts, ask: Callable[[], Awaitable[Value]]) -> Value:
    """Ask until there is an answer or an error that is not asked again (the one table of `backoff`)."""
    attempt = 0
    while True:
        try:
            return await ask()
        except RunwareError as error:
            await pause_before_retry(parts, error, attempt)
            attempt += 1


def read_json(response: httpx.Response, expected: type[Value]) -> Value:
    """Read a JSON answer of the expected kind (`dict` or `list`).

    Errors:
        RunwareError (serverError): the body is no JSON, or of another kind.
    """
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, expected):
        return value
    raise unreadable(response)


def unreadable(response: httpx.Response) -> RunwareError:
    """Say that an answer has not the shape that it should have."""
    return create_runware_error(
        UNREADABLE_ANSWER,
        f"The answer of {_place(str(response.url))} is not what was asked for (HTTP {response.status_code}).",
        status_code=response.status_code,
    )


def _failure(raw_code: str, what: str, url: str, error: Exception) -> RunwareError:
    return create_runware_error(raw_code, f"{what}: {_place(url)} ({str(error) or type(error).__name__}).")


def _place(url: str) -> str:
    """Name a URL without its query, which may hold what a user searched for."""
    return url.partition("?")[0]
