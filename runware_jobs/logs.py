"""Log lines: one event each, ids as fields; readable in a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys

import structlog


class _Stderr:
    """Whatever is `sys.stderr` at the moment: who exchanges or closes it later breaks no log line."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logs(level: int = logging.INFO) -> None:
    """Send this package's events to stderr. Called by shells, never by a library import."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    # A line per request of the transport says less than our own line per group.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(_Stderr()),  # type: ignore[arg-type]  # all that it asks of a file
        cache_logger_on_first_use=True,
    )
