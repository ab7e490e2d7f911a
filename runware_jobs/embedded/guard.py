"""A second process that ends what a killed supervisor left behind.

The kernel's parent-death signal (Linux) reaches a child but not the child's children, and other systems have none.
The guard is forked from the supervisor, knows its children by pipe, and acts when the pipe ends. It holds the
realm's lock until it has acted, so that the next supervisor starts on clean ground.
"""

from __future__ import annotations

import contextlib
import os
import signal


class Guard:
    """The supervisor's end of the pipe; `pid` is the guard process."""

    def __init__(self, *, not_its_own: tuple[int, ...] = ()) -> None:
        """Fork the guard, which closes the descriptors that are `not_its_own`.

        Call it before there are threads, connections or children that it would inherit.
        """
        reading, self._writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for descriptor in (self._writing, *not_its_own):
                    os.close(descriptor)
                _watch(reading)
            finally:
                os._exit(0)
        os.close(reading)

    def watch_process(self, pid: int, death_signal: signal.Signals) -> None:
        """Send `death_signal` to this process when the supervisor dies."""
        self._tell(f"process {pid} {int(death_signal)}")

    def watch_group(self, pgid: int) -> None:
        """Kill this process group when the supervisor dies."""
        self._tell(f"group {pgid} {int(signal.SIGKILL)}")

    def forget(self, pid: int) -> None:
        """Stop watching: the process has ended, and its number may soon be another's."""
        self._tell(f"forget {pid} 0")

    def end(self) -> None:
        """Let the guard act on what it still watches, and wait until it has."""
        os.close(self._writing)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _tell(self, line: str) -> None:
        # Without a guard (somebody killed it) the parent-death signal remains.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writing, f"{line}\n".encode())


def _watch(reading: int) -> None:
    # A session of its own: a signal to the supervisor's group must not take both.
    os.setsid()
    for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(caught, signal.SIG_IGN)
    watched: dict[int, tuple[str, int]] = {}
    with os.fdopen(reading, encoding="ascii") as lines:
        for line in lines:
            kind, pid, number = line.split()
            watched.pop(int(pid), None)
            if kind != "forget":
                watched[int(pid)] = (kind, int(number))
    for target, (kind, death_signal) in watched.items():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send = os.killpg if kind == "group" else os.kill
            send(target, death_signal)
