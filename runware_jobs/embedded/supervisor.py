"""The one process per (home, realm) that owns the engines: `python -m runware_jobs.embedded.supervisor`.

It detaches into a session of its own, takes the realm's lock, starts the engines as its children, and serves the
control socket until it is told to stop or nobody has been connected for as long as the last clients asked for.
It has one thread, on purpose: what runs in a child before exec is safe only then.

Started by client.py, not by people. Prints what kept it from serving, and exits 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from runware_jobs.embedded import wire
from runware_jobs.embedded.binaries import Binaries
from runware_jobs.embedded.children import Children
from runware_jobs.embedded.control import Control
from runware_jobs.embedded.engines import RunningEngines
from runware_jobs.embedded.errors import EngineFailed
from runware_jobs.embedded.guard import Guard
from runware_jobs.embedded.identity import engine_identity
from runware_jobs.embedded.places import Places, create_socket_dir, read_lock, take_lock
from runware_jobs.embedded.services import Services

_log = logging.getLogger(__name__)

# How long a predecessor may take to stop: its engines' own limits, and some.
_LOCK_WITHIN_S = 45.0
_SERVING = "serving"
# Logs are for the last few days' trouble, not an archive.
_LOG_MAX_BYTES = 8 * 1024 * 1024


def main(argv: list[str] | None = None) -> int:
    """Detach, and return once the detached process serves the control socket (or another supervisor does)."""
    parser = argparse.ArgumentParser(prog="python -m runware_jobs.embedded.supervisor")
    parser.add_argument("--dir", type=Path, required=True, help="data folder: HOME/REALM")
    parser.add_argument("--sockets", type=Path, required=True, help="folder of the sockets")
    for program in ("initdb", "postgres", "valkey"):
        parser.add_argument(f"--{program}", type=Path, required=True, help="path of the program")
    given = parser.parse_args(argv)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _detached(
            Places(data=given.dir, sockets=given.sockets),
            Binaries(initdb=given.initdb, postgres=given.postgres, valkey=given.valkey),
            writing,
        )
    os.close(writing)
    # One word when somebody serves, else the reason why nobody does.
    with os.fdopen(reading, encoding="utf-8", errors="replace") as report:
        said = report.read()
    if said == _SERVING:
        return 0
    sys.stderr.write(said or "the supervisor ended without a word")
    return 1


def _detached(places: Places, binaries: Binaries, starter: int) -> NoReturn:
    try:
        os.setsid()
        os.chdir("/")
        umask = os.umask(0o077)
        _log_to_file(places.log)
        lock_descriptor = _lock_or_leave(places, starter)
        _start_large_logs_anew(places.log)
        mode = _mode_above_engines()
        places.data.chmod(mode)
        create_socket_dir(places, mode=mode)
        # Before connections and children exist, so that the guard inherits none.
        guard = Guard(not_its_own=(starter,))
        asyncio.run(_supervise(places, binaries, guard, starter, lock_descriptor, umask))
    except Exception as error:  # noqa: BLE001 - the last place that can tell anybody; the process ends here
        _log.exception("supervisor_failed")
        # The starter is still listening if this came before the control socket was open.
        with contextlib.suppress(OSError):
            os.write(starter, str(error).encode("utf-8", "replace"))
    finally:
        os._exit(1)


async def _supervise(
    places: Places, binaries: Binaries, guard: Guard, starter: int, lock_descriptor: int, umask: int
) -> None:
    children = Children(guard, lock_descriptor=lock_descriptor, umask=umask)
    engines = RunningEngines(places, binaries, identity=engine_identity(), children=children)
    control = Control(engines, Services(children))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.stop, f"got {number.name}")
    # A handler and not SIG_IGN, which the children would inherit.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    server = await asyncio.start_unix_server(
        control.serve, path=places.control_socket, limit=wire.LINE_MAX_BYTES
    )
    os.write(starter, _SERVING.encode())
    os.close(starter)
    await control.run(server)
    guard.end()
    # Here, and not after a clean-up of the event loop, which would end the connections first: clients take the end of
    # theirs as the sign that everything is gone.
    os._exit(0)


def _lock_or_leave(places: Places, starter: int) -> int:
    """Take the realm's lock; when another supervisor serves meanwhile, leave the rest to it and exit."""
    give_up_at = time.monotonic() + _LOCK_WITHIN_S
    while (descriptor := take_lock(places)) is None:
        if _somebody_serves(places):
            os.write(starter, _SERVING.encode())
            os._exit(0)
        if time.monotonic() > give_up_at:
            holder = read_lock(places.lock).get("pid", "unknown")
            raise EngineFailed(
                f"{places.data} is in use by a supervisor (process {holder}) that does not answer. "
                f"End that process, or set RUNWARE_JOBS_HOME to another folder."
            )
        time.sleep(0.01)
    return descriptor


def _somebody_serves(places: Places) -> bool:
    sockets = read_lock(places.lock).get("sockets", str(places.sockets))
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(Path(sockets) / places.control_socket.name))
        except OSError:
            return False
    return True


def _mode_above_engines() -> int:
    identity = engine_identity()
    return 0o700 if identity is None else identity.private_mode


def _log_to_file(folder: Path) -> None:
    devnull = os.open(os.devnull, os.O_RDWR)
    output = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((devnull, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def _start_large_logs_anew(folder: Path) -> None:
    for log in folder.glob("*.log"):
        if log.name != "supervisor.log" and log.stat().st_size > _LOG_MAX_BYTES:
            log.replace(log.with_suffix(".log.1"))


if __name__ == "__main__":
    sys.exit(main())
