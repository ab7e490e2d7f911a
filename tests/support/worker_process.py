"""A worker as a user runs it: `celery -A runware_jobs.worker worker`, a process to kill.

Where the system can, it is forked from a process that has imported what a worker imports:
that costs a worker three seconds, and the tests start a hundred of them.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.support.forked_workers import Nursery
from tests.support.polling import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.forked_workers import ForkedWorker

_STOPS_WITHIN_S = 20
_READY_WITHIN_S = 120  # its imports alone take seconds on a machine with other things to do


class Process(Protocol):
    """What the tests use of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def send_signal(self, sig: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Forked:
    """A forked worker, as `Process`."""

    worker: ForkedWorker
    nursery: Nursery

    @property
    def pid(self) -> int:
        return self.worker.pid

    def poll(self) -> int | None:
        return self.nursery.exit_code(self.worker) if self.worker.has_ended else None

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and not self.worker.wait(timeout):
            raise subprocess.TimeoutExpired("worker", timeout)
        return self.nursery.exit_code(self.worker)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, sig: int) -> None:
        if not self.worker.has_ended:
            os.kill(self.pid, sig)


@dataclass(slots=True)
class WorkerProcess:
    """A running worker in a process group of its own."""

    process: Process
    log: Path

    def kill(self) -> None:
        """Kill -9 the whole group, as the kernel does when memory runs out."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and give its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker did not drain:\n{self.log.read_text()[-4000:]}") from None

    def wait_until_ready(self) -> None:
        """Wait until its clock runs."""
        poll_until(self._is_ready, what="worker ready", within_s=_READY_WITHIN_S)

    def _is_ready(self) -> bool:
        said = self.log.read_text()
        assert self.process.poll() is None, f"the worker ended at once:\n{said[-4000:]}"
        return "worker_ready" in said


@functools.cache
def _nursery() -> Nursery:
    nursery = Nursery()
    nursery.__enter__()
    atexit.register(nursery.__exit__)
    return nursery


def start_worker(environment: Mapping[str, str], *, log: Path, pool: str = "threads") -> WorkerProcess:
    """Start a worker; it may take seconds to be ready."""
    if sys.platform != "linux":
        return spawn_worker(environment, log=log, pool=pool)
    told = {**os.environ, **environment, "RUNWARE_JOBS_POOL": pool}
    return WorkerProcess(_Forked(_nursery().start(told, log=log), _nursery()), log)


def spawn_worker(environment: Mapping[str, str], *, log: Path, pool: str = "threads") -> WorkerProcess:
    """Start a worker from nothing, imports and all."""
    command = [
        *(sys.executable, "-m", "celery", "-A", "runware_jobs.worker", "worker"),
        *("-l", "INFO", "--without-gossip", "--without-mingle"),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **environment, "RUNWARE_JOBS_POOL": pool},
        )
    return WorkerProcess(process, log)


@contextmanager
def running_worker(
    environment: Mapping[str, str], *, log: Path, pool: str = "threads", is_spawned: bool = False
) -> Iterator[WorkerProcess]:
    """Run a worker for the length of a test; however that ends, nothing of it is left."""
    start = spawn_worker if is_spawned else start_worker
    worker = start(environment, log=log, pool=pool)
    try:
        worker.wait_until_ready()
        yield worker
        worker.stop()
    finally:
        if worker.process.poll() is None:
            worker.kill()
