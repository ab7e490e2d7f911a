"""What the client tells about itself: entries of ten categories to one sink.

Without a sink entries go to the stdlib logger `runware`; with `debug=False` they go nowhere.
Keys and media bytes never leave this module: they are masked before a sink sees them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

Category = Literal[
    "connection", "auth", "heartbeat", "send", "receive", "request", "retry", "error", "warn", "info"
]
CATEGORIES: tuple[Category, ...] = get_args(Category)

_LOGGER = logging.getLogger("runware")
_LEVELS: dict[Category, int] = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "retry": logging.WARNING,
    "info": logging.INFO,
}
_SECRET_KEYS = frozenset({"apikey", "api_key", "authorization", "connectionsessionuuid", "token", "secret"})
# Names of parameters and results that may hold media; a link or a UUID under them is told as it is.
_MEDIA_KEYS = re.compile(r"(image|images|video|videos|audio|media|mask|base64data|datauri)$", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What a key looks like inside of other text: a URL, a header, the message of an exception.
_IN_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^/@\s]+@"), "://***@"),
    (
        re.compile(
            r"([?&][^=&\s]*(?:key|token|secret|signature|password|credential)[^=&\s]*=)[^&\s'\"]+",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (re.compile(r"(Bearer\s+)[^\s'\"]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"data:[\w.+/-]+;base64,[A-Za-z0-9+/=_-]+"), "<data URI>"),
    (re.compile(r"[A-Za-z0-9+/]{100,}={0,2}"), "<base64>"),
)
# Long enough for any prompt that helps and far shorter than any media: longer text is told by its length.
_MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that happened; `data` is masked, `timestamp` is aware UTC."""

    category: Category
    message: str
    data: Mapping[str, Any] | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))


LogSink = Callable[[LogEntry], None]


class ClientLog:
    """Where the client writes. With `enabled=False` an entry costs one comparison.

    `secrets` are taken out of every text, wherever they stand.
    """

    def __init__(self, *, enabled: bool, sink: LogSink | None = None, secrets: Sequence[str] = ()) -> None:
        self.is_enabled = enabled
        self._sink = sink or _to_stdlib
        self._secrets = tuple(secret for secret in secrets if secret)

    def write(self, category: Category, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell one thing. A sink that raises is reported once on the stdlib logger and never stops a request."""
        if not self.is_enabled:
            return
        entry = LogEntry(category, message, None if data is None else masked(data, secrets=self._secrets))
        try:
            self._sink(entry)
        except Exception:
            _LOGGER.exception("log_sink_failed")


def masked(value: Any, *, secrets: Sequence[str] = ()) -> Any:
    """Copy JSON-like data with keys and media bytes taken out; an exception is told by its text."""
    if isinstance(value, Mapping):
        return {key: _masked_field(str(key), item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, secrets=secrets) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseException):
        return masked_text(repr(value), secrets=secrets)
    return masked_text(value, secrets=secrets) if isinstance(value, str) else value


def masked_text(text: str, *, secrets: Sequence[str] = ()) -> str:
    """Give a text without keys and media; a very long one by its length."""
    if text.startswith("data:"):
        return f"<data URI of {len(text)} characters>"
    if len(text) > _MAX_TEXT:
        return f"<{len(text)} characters>"
    for secret in secrets:
        text = text.replace(secret, "***")
    for pattern, instead in _IN_TEXT:
        text = pattern.sub(instead, text)
    return text


def _masked_field(key: str, value: Any, secrets: Sequence[str]) -> Any:
    if key.lower() in _SECRET_KEYS:
        return "***"
    if _MEDIA_KEYS.search(key):
        if isinstance(value, str) and _BASE64.fullmatch(value) and not _UUID.fullmatch(value):
            return f"<{len(value)} characters of media>"
        if isinstance(value, list | tuple):
            return [_masked_field(key, item, secrets) for item in value]
    return masked(value, secrets=secrets)


def _to_stdlib(entry: LogEntry) -> None:
    level = _LEVELS.get(entry.category, logging.DEBUG)
    _LOGGER.log(level, "%s %s %s", entry.category, entry.message, entry.data or {})
