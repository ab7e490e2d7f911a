"""Workers as `celery -A runware_jobs.worker worker` runs them, without paying for the imports each time.

One process imports what a worker imports (three seconds of CPU), and forks for every
worker that is asked for. What runs in the child is Celery's own command line, in a
session of its own, under the environment it was given: a process to kill.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = Path(__file__).resolve().parents[2]
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_ARGUMENTS = [
    "celery",
    "-A",
    "runware_jobs.worker",
    "worker",
    "-l",
    "INFO",
    "--without-gossip",
    "--without-mingle",
]


@dataclass(slots=True)
class ForkedWorker:
    """A running worker, the leader of its own process group."""

    pid: int
    log: Path
    _end: int

    @property
    def has_ended(self) -> bool:
        """True when the process is gone."""
        return bool(select.select([self._end], [], [], 0)[0])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; harmless when it is gone."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill -9, as the kernel does when memory runs out, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(10)

    def wait(self, within_s: float) -> bool:
        """Wait until it has ended; False when it has not."""
        return bool(select.select([self._end], [], [], within_s)[0])

    def said(self, what: str) -> bool:
        """Tell whether its log has this."""
        return what in self.log.read_text(errors="replace")


class Nursery:
    """The process that forks workers; a context manager. Its workers do not outlive it."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNWARE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.forked_workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
        )
        self._workers: list[ForkedWorker] = []

    def __enter__(self) -> Self:
        assert self._ask({}) == "ready", "the nursery did not start"
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.signal(signal.SIGCONT)
            worker.kill()
            os.close(worker._end)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def start(self, environment: Mapping[str, str], *, log: Path) -> ForkedWorker:
        """Fork a worker; it is ready when its log says `worker_ready`."""
        log.touch()
        pid = int(self._ask({"environment": dict(environment), "log": str(log)}))
        worker = ForkedWorker(pid, log, os.pidfd_open(pid))
        self._workers.append(worker)
        return worker

    def exit_code(self, worker: ForkedWorker) -> int:
        """Wait for the end of a worker and give its code; -9 when that was the signal it died of."""
        return int(self._ask({"code_of": worker.pid}))

    def _ask(self, order: dict[str, object]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def _serve() -> None:

    importlib.import_module("celery.concurrency.thread")
    import kombu.transport.redis  # noqa: F401  what a worker would import, once for all of them

    import runware_jobs.worker.tasks  # noqa: F401  the same

    gc.freeze()
    codes: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        _reap(codes)
        if not order:
            print("ready", flush=True)  # noqa: T201  the answer to whoever started us
            continue
        if "code_of" in order:
            pid = int(order["code_of"])
            if pid not in codes:
                codes[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            print(codes[pid], flush=True)  # noqa: T201  the same
            continue
        pid = os.fork()
        if pid == 0:
            _become_worker(order)
        print(pid, flush=True)  # noqa: T201  the same


def _reap(codes: dict[int, int]) -> None:
    """Note how those that have ended did; most of them nobody asks about."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])


def _become_worker(order: dict[str, object]) -> None:
    """Turn this child into a worker; ends with the process."""
    if sys.platform == "linux":
        # A test that is broken off leaves no worker behind: they die with the process that forked them.
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.setsid()
    random.seed()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    environment = cast("dict[str, str]", order["environment"])
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = _ARGUMENTS
    import celery.__main__

    code = 1
    try:
        celery.__main__.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
