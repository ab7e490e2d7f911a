"""A lane: everything that stays up over many runs, of one run at a time.

Postgres and Valkey of its own (they are crashed and flushed), an emulator, relays in
front of all three, and the nursery of workers. A run gets a fresh database.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from runware_jobs.embedded.binaries import find_binaries
from runware_jobs.embedded.places import find_places
from runware_jobs.store.database import migrate
from tests.support.customs import Customs
from tests.support.faulty_receiver import FaultyReceiver
from tests.support.forked_workers import Nursery
from tests.support.polling import poll_until
from tests.support.relay import LoopThread, Relay, Upstream
from tests.support.restartable_emulator import RestartableEmulator
from tests.support.servers import embedded_servers
from tests.support.speech import PostgresAnswers, PostgresRequests, WebAnswers, WebRequests
from tests.support.traps import Traps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEED = 100.0
"""How fast the emulator's tasks run: a platform second takes ten milliseconds."""

_TEMPLATE = "chaos_template"
# The supervisor of the embedded engines gives up at the sixth end within a minute.
_CRASHES_A_MINUTE = 4


class Seat:
    """What one worker talks through: its way to Postgres, its API key, and the traps on both."""

    def __init__(self, lane: Lane, number: int) -> None:
        self.key = f"chaos.seat{number}"
        self.traps = Traps()
        self.postgres = Relay(
            lane.loop,
            Upstream(path=lane.postgres_socket),
            requests=PostgresRequests,
            answers=PostgresAnswers,
            find_traps=lambda _key: self.traps,
        )


class Lane:
    """See the module; opened by `open_lane`."""

    def __init__(self, folder: Path, stack: ExitStack, *, number: int, lanes: int) -> None:
        self.folder = folder
        # Each of several lanes strikes a part of the kill points.
        self.number, self.lanes = number, lanes
        folder.mkdir(parents=True, exist_ok=True)
        servers = stack.enter_context(embedded_servers(folder / "engines"))
        self._postgres_folder = find_places(folder / "engines", "emulator").postgres
        host = parse_qs(urlsplit(servers.database_url).query)["host"][0]
        self.postgres_socket = f"{host}/.s.PGSQL.5432"
        self._host = host
        self._redis_socket = urlsplit(servers.broker_url).path
        self.redis = redis.Redis(unix_socket_path=self._redis_socket)
        self.loop = stack.enter_context(LoopThread())
        self.emulator = stack.enter_context(RestartableEmulator(folder, speed=SPEED))
        self.nursery = stack.enter_context(Nursery())
        self.receiver = stack.enter_context(FaultyReceiver(self.loop))
        self.broker = Relay(self.loop, Upstream(path=self._redis_socket))
        self.seats = [Seat(self, number) for number in range(4)]
        self.customs = Customs()
        stack.callback(self.customs.look_at, None)
        by_key = {seat.key: seat.traps for seat in self.seats}
        self.platform = Relay(
            self.loop,
            Upstream(port=self.emulator.port),
            requests=WebRequests,
            answers=WebAnswers,
            find_traps=lambda key: by_key.get(key or ""),
            watch=self.customs.inspect,
        )
        for relay in (self.broker, self.platform, *(seat.postgres for seat in self.seats)):
            stack.callback(relay.close)
        self._crashes: list[float] = []
        self._names = itertools.count(1)
        self.database = ""
        # Kill points learned over all runs, and how often each was tried and struck.
        self.points: set[str] = set()
        self.tried: Counter[tuple[str, str]] = Counter()
        self.struck: Counter[tuple[str, str]] = Counter()
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
        migrate(self.direct_url(_TEMPLATE))

    def direct_url(self, database: str | None = None) -> str:
        """Where a database is, past every relay."""
        return f"postgresql://postgres@/{database or self.database}?host={self._host}"

    def connect(self, database: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """Connect past every relay."""
        return psycopg.connect(self.direct_url(database), **options)

    def url_of(self, seat: Seat) -> str:
        """Where a seat's worker finds the database."""
        # In the clear, so that the relay can read what is said.
        return (
            f"postgresql://postgres@127.0.0.1:{seat.postgres.port}/{self.database}"
            "?sslmode=disable&gssencmode=disable"
        )

    @property
    def broker_url(self) -> str:
        """Where the broker is found, behind its relay."""
        return f"redis://127.0.0.1:{self.broker.port}/0"

    @property
    def platform_address(self) -> str:
        """Where the platform is found, behind its relay: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.platform.port}"

    def fresh_database(self) -> str:
        """Make the database of a run, and drop that of the one before."""
        before, self.database = self.database, f"chaos_{next(self._names)}"
        with self.connect("postgres", autocommit=True) as connection:
            if before:
                connection.execute(f"DROP DATABASE IF EXISTS {before} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {self.database} TEMPLATE {_TEMPLATE}")
        return self.database

    def clean(self) -> None:
        """Take away what a run may have left in the way of the next."""
        for seat in self.seats:
            seat.traps.clear()
            seat.traps.seen.clear()
            seat.traps.struck.clear()
            seat.postgres.open()
        self.broker.open()
        self.platform.open()
        self.customs.look_at(None)
        self.redis.flushall()

    def crash_postgres(self) -> str:
        """End Postgres as a crash does, every transaction cut off; it is up again on return. Says how."""
        now = time.monotonic()
        self._crashes = [at for at in self._crashes if now - at < 60]
        with self.connect("postgres", autocommit=True) as connection:
            [started] = connection.execute("SELECT pg_postmaster_start_time()").fetchone() or [None]
            [backend] = connection.execute("SELECT pg_backend_pid()").fetchone() or [0]
            if len(self._crashes) < _CRASHES_A_MINUTE:
                self._crashes.append(now)
                how = "immediate stop"
                os.kill(
                    int((self._postgres_folder / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT
                )
            else:
                # The death of one backend makes Postgres throw all others out, and recover.
                how = "a backend killed"
                started = None
                os.kill(backend, signal.SIGKILL)
        poll_until(lambda: self._is_up_since(started), what="Postgres up again", within_s=60)
        return how

    def cut_connections(self) -> None:
        """Let Postgres throw out whoever works in the run's database."""
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.database]
            )

    def copy_of_database(self) -> Path:
        """Dump the run's database while it is being worked on, as a nightly backup does."""
        file = self.folder / "backup.dump"
        self._postgres_program("pg_dump", "-Fc", "-f", str(file), self.database)
        return file

    def restore_database(self, copy: Path) -> None:
        """Put a copy in the database's place; whoever is connected is thrown out."""
        with self.connect("postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {self.database} TEMPLATE template0")
        self._postgres_program("pg_restore", "-d", self.database, str(copy))

    def _postgres_program(self, name: str, *arguments: str) -> None:
        program = find_binaries().postgres.parent / name
        subprocess.run(
            [program, "-h", self._host, "-U", "postgres", *arguments],
            check=True,
            capture_output=True,
            timeout=60,
        )

    def _is_up_since(self, before: Any) -> bool:
        try:
            with self.connect("postgres") as connection:
                [started] = connection.execute("SELECT pg_postmaster_start_time()").fetchone() or [None]
                return bool(started != before)
        except psycopg.OperationalError:
            return False


@contextmanager
def open_lane(folder: Path, *, number: int = 0, lanes: int = 1) -> Iterator[Lane]:
    """Start everything that a lane has, number `number` of `lanes`; it stops at the end."""
    with ExitStack() as stack:
        lane = Lane(folder, stack, number=number, lanes=lanes)
        stack.callback(lane.redis.close)
        yield lane
