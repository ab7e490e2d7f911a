"""A worker that is asked to end: in seconds, whatever hangs, and nothing counts as failed for it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess
    from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = {"model": "runware:400@1", "positivePrompt": "a heron", "width": 512, "height": 512}
DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}
DRAINS_WITHIN_S = 10.0
PATIENT = {"RUNWARE_JOBS_REQUEST_TIMEOUT_S": "30", "RUNWARE_JOBS_LEASE_S": "60"}
"""As in production: a request may take longer than a drain."""

HANGS = """
import pathlib, threading
from runware_jobs.signals import on_state

@on_state.connect(weak=False)
def hang(**_):
    pathlib.Path({path!r}).touch()
    threading.Event().wait()
"""


def rows(environment: dict[str, str], statement: str) -> list[Any]:
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        connection.execute("SET search_path TO runware_jobs")
        return connection.execute(statement).fetchall()


def drain_s(worker: WorkerProcess) -> float:
    """Ask a worker to end and give how long it took."""
    started = time.monotonic()
    assert worker.stop() == 0, worker.log.read_text()[-2000:]
    return time.monotonic() - started


@pytest.mark.parametrize(("pool", "count"), [("threads", 2000), ("solo", 200), ("prefork", 200)])
def test_worker_drains_with_requests_on_the_wire_and_thousands_in_flight(
    pool: str, count: int, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": 1_000_000})
    told = environment | PATIENT
    with running_worker(told, log=tmp_path / "worker.log", pool=pool) as worker:
        batch = jobs.enqueue_many(
            ({"positivePrompt": f"bird {number}"} for number in range(count)), defaults=DEFAULTS
        )
        poll_until(
            lambda: batch.refresh().counts.get("running", 0) == count,
            what="all of them running",
            within_s=200,
        )
        # From now on no answer comes, to polls and submits alike.
        emulator.inject({"on": "any", "action": {"kind": "lose_answer", "how": "silence"}})
        late = [jobs.enqueue(IMAGE) for _ in range(20)]
        poll_until(
            lambda: rows(environment, "SELECT 1 FROM attempt WHERE state = 'sending'"),
            what="a submit on the wire",
        )
        took_s = drain_s(worker)

    states = dict(rows(environment, "SELECT state, count(*) FROM job GROUP BY state"))
    owners = rows(
        environment,
        "SELECT count(*) FROM attempt JOIN process ON process.id = owner_id WHERE process.stopped_at IS NULL",
    )
    assert took_s < DRAINS_WITHIN_S
    assert set(states) <= {"queued", "submitting", "running"}
    assert sum(states.values()) == count + len(late)
    assert owners == [(0,)]


def test_idle_worker_ends_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    with running_worker(environment, log=tmp_path / "worker.log") as worker:
        assert drain_s(worker) < 5


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_second_signal_stops_now(
    pool: str,
    second: signal.Signals,
    environment: dict[str, str],
    jobs: Jobs,
    emulator: EmulatorProcess,
    tmp_path: Path,
) -> None:
    emulator.inject(
        {"on": "submit", "taskType": "imageInference", "action": {"kind": "lose_answer", "how": "silence"}}
    )
    with running_worker(environment | PATIENT, log=tmp_path / "worker.log", pool=pool) as worker:
        jobs.enqueue(IMAGE)
        poll_until(
            lambda: rows(environment, "SELECT 1 FROM attempt WHERE state = 'sending'"),
            what="a submit on the wire",
        )
        worker.process.terminate()
        poll_until(lambda: "Draining" in worker.log.read_text(), what="the worker drains")
        started = time.monotonic()
        worker.process.send_signal(second)
        code = worker.process.wait(10)
        took_s = time.monotonic() - started
        poll_until(lambda: not _group_is_alive(worker.process.pid), what="no child is left")

    assert code == 1
    assert took_s < 2
    assert rows(environment, "SELECT DISTINCT state FROM job") == [("submitting",)]


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_receiver_that_hangs_does_not_delay_the_end(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    (tmp_path / "hanging_receiver.py").write_text(HANGS.format(path=str(heard)))
    told = environment | {"RUNWARE_JOBS_IMPORTS": "hanging_receiver", "PYTHONPATH": _path_with(tmp_path)}
    with running_worker(told, log=tmp_path / "worker.log") as worker:
        jobs.enqueue(IMAGE)
        poll_until(heard.exists, what="the receiver called")
        took_s = drain_s(worker)

    assert took_s < 6


def _path_with(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_worker_ends_before_it_was_ready(pool: str, environment: dict[str, str], tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/v1"
    worker = start_worker(
        environment | {"RUNWARE_JOBS_HTTP_BASE_URL": nobody}, log=tmp_path / "worker.log", pool=pool
    )
    try:
        poll_until(lambda: "platform_not_reached" in worker.log.read_text(), what="it asks for the platform")
        assert drain_s(worker) < DRAINS_WITHIN_S
    finally:
        if worker.process.poll() is None:
            worker.kill()

    assert "worker_ready" not in worker.log.read_text()


def test_service_manager_that_signals_every_process_of_a_prefork_worker_gets_a_drain(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(latencies={"image": 1_000_000})
    with running_worker(environment | PATIENT, log=tmp_path / "worker.log", pool="prefork") as worker:
        job = jobs.enqueue(IMAGE)
        poll_until(lambda: job.refresh().state == "running", what="the job running")
        os.killpg(worker.process.pid, signal.SIGTERM)
        worker.process.wait(15)

    assert rows(environment, "SELECT state, owner_id FROM attempt") == [("accepted", None)]
    assert rows(environment, "SELECT count(*) FROM process WHERE stopped_at IS NULL") == [(0,)]
