"""The options of the client: names, defaults and units; `option_checks` says which values they take.

The names and the milliseconds are those that users of Runware's SDK know. Nothing here opens a
connection or reads a file; the environment is asked for `RUNWARE_API_KEY` only.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from .js_options import JS_OPTION_NAMES, translate_js_options
from .option_checks import check_names, check_timeout, check_values, refused_option

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
    """Options of one `run()`.

    `timeout`: milliseconds, instead of the client's `poll_timeout`. `cancel_event`: once it is set, `run()` stops
    waiting and raises `aborted`; a task that was submitted runs on and is billed. `on_result` gets each item once it
    is final (success or error), before `run()` returns or raises; `on_progress` an item whenever its `progress`
    changed. Both may be coroutine functions; what they raise is logged and changes nothing. `validate`: instead of
    the client's own. None is always "as the client".

    Errors:
        ConfigurationError: a `timeout` that is no number above 0.
    """

    timeout: float | None = None
    cancel_event: asyncio.Event | None = None
    on_result: Callback | None = None
    on_progress: Callback | None = None
    validate: bool | None = None

    def __post_init__(self) -> None:
        check_timeout(self.timeout)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of one `stream()`. `timeout` (ms) limits the whole of it, from the first read to the end.

    None keeps the client's own `timeout`.
    """

    timeout: float | None = None
    cancel_event: asyncio.Event | None = None
    validate: bool | None = None

    def __post_init__(self) -> None:
        check_timeout(self.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class SDKConfig:
    """Every option of `Runware(...)`. Times are milliseconds.

    `timeout` limits one HTTP call of `run()` and the utilities; `poll_timeout` all waiting of one `run()`.
    `submit_timeout` and `poll_request_timeout` limit one request of `submit_many` and of `poll_many`, connecting
    included; the group sizes are the most tasks that one such request carries. `max_retries` counts tries after
    the first, of one request; `max_reconnect_attempts` those of a WebSocket that went down. `heartbeat_interval`
    is the pause between signs of life on a quiet WebSocket; the platform closes one after 120 s without. With
    `encode_local_files` strings in media parameters that name a media file are read, as `Path` objects and bytes
    are. `validate` checks parameters before they are sent. With `dry_run` the platform checks and prices
    requests, and neither runs nor bills them. `serverless_environment` is where
    `invoke()` and its like look for an app, None for production.
    """

    api_key: str = field(default="", repr=False)
    transport: Literal["websocket", "rest"] = "websocket"
    http_base_url: str = "https://api.runware.ai/v1"
    ws_base_url: str = "wss://ws-api.runware.ai/v1"
    schemas_base_url: str = "https://schemas.runware.ai"
    content_base_url: str = "https://content.runware.ai"
    serverless_base_url: str = "https://api.serverless.runware.ai"
    serverless_environment: str | None = None
    timeout: float = 1_200_000
    poll_timeout: float = 1_200_000
    auth_timeout: float = 15_000
    submit_timeout: float = 30_000
    poll_request_timeout: float = 30_000
    max_retries: int = 3
    retry_delay: float = 1_000
    retry_strategy: Literal["exponential", "linear"] = "exponential"
    max_reconnect_attempts: float = math.inf
    heartbeat_interval: float = 30_000
    submit_group_size: int = 50
    poll_group_size: int = 100
    encode_local_files: bool = True
    debug: bool = False
    validate: bool = False
    dry_run: bool = False
    dependencies: RuntimeDependencies | None = None
    log_sink: LogSink | None = None


# Whom to call may stand in the environment, RUNWARE_HTTP_BASE_URL and so on: an emulator in place of the platform.
_ADDRESSES = ("http_base_url", "ws_base_url", "schemas_base_url", "content_base_url", "serverless_base_url")


def read_config(options: Mapping[str, Any] | None = None, /, **more: Any) -> SDKConfig:
    """Check the options of `Runware(...)` and fill in what is left out (None counts as left out).

    The key and the addresses may stand in the environment: `RUNWARE_API_KEY`, `RUNWARE_HTTP_BASE_URL` and so on.
    The options of the platform's JS SDK are read too; see `js_options`.

    Errors:
        ConfigurationError: an unknown option (with the nearest known one), no API key, or a value of the wrong
            kind or out of range.
    """
    if options is not None and not isinstance(options, Mapping):
        raise refused_option(
            "options", "Runware(...) takes its options by name, as api_key=..., or as one dict of them."
        )
    options = {**(options or {}), **more}
    known = {option.name for option in fields(SDKConfig)}
    check_names(options, known | JS_OPTION_NAMES)
    given = {name: value for name, value in translate_js_options(options).items() if value is not None}
    for name in _ADDRESSES:
        address = os.environ.get(f"RUNWARE_{name.upper()}")
        if address and name not in given:
            given[name] = address
    api_key = given.get("api_key") or os.environ.get("RUNWARE_API_KEY", "")
    # Stripped, since a key that was read from a file or pasted often brings a line end along.
    given["api_key"] = api_key.strip() if isinstance(api_key, str) else api_key
    config = SDKConfig(**given)
    check_values(config)
    return config


def read_run_options(options: RunOptions | None) -> RunOptions:
    """Check the options of one call; None is none.

    Errors:
        ConfigurationError: they are no `RunOptions`.
    """
    if options is None:
        return RunOptions()
    if not isinstance(options, RunOptions):
        raise refused_option(
            "options", f"The options of a call are a {type(options).__name__}: pass RunOptions(...)."
        )
    return options


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


def dry_run_headers(*, is_dry_run: bool) -> dict[str, str]:
    """Give the header by which the platform checks and prices a request without running it; {} for none."""
    return {"X-Runware-Dry-Run": "1"} if is_dry_run else {}
