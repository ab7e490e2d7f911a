"""The official JavaScript packages: installed once by npm, and each one's scenarios run once per session.

The first test that asks installs and runs; the other test processes wait for it and read what it wrote.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support.emulator_process import running_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Reports = Mapping[str, Mapping[str, Any]]

NODE = Path(__file__).parent / "node"
_LOCK_FILE = NODE / "package-lock.json"
_INSTALLED = NODE / "node_modules" / ".installed-from"
_OLDEST_NODE = 20
# Both together stay below the time that a test has.
_INSTALL_WITHIN_S = 55
_RUN_WITHIN_S = 55
# Trainings end within a poll; everything else is a hundred times as fast as the platform.
_LATENCIES = {"training": 60, "modelUpload": 20}
_SPEED = 100
# What npm says when nobody answers, as opposed to a package that is not what the lock promises.
_UNREACHABLE = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"),
    *("ERR_SOCKET_TIMEOUT", "E407", "E502", "E503", "E504"),
)


def scenarios_in(folder: str) -> list[str]:
    """Name the scenarios that the scripts of a folder hold: their methods, written `async "name"(...)`."""
    texts = [path.read_text() for path in sorted((NODE / folder).glob("*.mjs"))]
    return [name for text in texts for name in re.findall(r'^  async "([^"]+)"\(', text, re.MULTILINE)]


def run_once(script: str, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Give what each scenario of a script reported, by its name; run it if nobody has in this session.

    A machine without Node or without a way to the registry skips the test, and fails it where CI is true.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    said, missing = shared / f"{script}.lines", shared / "node.missing"
    with _locked(shared / "node.lock"):
        reason = missing.read_text() if missing.exists() else _require_node() or _install()
        if reason is None and not said.exists():
            said.write_text(_run(script, shared))
    if reason is not None:
        missing.write_text(reason)
        _not_here(reason)
    return {report["scenario"]: report for report in map(json.loads, said.read_text().splitlines())}


def _require_node() -> str | None:
    """Say what is missing on this machine, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node and npm are not on PATH"
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    is_old = int(said.lstrip("v").partition(".")[0]) < _OLDEST_NODE
    return f"Node {said} is older than {_OLDEST_NODE}" if is_old else None


def _install() -> str | None:
    """Bring node_modules to what package-lock.json says, unless it is; say why that cannot be, or None."""
    wanted = hashlib.sha256(_LOCK_FILE.read_bytes()).hexdigest()
    # Another session may be at it in this folder: the lock is on the file that both read.
    with _locked(_LOCK_FILE):
        if _INSTALLED.exists() and _INSTALLED.read_text() == wanted:
            return None
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                command, cwd=NODE, capture_output=True, text=True, check=False, timeout=_INSTALL_WITHIN_S
            )
        except subprocess.TimeoutExpired:
            return "npm could not install the official JavaScript packages in time"
        if done.returncode and any(word in done.stderr for word in _UNREACHABLE):
            return "npm does not reach a registry to install the official JavaScript packages from"
        assert done.returncode == 0, done.stderr
        _INSTALLED.write_text(wanted)
        return None


def _run(script: str, shared: Path) -> str:
    """Run the scenarios against emulators of their own: one as usual, and one where nobody has a cent."""
    with (
        running_emulator(log=shared / f"{script}.emulator.log", speed=_SPEED) as usual,
        running_emulator(log=shared / f"{script}.poor.log", speed=_SPEED) as poor,
    ):
        usual.configure(latencies=_LATENCIES)
        poor.configure(balance_usd=0)
        done = subprocess.run(
            ["node", script, usual.address, poor.address],
            cwd=NODE,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_WITHIN_S,
        )
    assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _not_here(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI has to have it")
    pytest.skip(reason)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold this file for one process at a time; it is made if it is not there, and never changed."""
    file = os.open(path, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
