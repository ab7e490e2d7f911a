"""npm packages of a folder, as its package-lock.json says: installed once, by whichever test asks first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OLDEST_NODE = 20
_INSTALL_WITHIN_S = 55
# What npm says when nobody answers, as opposed to a package that is not what the lock promises.
_UNREACHABLE = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"),
    *("ERR_SOCKET_TIMEOUT", "E407", "E502", "E503", "E504"),
)


def why_missing(folder: Path) -> str | None:
    """Install the packages of a folder unless they are there; say why that cannot be, or None."""
    return _require_node() or _install(folder)


def skip_or_fail(reason: str) -> NoReturn:
    """Skip a test whose packages are missing, and fail it where CI is true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; CI has to have it")
    pytest.skip(reason)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold this file for one process at a time; it is made if it is not there, and never changed."""
    file = os.open(path, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _require_node() -> str | None:
    """Say what is missing on this machine, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node and npm are not on PATH"
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    is_old = int(said.lstrip("v").partition(".")[0]) < _OLDEST_NODE
    return f"Node {said} is older than {_OLDEST_NODE}" if is_old else None


def _install(folder: Path) -> str | None:
    """Bring node_modules to what package-lock.json says, unless it is; say why that cannot be, or None."""
    lock_file, installed = folder / "package-lock.json", folder / "node_modules" / ".installed-from"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    # Another session may be at it in this folder: the lock is on the file that both read.
    with locked(lock_file):
        if installed.exists() and installed.read_text() == wanted:
            return None
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=_INSTALL_WITHIN_S
            )
        except subprocess.TimeoutExpired:
            return "npm could not install the JavaScript packages of these tests in time"
        if done.returncode and any(word in done.stderr for word in _UNREACHABLE):
            return "npm does not reach a registry to install the JavaScript packages of these tests from"
        assert done.returncode == 0, done.stderr
        installed.write_text(wanted)
        return None
