"""The emulator as a user runs it: a process with a port."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.polling import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READY = "emulator ready "
_STOPS_WITHIN_S = 10


@dataclass(frozen=True, slots=True)
class EmulatorProcess:
    """A running emulator, by its address (`http://127.0.0.1:PORT`); `usual` is how it was configured."""

    address: str
    usual: dict[str, Any] = field(default_factory=dict)

    @property
    def http_base_url(self) -> str:
        """What RUNWARE_JOBS_HTTP_BASE_URL is for it."""
        return f"{self.address}/v1"

    @property
    def ws_base_url(self) -> str:
        """What RUNWARE_JOBS_WS_BASE_URL is for it."""
        return f"{self.address.replace('http://', 'ws://', 1)}/v1"

    def reset(self) -> None:
        """Forget every task, fault and dollar spent."""
        self._call("POST", "reset")
        self._call("DELETE", "faults")

    def configure(self, **values: Any) -> Any:
        """Change latencies, balances or switches until they are changed again."""
        return self._call("POST", "config", values)

    def inject(self, *rules: dict[str, Any]) -> Any:
        """Add fault rules, which hold until `reset`."""
        return self._call("POST", "faults", list(rules))

    def ledger(self) -> Any:
        """Read what was submitted, billed and refused."""
        return self._call("GET", "ledger")

    def _call(self, method: str, name: str, body: Any = None) -> Any:
        response = httpx.request(method, f"{self.address}/_emulator/{name}", json=body)
        response.raise_for_status()
        return response.json() if response.content else None


@contextmanager
def running_emulator(*, log: Path, speed: float = 1, port: int = 0) -> Iterator[EmulatorProcess]:
    """Start an emulator, wait for the line that says it is ready, and stop it at the end."""
    command = [sys.executable, "-m", "runware_jobs.emulator", "--quiet", f"--port={port}", f"--speed={speed}"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            address = poll_until(lambda: _address(process, log), what="emulator ready")
            yield EmulatorProcess(address, usual=httpx.get(f"{address}/_emulator/config").json())
        finally:
            process.terminate()
            try:
                process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str | None:
    said = log.read_text()
    assert process.poll() is None, f"the emulator ended at once:\n{said}"
    lines = (line.removeprefix(_READY) for line in said.splitlines() if line.startswith(_READY))
    return next(lines, None)
