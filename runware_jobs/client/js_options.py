"""The options of the platform's JS SDK, read as ours: in camelCase, or in snake_case.

| JS                 | ours                     |                                                             |
|--------------------|--------------------------|-------------------------------------------------------------|
| `apiKey`           | `api_key`                |                                                             |
| `url`              | both base URLs           | the one of its scheme as it is, the other derived from it   |
| `shouldReconnect`  | `max_reconnect_attempts` | False is 0; True leaves our own                             |
| `globalMaxRetries` | `max_retries`            | tries in all, so one more than retries                      |
| `timeoutDuration`  | `timeout`                | milliseconds per attempt                                    |
| `heartbeatInterval`| `heartbeat_interval`     | milliseconds                                                |
| `enableLogging`    | `debug`                  |                                                             |
| `dryRun`           | `dry_run`                |                                                             |

Options that are left out keep the defaults of this client, not those of the JS SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from .option_checks import refused_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OTHER_SCHEME = {"wss": "https", "ws": "http", "https": "wss", "http": "ws"}
# The platform's two services have hosts of their own; everybody else's URL is one host that speaks both.
_OTHER_HOST = {"ws-api.runware.ai": "api.runware.ai", "api.runware.ai": "ws-api.runware.ai"}


def translate_js_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Rename and convert what is named as in the JS SDK; everything else stays as it is.

    A base URL that is given by its own name goes before one that `url` would set.

    Errors:
        ConfigurationError: an option given twice under two names, or a value of the wrong kind.
    """
    own = {name: value for name, value in options.items() if name not in _READERS}
    read_from: dict[str, str] = {}
    for name, value in options.items():
        if name not in _READERS or value is None:
            continue
        for field, translated in _READERS[name](name, value).items():
            twin = read_from.get(field) or (field if own.get(field) is not None else None)
            if twin is not None and name != "url":
                raise refused_option(name, f'"{name}" and "{twin}" are the same option: pass one of them.')
            if twin is None:
                own[field] = translated
                read_from[field] = name
    return own


def _url(name: str, value: object) -> dict[str, Any]:
    other = _other_base_url(value) if isinstance(value, str) else None
    if not isinstance(value, str) or other is None:
        raise refused_option(name, f"{name} is {value!r}: use a URL that starts with wss:// or https://.")
    is_socket = value.lower().startswith("ws")
    return (
        {"ws_base_url": value, "http_base_url": other}
        if is_socket
        else {
            "http_base_url": value,
            "ws_base_url": other,
        }
    )


def _other_base_url(url: str) -> str | None:
    """Derive the base URL of the other transport, so that no request goes to a server that was not named."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    scheme = _OTHER_SCHEME.get(parts.scheme)
    if scheme is None or not host:
        return None
    netloc = parts.netloc
    if host in _OTHER_HOST:
        netloc = _OTHER_HOST[host] if port is None else f"{_OTHER_HOST[host]}:{port}"
    return urlunsplit((scheme, netloc, parts.path, "", ""))


def _reconnects(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, bool):
        raise refused_option(name, f"{name} is {value!r}: use True or False.")
    return {} if value else {"max_reconnect_attempts": 0}


def _retries(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refused_option(name, f"{name} is {value!r}: use a number of tries, 0 or more.")
    return {"max_retries": max(0, value - 1)}


def _renamed(field: str) -> Callable[[str, object], dict[str, Any]]:
    return lambda _name, value: {field: value}


_READERS: dict[str, Callable[[str, object], dict[str, Any]]] = {
    "apiKey": _renamed("api_key"),
    "dryRun": _renamed("dry_run"),
    "enableLogging": _renamed("debug"),
    "enable_logging": _renamed("debug"),
    "globalMaxRetries": _retries,
    "global_max_retries": _retries,
    "heartbeatInterval": _renamed("heartbeat_interval"),
    "shouldReconnect": _reconnects,
    "should_reconnect": _reconnects,
    "timeoutDuration": _renamed("timeout"),
    "timeout_duration": _renamed("timeout"),
    "url": _url,
}
JS_OPTION_NAMES = frozenset(_READERS)
