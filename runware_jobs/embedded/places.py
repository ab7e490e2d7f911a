"""Where the engines of one (home, realm) keep data, logs, lock and sockets; and that these places are private.

Data lies under `home/realm`. Sockets lie in a short folder below the system's temporary folder, because the path of
a unix socket has at most 103 bytes on macOS (107 on Linux) and a home may be longer than that.

    home/realm/postgres   home/realm/valkey   home/realm/log   home/realm/lock
    TMP/runware-jobs-UID-HASH/control.sock              the supervisor's, for clients
    TMP/runware-jobs-UID-HASH/s/.s.PGSQL.5432           the engines' own
    TMP/runware-jobs-UID-HASH/s/valkey.sock
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

from runware_jobs.embedded.errors import EmbeddedError, EngineFailed, SocketDirUnsafe

Realm = Literal["emulator", "platform"]

DATABASE = "runware_jobs"
SUPERUSER = "postgres"

# Least common of the platforms: macOS' sun_path has 104 bytes with the final zero.
_SOCKET_PATH_MAX_BYTES = 103
_LONGEST_SOCKET = "s/.s.PGSQL.5432"


@dataclass(frozen=True)
class Places:
    """The folders and files of one (home, realm), and the URLs that follow from them."""

    data: Path
    sockets: Path

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def postgres_unfinished(self) -> Path:
        """Where initdb works, so that an interrupted one never looks like a database."""
        return self.data / "postgres.unfinished"

    @property
    def valkey(self) -> Path:
        return self.data / "valkey"

    @property
    def log(self) -> Path:
        return self.data / "log"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def control_socket(self) -> Path:
        return self.sockets / "control.sock"

    @property
    def engine_sockets(self) -> Path:
        return self.sockets / "s"

    @property
    def valkey_socket(self) -> Path:
        return self.engine_sockets / "valkey.sock"

    @property
    def database_url(self) -> str:
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(self.engine_sockets))}"

    @property
    def broker_url(self) -> str:
        return f"redis+socket://{quote(str(self.valkey_socket))}?virtual_host=0"

    @property
    def redis_url(self) -> str:
        return f"unix://{quote(str(self.valkey_socket))}?db=0"


def find_places(home: Path, realm: str) -> Places:
    """Work out the places of a realm; nothing is created.

    The sockets' folder is the one where a running supervisor said they are (its TMPDIR may differ from ours), else
    the one that follows from our own temporary folder.
    Raises EmbeddedError when realm is neither "emulator" nor "platform".
    """
    if realm not in get_args(Realm):
        raise EmbeddedError(f"realm must be one of {', '.join(get_args(Realm))}, not {realm!r}")
    data = Path(home).expanduser().resolve() / realm
    written_down = Places(data=data, sockets=Path(read_lock(data / "lock").get("sockets", os.devnull)))
    if written_down.control_socket.is_socket():
        return written_down
    return Places(data=data, sockets=_socket_dir(data))


def create_data_dirs(places: Places) -> None:
    """Create `home/realm` and its log folder, for the owner only.

    Raises EngineFailed when it cannot be created or belongs to another user.
    """
    home = places.data.parent
    try:
        if not home.exists():
            home.mkdir(parents=True, exist_ok=True)
            # The default home lies in a project folder: keep 40 MB of database out of its repository.
            (home / ".gitignore").write_text("*\n", encoding="utf-8")
        places.data.mkdir(mode=0o700, exist_ok=True)
        owner = places.data.stat().st_uid
        if owner == os.geteuid():
            places.log.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EngineFailed(
            f"Cannot use {places.data} for the embedded engines: {error.strerror}. "
            f"Set RUNWARE_JOBS_HOME to a folder that you may write to."
        ) from error
    if owner != os.geteuid():
        raise EngineFailed(
            f"The data in {places.data} belongs to user id {owner}, and this is user id {os.geteuid()}. "
            f"Run as that user, or set RUNWARE_JOBS_HOME to another folder."
        )


def create_socket_dir(places: Places, *, mode: int) -> None:
    """Create the sockets' folder with `mode`, or accept the one that is there.

    Raises SocketDirUnsafe as check_socket_dir does.
    """
    try:
        places.sockets.mkdir(mode=mode)
    except FileExistsError:
        check_socket_dir(places)
    places.sockets.chmod(mode)


def check_socket_dir(places: Places) -> None:
    """Make sure that nobody else made, reads or can replace the sockets' folder.

    The name can be guessed and the temporary folder is everybody's: without this check another user could wait there
    for our clients, with a control socket of his own. Does nothing while the folder does not exist.
    Raises SocketDirUnsafe.
    """
    try:
        found = places.sockets.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        fault = "is not a folder"
    elif found.st_uid != os.geteuid():
        fault = f"belongs to user id {found.st_uid}"
    elif found.st_mode & 0o066:
        fault = f"is open to others (mode {stat.S_IMODE(found.st_mode):o})"
    else:
        return
    raise SocketDirUnsafe(
        f"{places.sockets} {fault}, so the embedded engines will not put their sockets there. "
        f"Remove it, or set TMPDIR to a folder of your own."
    )


def read_lock(lock: Path) -> dict[str, Any]:
    """Read what the holder of the lock wrote down; empty when there is nothing readable."""
    try:
        written = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def take_lock(places: Places) -> int | None:
    """Take the one lock of this realm; the descriptor that holds it, or None while others hold it.

    The engines inherit the descriptor: a free lock proves that the supervisor and every process of both engines
    are gone, however they ended.
    """
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "sockets": str(places.sockets)}).encode(), 0)
    return descriptor


def lock_is_held(places: Places) -> bool:
    """Whether a supervisor, or an engine that outlives it for a moment, is there."""
    try:
        descriptor = os.open(places.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared, so that two who ask do not take each other for a supervisor.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def last_lines(log: Path, *, since_bytes: int = 0, lines: int = 12) -> str:
    """Read the last lines of a log file, of what was written after `since_bytes`; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(since_bytes, log.stat().st_size - 65_536))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def _socket_dir(data: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    name = f"runware-jobs-{os.geteuid()}-{digest}"
    for parent in (Path(tempfile.gettempdir()).resolve(), Path("/tmp")):  # noqa: S108 - a private folder in it, checked
        folder = parent / name
        if len(os.fsencode(folder / _LONGEST_SOCKET)) <= _SOCKET_PATH_MAX_BYTES:
            return folder
    return folder
