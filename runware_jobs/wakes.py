"""Wakes: a hint to the workers that something was enqueued, sent from a thread of its own.

A wake is worth one second: without it the worker's clock finds the row. So a
producer never waits for the broker, a wake is tried once, at most one goes out per
50 ms, and after an error the broker is left alone for a while.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger()
_INTERVAL_S: Final = 0.05
_SILENCE_S: Final = 5.0


class Waker:
    """Sends wakes through `send`, a blocking function that may raise anything."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._due = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def wake(self) -> None:
        """Ask for a wake soon; returns at once. Many calls make one message."""
        self._due.set()
        if self._thread is None or self._pid != os.getpid():
            # Also after a fork: threads do not survive it.
            self._pid = os.getpid()
            self._thread = threading.Thread(target=self._run, name="runware-jobs-wakes", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Send what is due and stop; waits for at most a second."""
        if self._thread is not None and self._pid == os.getpid():
            self._closed.set()
            self._due.set()
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._due.wait()
            if self._closed.is_set() and not self._due.is_set():
                return
            self._due.clear()
            try:
                self._send()
            except Exception as error:  # noqa: BLE001  a hint that cannot be sent is no error of the producer
                _log.info("wake_not_sent", error=type(error).__name__, silent_for_s=_SILENCE_S)
                self._closed.wait(_SILENCE_S)
            else:
                self._closed.wait(_INTERVAL_S)
