"""A worker whose broker or database goes away and comes back: jobs end all the same, each paid once."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from celery import Celery

from runware_jobs import JobNotFound, Jobs, Settings
from runware_jobs.embedded.places import find_places
from runware_jobs.store.database import migrate
from tests.support.own_broker import own_broker
from tests.support.polling import poll_until
from tests.support.servers import embedded_servers
from tests.support.worker_process import running_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}
IMAGE = {**DEFAULTS, "positivePrompt": "a heron"}


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_jobs_go_on_without_a_broker_and_wakes_come_with_it(
    pool: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_broker() as broker:
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        told = environment | {"RUNWARE_JOBS_BROKER_URL": broker.url}
        with Jobs(Settings()) as jobs, running_worker(told, log=tmp_path / "worker.log", pool=pool) as worker:
            first = jobs.enqueue(IMAGE).wait(30)
            broker.stop()
            while_away = [jobs.enqueue(IMAGE).wait(30) for _ in range(2)]
            broker.start()
            poll_until(lambda: "Connected to redis" in _after_the_loss(worker.log), what="connected again")
            woken = jobs.enqueue(IMAGE).wait(30)
            broker.stop()
            started = time.monotonic()
            assert worker.stop() == 0
            took_s = time.monotonic() - started

    assert {job.state for job in (first, *while_away, woken)} == {"succeeded"}
    assert took_s < 10


def _after_the_loss(log: Path) -> str:
    return log.read_text().partition("Connection to broker lost")[2]


def test_worker_that_starts_without_a_broker_works_and_is_there_for_messages_later(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with own_broker(is_started=False) as broker:
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        told = environment | {"RUNWARE_JOBS_BROKER_URL": broker.url}
        with Jobs(Settings()) as jobs, running_worker(told, log=tmp_path / "worker.log") as worker:
            assert jobs.enqueue(IMAGE).wait(30).state == "succeeded"
            broker.start()
            poll_until(lambda: "ready." in worker.log.read_text(), what="Celery is ready")


def test_broker_that_is_lost_while_a_message_is_in_hand_ends_no_worker(
    environment: dict[str, str],
    emulator: EmulatorProcess,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with own_broker() as broker:
        monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", broker.url)
        told = environment | {"RUNWARE_JOBS_BROKER_URL": broker.url}
        with Jobs(Settings()) as jobs, running_worker(told, log=tmp_path / "worker.log") as worker:
            jobs.enqueue(IMAGE).wait(30)
            with psycopg.connect(database_url) as holding:
                holding.execute("LOCK TABLE runware_jobs.job IN EXCLUSIVE MODE")
                task_id = _send_run(broker.url)
                poll_until(lambda: _in_hand(broker.url) == 1, what="the worker has the message")
                broker.stop()
                poll_until(lambda: "Connection to broker lost" in worker.log.read_text(), what="the loss")
                poll_until(lambda: "Cannot connect to redis" in _after_the_loss(worker.log), what="a new try")
            broker.start()
            poll_until(lambda: "Connected to redis" in _after_the_loss(worker.log), what="connected again")
            poll_until(lambda: _is_there(jobs, task_id), what="the job of the message")
            job = jobs.get(task_id).wait(30)
            assert worker.process.poll() is None

    assert job.state == "succeeded"
    assert len(emulator.ledger()["tasks"]) == 2


def _send_run(broker_url: str) -> str:
    producer = Celery(broker=broker_url)
    return str(producer.send_task("runware_jobs.run", args=[IMAGE], queue="runware_jobs").id)


def _in_hand(broker_url: str) -> int:
    with redis.Redis.from_url(broker_url) as client:
        return int(client.hlen("runware_jobs.unacked"))


def _is_there(jobs: Jobs, job_id: str) -> bool:
    try:
        jobs.get(job_id)
    except JobNotFound:
        return False
    return True


def counts(database_url: str) -> dict[str, Any]:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT state, count(*) FROM runware_jobs.job GROUP BY state").fetchall()
    return dict(found)


def billed_once(emulator: EmulatorProcess, jobs: Jobs, count: int) -> None:
    ledger = emulator.ledger()
    assert len(ledger["tasks"]) == count
    assert {task["accepted"] for task in ledger["tasks"].values()} == {1}
    assert {job.state for job in jobs.list(limit=500)} == {"succeeded"}


def test_worker_goes_on_after_postgres_was_restarted(
    environment: dict[str, str], emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": [100, 400]})
    home = tmp_path / "own"
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # Postgres runs as nobody where the tests run as root
    with embedded_servers(home) as own:
        migrate(own.database_url)
        monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", own.database_url)
        told = environment | {"RUNWARE_JOBS_DATABASE_URL": own.database_url}
        with Jobs(Settings()) as jobs, running_worker(told, log=tmp_path / "worker.log") as worker:
            batch = jobs.enqueue_many(({"positivePrompt": f"hill {n}"} for n in range(60)), defaults=DEFAULTS)
            poll_until(lambda: counts(own.database_url).get("running", 0) >= 10, what="some of them running")
            postmaster = find_places(home, "emulator").postgres / "postmaster.pid"
            before = int(postmaster.read_text().split()[0])
            os.kill(before, signal.SIGINT)
            poll_until(lambda: _is_back(own.database_url, postmaster, before), what="Postgres is back")
            batch.wait(90)
            billed_once(emulator, jobs, 60)
            assert worker.process.poll() is None


def _is_back(database_url: str, postmaster: Path, before: int) -> bool:
    try:
        if int(postmaster.read_text().split()[0]) == before:
            return False
        with psycopg.connect(database_url, connect_timeout=1):
            return True
    except (OSError, IndexError, psycopg.OperationalError):
        return False


def test_worker_goes_on_after_all_its_connections_were_cut_in_mid_transaction(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": [100, 400]})
    url = environment["RUNWARE_JOBS_DATABASE_URL"]
    with running_worker(environment, log=tmp_path / "worker.log") as worker:
        batch = jobs.enqueue_many(({"positivePrompt": f"hill {n}"} for n in range(80)), defaults=DEFAULTS)
        mid_transaction = 0
        with psycopg.connect(url, autocommit=True) as connection:
            for share in (1, 20, 40, 60):
                poll_until(lambda share=share: _done(url) >= share, what="some more of it done", within_s=60)
                mid_transaction += connection.execute(
                    """SELECT count(*) FILTER (WHERE xact_start IS NOT NULL)
                       FROM (SELECT xact_start, pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE datname = current_database() AND application_name LIKE 'runware-jobs%') AS cut"""
                ).fetchone()[0]
        batch.wait(90)
        billed_once(emulator, jobs, 80)
        assert worker.process.poll() is None


def _done(database_url: str) -> int:
    return int(counts(database_url).get("succeeded", 0))
