"""What a benchmark of the queue runs on: embedded engines of its own, workers as users start them, meters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import redis

from runware_jobs import Settings
from runware_jobs.embedded import open_engines
from runware_jobs.store.database import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.emulated import Emulated

_READY_WITHIN_S = 180.0
_LOOK_S = 0.5
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Engines:
    """Postgres and Valkey by address and by process, and a folder for logs."""

    database_url: str
    broker_url: str
    redis_url: str
    postgres: psutil.Process
    valkey: psutil.Process
    folder: Path

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement in a connection and a transaction of its own."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]  # constants of this folder
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> None:
        """Leave no job, process, account or message of the run before; the installation stays."""
        tables = self.query(
            "SELECT string_agg(format('runware_jobs.%I', relname), ', ') FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND NOT relispartition AND relnamespace = CAST('runware_jobs' AS regnamespace)"
            " AND relname NOT IN ('installation', 'alembic_version')"
        )[0][0]
        self.query(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
        self.query("CHECKPOINT")
        with redis.Redis.from_url(self.redis_url) as broker:
            broker.flushall()


@contextmanager
def running_engines(**postgres: str) -> Iterator[Engines]:
    """Start embedded engines with a migrated database; `postgres` are settings of its server."""
    home = Path(tempfile.mkdtemp(prefix="runware-jobs-bench-"))
    # Whoever ends this benchmark ends what it has started: they are processes of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if postgres:
            # Some of them are read at the start of the server only.
            with (
                open_engines(home, realm="emulator", idle_s=0) as engines,
                psycopg.connect(engines.database_url, autocommit=True) as connection,
            ):
                for name, value in postgres.items():
                    connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[call-overload]  # our own words
        with open_engines(home, realm="emulator", idle_s=0) as engines:
            migrate(engines.database_url)
            logs = home / "bench"
            logs.mkdir()
            with psycopg.connect(engines.database_url) as connection:
                backend = psutil.Process(connection.info.backend_pid)
                server = backend.parent()
            with redis.Redis.from_url(engines.redis_url) as broker:
                valkey = psutil.Process(broker.info("server")["process_id"])
            assert server is not None
            yield Engines(engines.database_url, engines.broker_url, engines.redis_url, server, valkey, logs)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def settings_for(engines: Engines, emulated: Emulated, **others: Any) -> Settings:
    """Give the settings of a producer that works with these engines and this emulator."""
    return Settings(
        database_url=engines.database_url,
        broker_url=engines.broker_url,
        http_base_url=f"{emulated.address}/v1",
        ws_base_url=f"{emulated.address.replace('http', 'ws', 1)}/v1",
        **others,
    )


def environment_for(engines: Engines, emulated: Emulated, **others: str) -> dict[str, str]:
    """Give the environment of a worker; nothing of the shell's own settings gets in."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RUNWARE_")}
    return outside | {
        "RUNWARE_API_KEY": "benchmark",
        "RUNWARE_JOBS_DATABASE_URL": engines.database_url,
        "RUNWARE_JOBS_BROKER_URL": engines.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": f"{emulated.address}/v1",
        "RUNWARE_JOBS_WS_BASE_URL": f"{emulated.address.replace('http', 'ws', 1)}/v1",
        "RUNWARE_JOBS_SCHEMAS_BASE_URL": f"{emulated.address}/schemas",
        "RUNWARE_JOBS_CONTENT_BASE_URL": f"{emulated.address}/content",
        **others,
    }


@dataclass(slots=True)
class Program:
    """A started program in a process group of its own, with its log."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def tree(self) -> psutil.Process:
        """Its process, for a meter."""
        return psutil.Process(self.process.pid)

    def wait_for(self, word: str) -> None:
        """Wait until its log says `word`; a program that ends before is the end of the benchmark."""
        give_up_at = time.monotonic() + _READY_WITHIN_S
        while word not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                sys.exit(f"{self.log.name} did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill -9 the whole group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and kill what does not within some seconds."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


def start_program(
    command: Sequence[str | Path], *, environment: Mapping[str, str], log: Path, cwd: Path | None = None
) -> Program:
    """Start a program with a pipe as its input and a fresh log."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    return Program(process, log)


def start_worker(environment: Mapping[str, str], *, log: Path) -> Program:
    """Start one of our workers as a user does; returns when its clock runs."""
    command = [sys.executable, "-m", "celery", "-A", "runware_jobs.worker", "worker"]
    worker = start_program(command, environment=environment, log=log)
    worker.wait_for("worker_ready")
    return worker


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU that a process and its children, also those that ended, have used."""
    try:
        tree = [process, *process.children(recursive=True)]
        ended = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    total = ended.children_user + ended.children_system
    for one in tree:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return float(total)


@dataclass(slots=True)
class Meter:
    """CPU time by name of what runs, and the most memory of one of them, from `start` to `read`."""

    watched: Mapping[str, Sequence[psutil.Process]]
    memory_of: str
    peak_bytes: int = 0
    _before: dict[str, float] = field(default_factory=dict)
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Count from now on."""
        self._before = self._now()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def read(self) -> dict[str, float]:
        """Stop, and give the seconds of CPU by name."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        return {name: used - self._before[name] for name, used in self._now().items()}

    @property
    def peak_mb(self) -> float:
        """The most memory held at once, in megabytes, summed over the processes."""
        return self.peak_bytes / _MEGABYTE

    def _now(self) -> dict[str, float]:
        return {name: sum(cpu_s(one) for one in processes) for name, processes in self.watched.items()}

    def _look(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self.watched[self.memory_of]))
            if self._done.wait(_LOOK_S):
                return


def memory_bytes(processes: Sequence[psutil.Process]) -> int:
    """Bytes in memory of processes and their children; what forks share counts in each."""
    total = 0
    for process in processes:
        try:
            total += sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
        except psutil.NoSuchProcess:
            continue
    return total
