"""The child processes of the supervisor: started in the foreground, watched, and ended with nothing left behind.

No pg_ctl and no daemons: a child that is nobody's child outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from runware_jobs.embedded.identity import before_exec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runware_jobs.embedded.guard import Guard
    from runware_jobs.embedded.identity import Identity


class Child:
    """One child process. `log_offset_bytes` is where its own lines begin in the log file."""

    def __init__(
        self, process: subprocess.Popen[bytes], *, log: Path, log_offset_bytes: int, leads_group: bool
    ) -> None:
        self.pid = process.pid
        self.log = log
        self.log_offset_bytes = log_offset_bytes
        self.leads_group = leads_group
        self.returncode: int | None = None
        self._process = process
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Wait for the end; the return code, negative for a signal."""
        await self._ended.wait()
        if self.returncode is None:  # the event is set after the return code
            raise AssertionError("ended without a return code")
        return self.returncode

    async def end(self, steps: Sequence[tuple[signal.Signals | None, float]]) -> int:
        """Send each signal in turn (None: only wait) and wait its seconds; SIGKILL when all were not enough."""
        for number, patience_s in steps:
            if self.returncode is not None:
                return self.returncode
            if number is not None:
                self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self.wait()
        if self.returncode is None:
            self._signal(signal.SIGKILL)
        return await self.wait()

    def reap(self) -> bool:
        """Note the end if the process has ended; whether it has."""
        if self.returncode is None and (returncode := self._process.poll()) is not None:
            if self.leads_group:
                # What the program started itself goes with it: nothing of a service outlives the service.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            self.returncode = returncode
            self._ended.set()
        return self.returncode is not None

    def _signal(self, number: signal.Signals) -> None:
        # Popen checks first whether the process was reaped, so that no stranger with the same number is hit.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class Children:
    """All children of this process. Needs the running event loop, and takes SIGCHLD for itself."""

    def __init__(self, guard: Guard, *, lock_descriptor: int, umask: int) -> None:
        self._guard = guard
        self._lock_descriptor = lock_descriptor
        self._umask = umask
        self._running: set[Child] = set()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start_engine(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        identity: Identity | None,
        death_signal: signal.Signals,
        stdin: Path | None = None,
    ) -> Child:
        """Start a program of an engine; it holds the realm's lock as long as it lives.

        Raises OSError or subprocess.SubprocessError when it cannot be started.
        """
        child = self._start(
            argv,
            log=log,
            # Nothing of the caller's environment means anything to an engine; PG* variables would only mislead it.
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            leads_group=False,
            death_signal=death_signal,
            identity=identity,
            stdin=stdin,
        )
        self._guard.watch_process(child.pid, death_signal)
        return child

    def start_service(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: str) -> Child:
        """Start a program for a client, as the leader of a session and group of its own.

        Raises OSError or subprocess.SubprocessError when it cannot be started.
        """
        child = self._start(
            argv, log=log, env=env, cwd=cwd, leads_group=True, death_signal=signal.SIGKILL, identity=None
        )
        self._guard.watch_group(child.pid)
        return child

    def _start(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: str,
        leads_group: bool,
        death_signal: signal.Signals,
        identity: Identity | None,
        stdin: Path | None = None,
    ) -> Child:
        with log.open("ab") as output, (stdin or Path(os.devnull)).open("rb") as source:
            offset = output.tell()
            process = subprocess.Popen(  # noqa: S603 - runs what the owner of this process asks for
                [os.fspath(argument) for argument in argv],
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                # An engine stays in the supervisor's session: neither has a terminal.
                start_new_session=leads_group,
                umask=self._umask if leads_group else 0o077,
                pass_fds=() if leads_group else (self._lock_descriptor,),
                preexec_fn=before_exec(  # noqa: PLW1509 - this process has one thread, see supervisor.py
                    death_signal=death_signal, identity=identity
                ),
            )
        child = Child(process, log=log, log_offset_bytes=offset, leads_group=leads_group)
        self._running.add(child)
        return child

    def _reap(self) -> None:
        # One SIGCHLD may stand for several ends.
        for child in [child for child in self._running if child.reap()]:
            self._running.discard(child)
            self._guard.forget(child.pid)
