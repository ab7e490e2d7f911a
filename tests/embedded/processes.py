"""Look at other processes from outside, as a user with `ps` would."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

# For slow machines: a limit to give up at, never a time that a test takes.
PATIENCE_S = 30


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def is_there(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and waits for the system's first process to reap it does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Wait for the end of processes; those that are still there."""
    give_up_at = time.monotonic() + PATIENCE_S
    while (left := [one for one in processes if is_there(one)]) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return left


def wait_until(look: Callable[[], Any]) -> Any:
    """Look until there is something to see: for what another process does without telling us."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        seen = look()
        if seen:
            return seen
        time.sleep(0.01)
    raise AssertionError("nothing to see")


def carrying(mark: str) -> list[psutil.Process]:
    """All processes of this machine with this value in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if mark in environment.values():
            found.append(process)
    return found
