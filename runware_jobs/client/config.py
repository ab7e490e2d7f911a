"""The options of the client: names, defaults, units and their checks.

The names and the milliseconds are those that users of Runware's SDK know. Nothing here opens a
connection or reads a file; the environment is asked for `RUNWARE_API_KEY` only.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from .error_codes import ErrorCode
from .errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio

    import httpx

    from .log import LogSink

Callback = Callable[[dict[str, Any]], object | Awaitable[object]]


@dataclass(frozen=True, slots=True)
class RuntimeDependencies:
    """What a caller brings along; it stays the caller's to close.

    `ws_connect` is called like `websockets.connect(url, **options)` and its result is awaited.
    """

    session: httpx.AsyncClient | None = None
    ws_connect: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one `run()`. `timeout` is in milliseconds and replaces `poll_timeout`; None keeps the client's own.

    `on_result` gets each item once it is final (success or error), before `run()` returns or raises;
    `on_progress` gets an item whenever its `progress` changed. Both may be coroutine functions; what
    they raise is logged and changes nothing.
    """

    timeout: float | None = None
    cancel_event: asyncio.Event | None = None
    on_result: Callback | None = None
    on_progress: Callback | None = None
    validate: bool | None = None


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of one `stream()`. `timeout` is in milliseconds and limits the wait for the next piece."""

    timeout: float | None = None
    cancel_event: asyncio.Event | None = None
    validate: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SDKConfig:
    """Every option of `Runware(...)`. Times are milliseconds.

    `timeout` limits one HTTP call of `run()` and the utilities; `poll_timeout` all waiting of one `run()`.
    `submit_timeout` and `poll_request_timeout` limit one request of `submit_many` and of `poll_many`, connecting
    included; the group sizes are the most tasks that one such request carries.
    """

    api_key: str = field(default="", repr=False)
    transport: Literal["websocket", "rest"] = "websocket"
    http_base_url: str = "https://api.runware.ai/v1"
    ws_base_url: str = "wss://ws-api.runware.ai/v1"
    schemas_base_url: str = "https://schemas.runware.ai"
    content_base_url: str = "https://content.runware.ai"
    serverless_base_url: str = "https://api.serverless.runware.ai"
    timeout: float = 1_200_000
    poll_timeout: float = 1_200_000
    auth_timeout: float = 15_000
    submit_timeout: float = 30_000
    poll_request_timeout: float = 30_000
    max_retries: int = 3
    retry_delay: float = 1_000
    retry_strategy: Literal["exponential", "linear"] = "exponential"
    max_reconnect_attempts: float = math.inf
    submit_group_size: int = 50
    poll_group_size: int = 100
    encode_local_files: bool = True
    debug: bool = False
    validate: bool = False
    dependencies: RuntimeDependencies | None = None
    log_sink: LogSink | None = None


def read_config(options: dict[str, Any]) -> SDKConfig:
    """Check the options of `Runware(...)` and fill in what is left out (None counts as left out).

    Errors:
        ConfigurationError: an unknown option (with the nearest known one), no API key, or a value out of range.
    """
    known = {option.name for option in fields(SDKConfig)}
    for name in options:
        if name not in known:
            raise _refusal(name, f'Unknown option "{name}". Known options: {", ".join(sorted(known))}.')
    given = {name: value for name, value in options.items() if value is not None}
    # Stripped, since a key that was read from a file or pasted often brings a line end along.
    given["api_key"] = str(given.get("api_key") or os.environ.get("RUNWARE_API_KEY", "")).strip()
    config = SDKConfig(**given)
    _check(config)
    return config


def user_agent() -> str:
    """Name this client for the platform's logs."""
    system = platform.system() or "unknown"
    try:
        release = version("runware-jobs")
    except PackageNotFoundError:  # run from a source tree that was never installed
        release = "0"
    return (
        f"runware-jobs/{release} "
        f"(python/{platform.python_version()}; {system} {platform.machine() or 'unknown'})"
    )


def _check(config: SDKConfig) -> None:
    if not (config.api_key.isascii() and config.api_key.isprintable()):
        raise _refusal(
            "api_key", "The API key holds characters that no key has: copy it again from your account."
        )
    if not config.api_key:
        raise _refusal(
            "api_key", "No API key: pass api_key=... or set the environment variable RUNWARE_API_KEY."
        )
    if config.transport not in {"websocket", "rest"}:
        raise _refusal("transport", f'transport is "{config.transport}": use "websocket" or "rest".')
    if config.retry_strategy not in {"exponential", "linear"}:
        raise _refusal(
            "retry_strategy", f'retry_strategy is "{config.retry_strategy}": use "exponential" or "linear".'
        )
    for name, schemes in _URL_SCHEMES.items():
        parts = urlsplit(getattr(config, name))
        if parts.scheme not in schemes or not parts.netloc:
            raise _refusal(
                name, f'{name} is "{getattr(config, name)}": use a URL that starts with {schemes[0]}://.'
            )
    for name in ("timeout", "poll_timeout", "auth_timeout", "submit_timeout", "poll_request_timeout"):
        _require(config, name, lambda value: value > 0, "use milliseconds above 0")
    for name in ("submit_group_size", "poll_group_size"):
        _require(config, name, lambda value: value >= 1, "use 1 or more tasks")
    for name in ("max_retries", "retry_delay", "max_reconnect_attempts"):
        _require(config, name, lambda value: value >= 0, "use 0 or more")


_URL_SCHEMES = {
    "http_base_url": ("https", "http"),
    "ws_base_url": ("wss", "ws"),
    "schemas_base_url": ("https", "http"),
    "content_base_url": ("https", "http"),
    "serverless_base_url": ("https", "http"),
}


def _require(config: SDKConfig, name: str, holds: Callable[[float], bool], remedy: str) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise _refusal(name, f"{name} is {value!r}: {remedy}.")


def _refusal(name: str, message: str) -> ConfigurationError:
    return ConfigurationError(
        message, code=ErrorCode.VALIDATION, parameter=name, raw_code="invalidConfiguration"
    )
