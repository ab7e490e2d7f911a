"""Engines for the tests of this room: each test has a home of its own and leaves no process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runware_jobs.embedded import Engines, down, open_engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home without data; in the end what runs in it is stopped, and the data (40 MB) removed."""
    place = tmp_path / "home"
    yield place
    for realm in ("emulator", "platform"):
        down(place, realm=realm)
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session")
def _kept_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("kept")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def warm_home(_kept_home: Path) -> Iterator[Path]:
    """A home in which engines have run before, so that they start fast; nothing runs in it. Its data grows."""
    yield _kept_home
    down(_kept_home, realm="emulator")


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """Running engines for tests that only use them."""
    place = tmp_path_factory.mktemp("engines")
    with open_engines(place, realm="emulator", idle_s=0) as opened:
        yield opened
    shutil.rmtree(place)


@pytest.fixture
def run_client(warm_home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a client in a process of its own, with `home` (the warm one) defined; what is still there in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, **options) -> subprocess.Popen[str]:
        head = f"import os, sys\nfrom pathlib import Path\nfrom runware_jobs.embedded import *\nhome = Path({str(warm_home)!r})\n"
        root = str(Path(__file__).resolve().parents[2])
        client = subprocess.Popen(
            [sys.executable, "-c", head + program],
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(client)
        return client

    yield start
    for client in started:
        client.kill()
        client.communicate()
