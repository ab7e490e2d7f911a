"""A worker as a user runs it: `celery -A runware_jobs.worker worker`, a process to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.polling import poll_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_STOPS_WITHIN_S = 20
_READY_WITHIN_S = 120  # its imports alone take seconds on a machine with other things to do


@dataclass(slots=True)
class WorkerProcess:
    """A running worker in a process group of its own."""

    process: subprocess.Popen[bytes]
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


def start_worker(environment: Mapping[str, str], *, log: Path, pool: str = "threads") -> WorkerProcess:
    """Start a worker; it may take seconds to be ready."""
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
    environment: Mapping[str, str], *, log: Path, pool: str = "threads"
) -> Iterator[WorkerProcess]:
    """Run a worker for the length of a test; however that ends, nothing of it is left."""
    worker = start_worker(environment, log=log, pool=pool)
    try:
        worker.wait_until_ready()
        yield worker
        worker.stop()
    finally:
        if worker.process.poll() is None:
            worker.kill()
