"""The command line as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

from tests.embedded.processes import carrying, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WITHIN_S = 100


class Commands:
    """Runs commands in `folder`; every process below them carries a mark of this one's."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.mark = f"cli-test-{uuid.uuid4()}"
        self._started: list[subprocess.Popen[bytes]] = []
        self._env = {**os.environ, "CLI_TEST_MARK": self.mark, **(env or {})}

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._argv(arguments),
            cwd=self.folder,
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command; what it says goes to files, which no child of its can hold open."""
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            started = subprocess.Popen(
                self._argv(arguments), cwd=self.folder, env=self._env, stdout=out, stderr=err
            )
        self._started.append(started)
        return started

    def end(self) -> None:
        """Kill what was started and still runs: a test that failed must not harm the next."""
        for started in self._started:
            if started.poll() is None:
                started.kill()
            started.wait()

    def said(self) -> str:
        """Read what the last started command has said so far."""
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()

    def left(self) -> list[str]:
        """Name the processes that are still there when everything had time to end."""
        return [" ".join(process.cmdline()) for process in wait_until_gone(carrying(self.mark))]

    @staticmethod
    def _argv(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "runware_jobs", *arguments]
