"""Starting, joining and letting go of the engines."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg
import pytest
import redis
from kombu import Connection
from sqlalchemy import create_engine, make_url, text

from runware_jobs.embedded import EmbeddedError, down, open_engines, status
from tests.embedded.processes import family, is_there, wait_until_gone


def test_data_of_both_engines_is_kept_between_runs(home):
    with open_engines(home, realm="emulator", idle_s=0) as first:
        with psycopg.connect(first.database_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with redis.Redis.from_url(first.redis_url) as client:
            client.set("kept", "yes")
    assert status(home, realm="emulator") is None

    with open_engines(home, realm="emulator", idle_s=0) as second:
        with psycopg.connect(second.database_url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        with redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"yes"
        assert (first.database_url, first.redis_url) == (second.database_url, second.redis_url)


def test_close_of_the_last_client_leaves_no_process(warm_home):
    engines = open_engines(warm_home, realm="emulator", idle_s=0)
    processes = family(engines.supervisor_pid)

    engines.close()

    assert [process for process in processes if is_there(process)] == []


def test_second_client_joins_and_keeps_the_engines(warm_home):
    with open_engines(warm_home, realm="emulator", idle_s=0) as second:
        with open_engines(warm_home, realm="emulator", idle_s=0) as first:
            assert first.supervisor_pid == second.supervisor_pid

        with psycopg.connect(second.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_simultaneous_starts_share_one_supervisor(home):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_engines(home, realm="emulator", idle_s=0), range(4)))
    try:
        assert len({engines.supervisor_pid for engines in opened}) == 1
    finally:
        for engines in opened:
            engines.close()


def test_clients_that_come_and_go_at_once_all_get_engines(warm_home):
    def come_and_go(_) -> int:
        with (
            open_engines(warm_home, realm="emulator", idle_s=0) as engines,
            psycopg.connect(engines.database_url) as connection,
        ):
            return connection.execute("SELECT 1").fetchone()[0]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(come_and_go, range(8))) == [1] * 8


def test_engines_stay_for_the_idle_time_and_then_stop(warm_home):
    engines = open_engines(warm_home, realm="emulator", idle_s=0.3)
    processes = family(engines.supervisor_pid)
    engines.close()

    assert status(warm_home, realm="emulator")["clients"] == []
    assert wait_until_gone(processes) == []


def test_the_longest_wish_of_those_who_left_counts(warm_home):
    open_engines(warm_home, realm="emulator", idle_s=600).close()
    open_engines(warm_home, realm="emulator", idle_s=0).close()

    assert 500 < status(warm_home, realm="emulator")["stops_in_s"] <= 600


def test_down_stops_engines_that_others_use_and_says_so(warm_home):
    engines = open_engines(warm_home, realm="emulator", idle_s=600)
    processes = family(engines.supervisor_pid)

    assert down(warm_home, realm="emulator") is True
    assert [process for process in processes if is_there(process)] == []
    assert down(warm_home, realm="emulator") is False
    engines.close()


def test_close_twice_does_nothing_more(warm_home):
    engines = open_engines(warm_home, realm="emulator", idle_s=0)
    engines.close()
    engines.close()

    with pytest.raises(EmbeddedError, match=r"lease .* has ended"):
        engines.run_service("late", [sys.executable, "-c", ""])


def test_emulator_and_platform_data_never_mix(home):
    with (
        open_engines(home, realm="emulator", idle_s=0) as ours,
        open_engines(home, realm="platform", idle_s=0) as real,
    ):
        with psycopg.connect(ours.database_url) as connection:
            connection.execute("CREATE TABLE only_here ()")

        with psycopg.connect(real.database_url) as connection:
            assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
        assert ours.redis_url != real.redis_url


def test_nothing_listens_on_the_network(engines):
    for process in family(engines.supervisor_pid):
        assert process.net_connections("inet") == []


def test_urls_serve_sqlalchemy_and_kombu(engines):
    url = make_url(engines.database_url).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == "runware_jobs"
    engine.dispose()

    with Connection(engines.broker_url) as broker, broker.SimpleQueue("hello") as queue:
        queue.put({"a": 1})
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == {"a": 1}


def test_committed_rows_are_on_disk(engines):
    with psycopg.connect(engines.database_url) as connection:
        settings = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]
            for name in ("fsync", "synchronous_commit", "max_connections", "TimeZone")
        }

    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "200",
        "TimeZone": "UTC",
    }


def test_status_shows_who_is_connected(engines):
    shown = status(engines.log_dir.parent.parent, realm="emulator")

    assert shown["state"] == "ready"
    assert shown["clients"] == [psutil.Process().pid]
    assert shown["stops_in_s"] is None


def test_home_longer_than_a_socket_path_works(tmp_path):
    home = tmp_path / ("long" * 30) / ("longer" * 20)
    with (
        open_engines(home, realm="emulator", idle_s=0) as engines,
        psycopg.connect(engines.database_url) as connection,
        redis.Redis.from_url(engines.redis_url) as client,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert client.ping()


def test_home_is_kept_out_of_the_repository_around_it(home):
    open_engines(home, realm="emulator", idle_s=0).close()

    assert (home / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("idle_s", [-1, float("nan"), float("inf")])
def test_unusable_idle_time_is_refused(home, idle_s):
    with pytest.raises(EmbeddedError, match="idle_s must be"):
        open_engines(home, realm="emulator", idle_s=idle_s)


def test_unknown_realm_is_refused(home):
    with pytest.raises(EmbeddedError, match="realm must be one of emulator, platform"):
        open_engines(home, realm="production")


def test_importing_the_room_loads_neither_celery_nor_sqlalchemy():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, runware_jobs.embedded; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert {"celery", "sqlalchemy", "psycopg", "redis", "asyncio"}.isdisjoint(loaded)
