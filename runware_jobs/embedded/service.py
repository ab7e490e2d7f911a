"""A program that runs under the supervisor, as its client sees it.

Every question opens a connection of its own, so that a thread may wait for a service while another stops it.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from runware_jobs.embedded import wire
from runware_jobs.embedded.errors import EmbeddedError, ServiceFailed
from runware_jobs.embedded.places import last_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runware_jobs.embedded.places import Places

_LOOK_AGAIN_S = 0.02


class Service:
    """A running or ended program: made by Engines.run_service."""

    def __init__(self, places: Places, answer: wire.Message, *, log_path: Path) -> None:
        self.name: str = answer["name"]
        self.pid: int = answer["pid"]
        self.log_path = log_path
        self._number: int = answer["service"]
        self._log_offset_bytes: int = answer["log_offset_bytes"]
        self._places = places
        self._returncode: int | None = None
        self.note(answer)

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: the signal); None while it runs."""
        if self._returncode is None:
            self._ask({"op": "poll"}, timeout_s=None)
        return self._returncode

    @property
    def is_running(self) -> bool:
        return self.returncode is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end and return its code. Raises TimeoutError; None waits for ever."""
        if self._returncode is None:
            self._ask({"op": "wait"}, timeout_s=timeout_s)
        return self._code()

    def stop(self, grace_s: float | None = None) -> int:
        """Send SIGTERM, after `grace_s` seconds SIGKILL to its group; returns its code when it is gone.

        None: the grace that run_service was given.
        """
        if self._returncode is None:
            self._ask({"op": "stop", "grace_s": grace_s}, timeout_s=None)
        return self._code()

    def log_text(self) -> str:
        """Read what it has written since it started; what earlier runs left in the file is not part of it."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset_bytes)
            return log.read().decode("utf-8", "replace")

    def wait_until_ready(self, is_ready: Callable[[Service], bool], *, timeout_s: float) -> None:
        """Call `is_ready` until it says True. Raises ServiceFailed, and the service is stopped then."""
        give_up_at = time.monotonic() + timeout_s
        while not is_ready(self):
            returncode = self.returncode
            if returncode is not None:
                raise self._failed(f"ended before it was ready (exit {returncode})", returncode)
            if time.monotonic() > give_up_at:
                self.stop()
                raise self._failed(f"was not ready within {timeout_s:g} s", None)
            time.sleep(_LOOK_AGAIN_S)

    def note(self, answer: wire.Message) -> None:
        """Remember what the supervisor said about this service."""
        self._returncode = answer["returncode"]

    def _code(self) -> int:
        if self._returncode is None:
            raise EmbeddedError(
                f"The supervisor ended while the service {self.name} ran, and the service with it"
            )
        return self._returncode

    def _ask(self, request: wire.Message, *, timeout_s: float | None) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            try:
                connection.connect(str(self._places.control_socket))
                answer = wire.exchange(connection, {**request, "service": self._number})
            except (FileNotFoundError, ConnectionRefusedError):
                answer = None
        if answer is None:
            raise EmbeddedError(f"The supervisor of the service {self.name} is gone, and the service with it")
        if "error" in answer:
            raise EmbeddedError(answer["error"])
        self.note(answer)

    def _failed(self, what: str, returncode: int | None) -> ServiceFailed:
        said = last_lines(self.log_path, since_bytes=self._log_offset_bytes)
        message = f"The service {self.name} {what}. Log: {self.log_path}\n{said}".rstrip()
        return ServiceFailed(message, name=self.name, returncode=returncode)
