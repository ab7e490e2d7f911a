"""A broker of one test's own, to be stopped and started again while others use it."""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runware_jobs.embedded.binaries import find_binaries
from tests.support.polling import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True)
class OwnBroker:
    """A Valkey on a port of its own that keeps nothing on disk."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What RUNWARE_JOBS_BROKER_URL is for it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty; returns when it answers."""
        command = [str(find_binaries().valkey), "--port", str(self.port), "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        poll_until(self._answers, what="the broker answers")

    def stop(self) -> None:
        """Kill it; whatever it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def own_broker(*, is_started: bool = True) -> Iterator[OwnBroker]:
    """Give a broker of this test's own; it is gone at the end."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    broker = OwnBroker(port)
    if is_started:
        broker.start()
    try:
        yield broker
    finally:
        broker.stop()
