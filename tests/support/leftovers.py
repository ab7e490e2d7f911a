"""Find what a program has left running, as somebody with `ps` would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path


def processes_about(folder: Path) -> list[str]:
    """Give the command lines of running processes that work in `folder`, or were told of it."""
    mark = str(folder)
    found = []
    for process in psutil.process_iter():
        try:
            told = [process.cwd(), *process.cmdline(), *process.environ().values()]
            runs = process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if runs and any(mark in word for word in told):
            found.append(" ".join(process.cmdline()))
    return found
