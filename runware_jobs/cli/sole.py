"""One at a time: `up` or a demo serves the data of a home, and others are told which."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK: Final = "serving.lock"


class Sole:
    """The right to serve a home's data, for as long as its file is open; the kernel ends it with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, **facts: Any) -> None:
        """Write down what others may want to know of us; see `holder_of`."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({**facts, "pid": os.getpid()}).encode(), 0)


@contextmanager
def sole(folder: Path) -> Iterator[Sole | None]:
    """Take the right to serve the data in `folder` (HOME/REALM); None when somebody has it."""
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True)
        # As the engines do it: 40 MB of database do not belong into a repository.
        (folder.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            os.ftruncate(descriptor, 0)
            yield Sole(descriptor)
    finally:
        os.close(descriptor)


def holder_of(folder: Path) -> dict[str, Any]:
    """Read what the one that serves `folder` has told; empty when it has not yet."""
    with suppress(OSError, ValueError):
        told = json.loads((folder / _LOCK).read_text(encoding="utf-8"))
        return told if isinstance(told, dict) else {}
    return {}
