"""An emulator that keeps its tasks and money in a file: kill it, and start it again at its old address."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.support.emulator_process import EmulatorProcess
from tests.support.polling import poll_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_READY = "emulator ready "


class RestartableEmulator:
    """A running emulator with a state file; faults and switches are told again after a restart."""

    def __init__(self, folder: Path, *, speed: float) -> None:
        self._folder = folder
        self._speed = speed
        self._process: subprocess.Popen[bytes] | None = None
        self._config: dict[str, Any] = {}
        self._rules: list[dict[str, Any]] = []
        self.calls = EmulatorProcess("")
        self.usual: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        self.usual = httpx.get(f"{self.calls.address}/_emulator/config").json()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """Where it listens, also after a restart."""
        return int(self.calls.address.rpartition(":")[2])

    def start(self) -> None:
        """Start it, with what its file holds; returns when it answers."""
        log = self._folder / "emulator.log"
        port = self.port if self.calls.address else 0
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "runware_jobs.emulator", "--quiet"),
                    *(f"--port={port}", f"--speed={self._speed}", f"--state={self._folder / 'emulator.db'}"),
                ],
                stdout=output,
                stderr=output,
            )
        self.calls = EmulatorProcess(poll_until(lambda: self._address(log), what="emulator ready"))
        if self._config:
            self.calls.configure(**self._config)
        if self._rules:
            self.calls.inject(*self._rules)

    def kill(self) -> None:
        """Kill -9: what it had promised in an answer is in its file."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def prepare(self, *, rules: list[dict[str, Any]], **config: Any) -> None:
        """Forget everything, and take this configuration over the usual one."""
        self.calls.reset()
        self._config = {
            "switches": {**self.usual["switches"], **config.pop("switches", {})},
            "latencies": {**self.usual["latencies"], **config.pop("latencies", {})},
            "balance_usd": 25_000,
            **config,
        }
        self._rules = list(rules)
        self.calls.configure(**self._config)
        if rules:
            self.calls.inject(*rules)

    def add_rules(self, rules: Sequence[dict[str, Any]]) -> None:
        """Let more go wrong."""
        self._rules += rules
        self.calls.inject(*rules)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        self._rules = []
        httpx.delete(f"{self.calls.address}/_emulator/faults").raise_for_status()

    def book(self) -> dict[str, Any]:
        """Read the ledger, each task with its `history` of (at, event, detail)."""
        book: dict[str, Any] = self.calls.ledger()
        exported = httpx.get(f"{self.calls.address}/_emulator/ledger.jsonl", timeout=30).text
        for line in exported.splitlines():
            record = json.loads(line)
            if record["record"] == "task":
                book["tasks"][record["taskUUID"]]["history"] = record["history"]
        return book

    def _address(self, log: Path) -> str | None:
        said = log.read_text()
        assert self._process is not None
        assert self._process.poll() is None, f"the emulator ended at once:\n{said}"
        lines = (line.removeprefix(_READY) for line in said.splitlines() if line.startswith(_READY))
        return next(lines, None)
