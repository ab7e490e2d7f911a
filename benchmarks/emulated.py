"""The emulator as a process of its own, for a benchmark to load, to configure and to read afterwards."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_START_S = 20.0
_ANSWER_S = 120.0
_ALL_TASKS = 999_999_999


@dataclass(frozen=True, slots=True)
class Emulated:
    """A running emulator: its address (`http://127.0.0.1:PORT`) and its process, whose CPU time is its own."""

    address: str
    process: psutil.Process

    def reset(self, **latencies: Any) -> None:
        """Forget every task, and give new ones these durations: seconds, or [least, most], by lane."""
        self._call("POST", "reset")
        self._call("POST", "config", {"latencies": latencies})

    def ledger(self) -> Any:
        """Read what was submitted, polled and billed, by task UUID."""
        return self._call("GET", "ledger")

    def tasks(self) -> list[dict[str, Any]]:
        """Read every task that was accepted, with its prompt."""
        tasks: list[dict[str, Any]] = self._call("GET", f"tasks?limit={_ALL_TASKS}")["tasks"]
        return tasks

    def _call(self, method: str, name: str, body: Any = None) -> Any:
        response = httpx.request(method, f"{self.address}/_emulator/{name}", json=body, timeout=_ANSWER_S)
        return response.raise_for_status().json()


@contextmanager
def running_emulator(speed: float = 1.0) -> Iterator[Emulated]:
    """Start an emulator on a free port, with money for any benchmark; it ends with the context."""
    with tempfile.TemporaryDirectory(prefix="runware-jobs-bench-") as folder:
        ready = Path(folder) / "address"
        command = [sys.executable, "-m", "runware_jobs.emulator", "--port=0", "--quiet"]
        command += [f"--speed={speed}", f"--ready-file={ready}", "--balance=10000000"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                give_up_at = time.monotonic() + _START_S
                while not (ready.exists() and ready.read_text().strip()):
                    if process.poll() is not None or time.monotonic() > give_up_at:
                        sys.exit("the emulator did not start")
                    time.sleep(0.02)
                yield Emulated(ready.read_text().strip(), psutil.Process(process.pid))
            finally:
                process.terminate()


def most_at_once(entries: Iterable[dict[str, Any]]) -> int:
    """Tell how many tasks of a ledger the platform was working on at the busiest moment."""
    changes = []
    for entry in entries:
        changes += [(entry["accepted_at"], 1), (entry["finished_at"], -1)]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
