"""What one would use instead: the platform's SDK inside Celery, inside SAQ, and in a plain script.

They run in an environment of their own (requirements.txt), made once under build/, so that none of it
becomes a dependency of this project. What each stores is said in docs/benchmarks.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from benchmarks.stage import Program, environment_for, start_program

from .contenders import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from benchmarks.emulated import Emulated
    from benchmarks.stage import Engines

    from .workloads import Workload

_HERE = Path(__file__).parent
_PROGRAMS = _HERE / "programs"
_VENV = _HERE.parents[1] / "build" / "bench-peers"
_READY = "bench ready"
_ENQUEUED_WITHIN_S = 300


def peers_bin() -> Path:
    """Give the folder of programs of the peers' environment; made when requirements.txt has changed."""
    wanted = (_HERE / "requirements.txt").read_text()
    made_of = _VENV / "made-of.txt"
    if not made_of.exists() or made_of.read_text() != wanted:
        shutil.rmtree(_VENV, ignore_errors=True)
        print(f"Making {_VENV} for the peers; once.", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", _VENV], check=True)
        install = [
            str(_VENV / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*install, "--no-deps", "-r", str(_HERE / "requirements.txt")], check=True)
        made_of.write_text(wanted)
    return _VENV / "bin"


@dataclass(slots=True)
class Peer:
    """One of them. `worker` is its command; `enqueue` None: the worker itself is told to begin."""

    name: str
    engines: Engines
    emulated: Emulated
    worker: Sequence[str]
    enqueue: Sequence[str] | None
    transport: str
    share: float = 1.0
    patience_s: float = 30.0
    environment: dict[str, str] = field(default_factory=dict)
    _running: Program | None = None

    def start(self, workload: Workload) -> None:
        with redis.Redis.from_url(self.engines.redis_url) as broker:
            broker.flushall()
        self._known_file.unlink(missing_ok=True)
        self._tasks_file.write_text(json.dumps(workload.tasks()))
        self._start()

    def begin(self) -> float:
        if self.enqueue is None:
            return self._go()
        done = subprocess.run(
            [str(word) for word in [*self.enqueue, self._tasks_file]],
            env=self._environment(),
            cwd=_PROGRAMS,
            capture_output=True,
            text=True,
            timeout=_ENQUEUED_WITHIN_S,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{self.name} could not enqueue:\n{done.stderr[-4000:]}")
        return float(json.loads(done.stdout.splitlines()[-1])["began_at"])

    @property
    def processes(self) -> Sequence[psutil.Process]:
        return [self._started.tree]

    def count(self) -> int:
        return len({one.number for one in self._lines()})

    def known(self) -> list[Known]:
        first: dict[int, Known] = {}
        for one in self._lines():
            first.setdefault(one.number, one)
        return list(first.values())

    def kill_and_restart(self) -> None:
        self._started.kill()
        self._start()
        if self.enqueue is None:
            self._go()

    def stop(self) -> None:
        self._started.stop()

    def _start(self) -> None:
        command = [str(word) for word in self.worker]
        if self.enqueue is None:
            command.append(str(self._tasks_file))
        self._running = start_program(
            command, environment=self._environment(), log=self.engines.folder / "peer.log", cwd=_PROGRAMS
        )
        self._running.wait_for(_READY)

    def _go(self) -> float:
        pipe = self._started.process.stdin
        assert pipe is not None
        pipe.write(b"go\n")
        pipe.flush()
        return time.time()

    @property
    def _started(self) -> Program:
        assert self._running is not None
        return self._running

    def _lines(self) -> list[Known]:
        if not self._known_file.exists():
            return []
        found = []
        for line in self._known_file.read_text().splitlines():
            number, task_uuid, at = line.split()
            found.append(Known(int(number), task_uuid, float(at)))
        return found

    @property
    def _known_file(self) -> Path:
        return self.engines.folder / "known.txt"

    @property
    def _tasks_file(self) -> Path:
        return self.engines.folder / "tasks.json"

    def _environment(self) -> dict[str, str]:
        return environment_for(
            self.engines,
            self.emulated,
            BENCH_ADDRESS=self.emulated.address,
            BENCH_TRANSPORT=self.transport,
            BENCH_BROKER=self.engines.broker_url,
            BENCH_REDIS=self.engines.redis_url,
            BENCH_KNOWN=str(self._known_file),
            PYTHONUNBUFFERED="1",
            **self.environment,
        )


def script(engines: Engines, emulated: Emulated, transport: str) -> Peer:
    """A plain asyncio script, 500 at once."""
    python = str(peers_bin() / "python")
    return Peer("script, 500", engines, emulated, [python, "script.py"], None, transport)


def saq(engines: Engines, emulated: Emulated, transport: str) -> Peer:
    """SAQ, 500 at once."""
    worker = [str(peers_bin() / "saq"), "with_saq.settings"]
    enqueue = [str(peers_bin() / "python"), "with_saq.py"]
    # What was under way comes back when a sweep, once a minute, finds its timeout passed.
    return Peer("SAQ, 500", engines, emulated, worker, enqueue, transport, patience_s=150.0)


def celery(
    engines: Engines, emulated: Emulated, transport: str, *, pool: str, late: bool = False, share: float = 1.0
) -> Peer:
    """Celery with a pool such as `threads 256` or `prefork 8`, acknowledging early or late."""
    kind, size = pool.split()
    worker = [
        str(peers_bin() / "celery"),
        "-A",
        "with_celery",
        "worker",
        "-l",
        "WARNING",
        "-P",
        kind,
        "-c",
        size,
    ]
    return Peer(
        f"Celery, {pool}{', late acks' if late else ''}",
        engines,
        emulated,
        worker,
        [str(peers_bin() / "python"), "with_celery.py"],
        transport,
        share,
        # It comes back after the visibility timeout (60 s), at a sweep that may be 100 s away.
        patience_s=220.0 if late else 30.0,
        environment={"BENCH_ACKS_LATE": "1"} if late else {},
    )
