"""The checks of the client's options: one clear error that names the option and what it takes."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from .error_codes import ErrorCode
from .errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .config import SDKConfig

_CHOICES = {
    "transport": ("websocket", "rest"),
    "retry_strategy": ("exponential", "linear"),
}
_URL_SCHEMES = {
    "http_base_url": ("https", "http"),
    "ws_base_url": ("wss", "ws"),
    "schemas_base_url": ("https", "http"),
    "content_base_url": ("https", "http"),
    "serverless_base_url": ("https", "http"),
}
_SWITCHES = ("debug", "dry_run", "encode_local_files", "validate")
_TIMES = (
    "timeout",
    "poll_timeout",
    "auth_timeout",
    "submit_timeout",
    "poll_request_timeout",
    "heartbeat_interval",
)


def refused_option(name: str, message: str) -> ConfigurationError:
    """Make the error of one option; `parameter` is its name."""
    return ConfigurationError(
        message, code=ErrorCode.VALIDATION, parameter=name, raw_code="invalidConfiguration"
    )


def check_names(given: Collection[str], known: Collection[str]) -> None:
    """Refuse the first name that no option has, and tell the nearest one."""
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
            hint = f' Did you mean "{nearest[0]}"?' if nearest else ""
            raise refused_option(
                str(name), f'Unknown option "{name}".{hint} Known options: {", ".join(sorted(known))}.'
            )


def check_values(config: SDKConfig) -> None:
    """Refuse the first value that is of the wrong kind or out of range."""
    _check_key(config.api_key)
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            told = " or ".join(f'"{choice}"' for choice in choices)
            raise refused_option(name, f"{name} is {getattr(config, name)!r}: use {told}.")
    for name in _SWITCHES:
        if not isinstance(getattr(config, name), bool):
            raise refused_option(name, f"{name} is {getattr(config, name)!r}: use True or False.")
    for name, schemes in _URL_SCHEMES.items():
        _check_url(name, getattr(config, name), schemes)
    for name in _TIMES:
        _check_number(config, name, lambda value: value > 0, "use milliseconds above 0")
    for name in ("submit_group_size", "poll_group_size"):
        _check_number(config, name, lambda value: value >= 1, "use 1 or more tasks", is_whole=True)
    _check_number(config, "retry_delay", lambda value: value >= 0, "use milliseconds, 0 or more")
    _check_number(config, "max_retries", lambda value: value >= 0, "use 0 or more", is_whole=True)
    _check_number(
        config,
        "max_reconnect_attempts",
        lambda value: value >= 0,
        "use a whole number of 0 or more, or math.inf",
        is_whole=config.max_reconnect_attempts != math.inf,
    )
    _check_injected(config)


def check_timeout(timeout: object) -> None:
    """Refuse a time limit of one call that is neither None nor a number of milliseconds above 0."""
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise refused_option("timeout", f"timeout is {timeout!r}: use milliseconds above 0, or None.")


def _check_key(api_key: object) -> None:
    if not isinstance(api_key, str):
        raise refused_option("api_key", f"api_key is a {type(api_key).__name__}: pass the key as a string.")
    if not api_key:
        raise refused_option(
            "api_key", "No API key: pass api_key=... or set the environment variable RUNWARE_API_KEY."
        )
    if not (api_key.isascii() and api_key.isprintable()):
        raise refused_option(
            "api_key", "The API key holds characters that no key has: copy it again from your account."
        )


def _check_url(name: str, value: object, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        is_url = parts is not None and parts.scheme in schemes and bool(parts.hostname)
        _ = parts.port if parts is not None else None  # a port that is no number raises here
    except ValueError:
        is_url = False
    if not is_url:
        raise refused_option(name, f"{name} is {value!r}: use a URL that starts with {schemes[0]}://.")


def _check_number(
    config: SDKConfig, name: str, holds: Callable[[float], bool], remedy: str, *, is_whole: bool = False
) -> None:
    value: Any = getattr(config, name)
    kinds = int if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not holds(value):
        raise refused_option(name, f"{name} is {value!r}: {remedy}.")


def _check_injected(config: SDKConfig) -> None:
    dependencies: Any = config.dependencies
    if dependencies is not None:
        missing = [name for name in ("session", "ws_connect") if not hasattr(dependencies, name)]
        if missing:
            raise refused_option(
                "dependencies",
                f"dependencies is of type {_kind(dependencies)}: "
                "pass RuntimeDependencies(session=httpx.AsyncClient(...), ws_connect=...).",
            )
        if dependencies.session is not None and not isinstance(dependencies.session, httpx.AsyncClient):
            raise refused_option(
                "dependencies",
                f"dependencies.session is of type {_kind(dependencies.session)}: this client speaks HTTP through "
                "httpx, so pass an httpx.AsyncClient.",
            )
        if dependencies.ws_connect is not None and not callable(dependencies.ws_connect):
            raise refused_option(
                "dependencies",
                f"dependencies.ws_connect is of type {_kind(dependencies.ws_connect)}: pass a function that is called "
                "like websockets.connect(url, **options).",
            )
    if config.log_sink is not None and not callable(config.log_sink):
        raise refused_option(
            "log_sink",
            f"log_sink is of type {_kind(config.log_sink)}: pass a function that takes one LogEntry.",
        )


def _kind(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
