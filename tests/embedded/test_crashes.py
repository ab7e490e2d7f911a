"""Whatever is killed, nothing is left behind and the next start works."""

from __future__ import annotations

import signal
import sys
import uuid

import psutil
import psycopg
import pytest

from runware_jobs.embedded import EngineFailed, open_engines, status
from runware_jobs.embedded.binaries import Binaries, find_binaries
from tests.embedded.processes import carrying, family, wait_until, wait_until_gone

WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"])
child.wait()
"""


def _is_up(service) -> bool:
    return "up" in service.log_text()


def test_killed_client_leaves_no_process(warm_home, run_client):
    mark = uuid.uuid4().hex
    client = run_client(f"""
engines = open_engines(home, realm="emulator", idle_s=0)
service = engines.run_service("worker", [sys.executable, "-c", {WITH_CHILD!r}], env={{"MARK": {mark!r}}},
                              ready=lambda s: "up" in s.log_text())
print(engines.supervisor_pid, flush=True)
sys.stdin.read()
""")
    processes = family(int(client.stdout.readline()))
    assert len(carrying(mark)) == 2

    client.kill()

    assert wait_until_gone(processes) == []
    assert carrying(mark) == []


def test_killed_supervisor_leaves_no_process_and_the_next_start_has_the_data(warm_home):
    mark = uuid.uuid4().hex
    engines = open_engines(warm_home, realm="emulator", idle_s=600)
    engines.run_service("worker", [sys.executable, "-c", WITH_CHILD], env={"MARK": mark}, ready=_is_up)
    with psycopg.connect(engines.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    processes = family(engines.supervisor_pid)

    processes[0].kill()

    assert wait_until_gone(processes) == []
    assert carrying(mark) == []
    engines.close()
    with (
        open_engines(warm_home, realm="emulator", idle_s=0) as again,
        psycopg.connect(again.database_url) as connection,
    ):
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_start_right_after_the_supervisor_was_killed_works(warm_home):
    engines = open_engines(warm_home, realm="emulator", idle_s=600)
    psutil.Process(engines.supervisor_pid).kill()

    with (
        open_engines(warm_home, realm="emulator", idle_s=0) as again,
        psycopg.connect(again.database_url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert again.supervisor_pid != engines.supervisor_pid
    engines.close()


def test_process_number_in_a_stale_pid_file_may_be_anybodys(warm_home):
    open_engines(warm_home, realm="emulator", idle_s=0).close()
    # What a laptop that lost power leaves, and after the restart the number is another program's: here, ours.
    pid_file = warm_home / "emulator" / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{psutil.Process().pid}\n{pid_file.parent}\n1\n5432\n\n\n        0         0\n")

    with (
        open_engines(warm_home, realm="emulator", idle_s=0) as engines,
        psycopg.connect(engines.database_url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_killed_postgres_comes_back_with_its_data(warm_home):
    with open_engines(warm_home, realm="emulator", idle_s=0) as engines:
        with psycopg.connect(engines.database_url) as connection:
            connection.execute("CREATE TABLE kept_by_postgres AS SELECT 7 AS number")
        psutil.Process(status(warm_home, realm="emulator")["postgres_pid"]).kill()

        def rows():
            try:
                with psycopg.connect(engines.database_url) as connection:
                    return connection.execute("SELECT number FROM kept_by_postgres").fetchall()
            except psycopg.OperationalError:
                return None

        assert wait_until(rows) == [(7,)]


def test_engine_that_keeps_dying_stops_everything_with_the_reason_in_the_log(home):
    engines = open_engines(home, realm="emulator", idle_s=600)
    processes = family(engines.supervisor_pid)
    killed = 0
    while now := status(home, realm="emulator"):
        if now["valkey_pid"] != killed:
            killed = now["valkey_pid"]
            psutil.Process(killed).kill()

    assert wait_until_gone(processes) == []
    assert "The embedded Valkey ended by itself" in (engines.log_dir / "supervisor.log").read_text()
    engines.close()


def test_interrupted_first_start_does_not_spoil_the_next(home):
    left = home / "emulator" / "postgres.unfinished"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18\n")

    with (
        open_engines(home, realm="emulator", idle_s=0) as engines,
        psycopg.connect(engines.database_url) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_forked_child_that_outlives_its_parent_does_not_hold_the_engines(warm_home, run_client):
    client = run_client("""
engines = open_engines(home, realm="emulator", idle_s=0)
if os.fork() == 0:
    engines.close()
    print(os.getpid(), engines.supervisor_pid, flush=True)
    sys.stdin.read()
    os._exit(0)
os.wait()
""")
    child, supervisor = (int(pid) for pid in client.stdout.readline().split())
    processes = family(supervisor)
    assert status(warm_home, realm="emulator")["clients"] == [client.pid]

    client.kill()

    assert wait_until_gone(processes) == []
    assert psutil.Process(child).is_running()


def test_client_that_ends_without_close_lets_go_silently(warm_home, run_client):
    client = run_client("""
import warnings; warnings.simplefilter("error")
engines = open_engines(home, realm="emulator", idle_s=0)
print(engines.supervisor_pid, flush=True)
sys.stdin.readline()
""")
    processes = family(int(client.stdout.readline()))
    client.communicate("\n")

    assert client.returncode == 0
    assert wait_until_gone(processes) == []


def test_terminated_supervisor_stops_cleanly(home):
    engines = open_engines(home, realm="emulator", idle_s=600)
    processes = family(engines.supervisor_pid)

    processes[0].send_signal(signal.SIGTERM)

    assert wait_until_gone(processes) == []
    assert "database system is shut down" in (engines.log_dir / "postgres.log").read_text()
    engines.close()


def test_failed_initdb_is_one_message_with_its_log(home, tmp_path):
    found = find_binaries()
    failing = tmp_path / "initdb"
    failing.write_text("#!/bin/sh\necho 'No space left on device'\nexit 5\n")
    failing.chmod(0o755)

    with pytest.raises(
        EngineFailed, match=r"data folder failed \(exit 5\)(.|\n)*initdb.log(.|\n)*No space left"
    ):
        open_engines(
            home,
            realm="emulator",
            idle_s=0,
            binaries=Binaries(initdb=failing, postgres=found.postgres, valkey=found.valkey),
        )

    assert status(home, realm="emulator") is None


def test_damaged_data_is_one_message_with_the_log_of_postgres(home):
    open_engines(home, realm="emulator", idle_s=0).close()
    (home / "emulator" / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(EngineFailed, match=r"Postgres ended while it started(.|\n)*no_such_setting"):
        open_engines(home, realm="emulator", idle_s=0)


def test_data_of_another_postgres_version_is_refused_with_the_remedy(home):
    data = home / "emulator" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(EngineFailed, match=rf"{data} holds data of Postgres 16.*pg_dump.*delete the folder"):
        open_engines(home, realm="emulator", idle_s=0)
