"""What the client tells about itself: entries of ten categories to one sink.

Without a sink entries go to the stdlib logger `runware`; with `debug=False` they go nowhere.
Keys and media bytes never leave this module: they are masked before a sink sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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
    """Where the client writes. With `enabled=False` an entry costs one comparison."""

    def __init__(self, *, enabled: bool, sink: LogSink | None = None) -> None:
        self._enabled = enabled
        self._sink = sink or _to_stdlib

    def write(self, category: Category, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell one thing. A sink that raises is reported once on the stdlib logger and never stops a request."""
        if not self._enabled:
            return
        entry = LogEntry(category, message, None if data is None else masked(data))
        try:
            self._sink(entry)
        except Exception:
            _LOGGER.exception("log_sink_failed")


def masked(value: Any) -> Any:
    """Copy JSON-like data with keys and media bytes taken out."""
    if isinstance(value, Mapping):
        return {
            key: "***" if str(key).lower() in _SECRET_KEYS else masked(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        if value.startswith("data:"):
            return f"<data URI of {len(value)} characters>"
        if len(value) > _MAX_TEXT:
            return f"<{len(value)} characters>"
    return value


def _to_stdlib(entry: LogEntry) -> None:
    level = _LEVELS.get(entry.category, logging.DEBUG)
    _LOGGER.log(level, "%s %s %s", entry.category, entry.message, entry.data or {})
