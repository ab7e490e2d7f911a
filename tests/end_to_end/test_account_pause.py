"""The kill switch and the account's own pauses, with real workers in full flow and the platform's ledger."""

from __future__ import annotations

import time
from contextlib import ExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from runware_jobs.cli.app import run
from tests.support.polling import poll_until
from tests.support.worker_process import running_worker, start_worker

if TYPE_CHECKING:
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess
    from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}
SEND_WINDOW_S = 0.5
"""As tests.support.system sets it."""


def one_row(environment: dict[str, str], statement: str) -> Any:
    with psycopg.connect(environment["RUNWARE_JOBS_DATABASE_URL"]) as connection:
        connection.execute("SET search_path TO runware_jobs")
        return connection.execute(statement).fetchone()


def started(emulator: EmulatorProcess) -> int:
    return int(emulator.ledger()["totals"]["accepted"])


def accepted_once_and_paid(jobs: Jobs, batch: Any, emulator: EmulatorProcess, count: int) -> None:
    """Check that nothing was lost and nothing doubled, by the platform's own books."""
    ledger = emulator.ledger()
    ended = jobs.list(batch=batch.id, limit=500)
    assert batch.counts == {"succeeded": count}
    assert [task for task in ledger["tasks"].values() if task["accepted"] != 1] == []
    assert len(ledger["tasks"]) == count
    assert sum((job.cost_usd or Decimal(0) for job in ended), Decimal(0)) == Decimal(
        ledger["totals"]["billed_usd"]
    )
    assert all(len(job.attempts) == 1 for job in ended)


def _end(worker: WorkerProcess) -> None:
    if worker.process.poll() is None:
        worker.kill()


def test_nothing_leaves_after_pause_has_returned_and_all_goes_on_after_resume(
    environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    count = 400
    emulator.configure(latencies={"image": [50, 150]})
    told = environment | {"RUNWARE_JOBS_MAX_REQUESTS_PER_S": "20", "RUNWARE_JOBS_SUBMIT_GROUP_SIZE": "3"}
    # Started at once: on a slow machine each takes its time.
    with ExitStack() as workers:
        for worker in [start_worker(told, log=tmp_path / f"{name}.log") for name in ("one", "two")]:
            workers.callback(_end, worker)
            worker.wait_until_ready()
        batch = jobs.enqueue_many(({"positivePrompt": f"hill {n}"} for n in range(count)), defaults=DEFAULTS)
        poll_until(lambda: started(emulator) >= 40, what="in full flow")
        assert run(["account", "pause", "--reason", "prices are being checked"]) == 0
        fence = time.monotonic() + SEND_WINDOW_S
        # Whatever was claimed before has left, or never will; a request on the wire is answered.
        poll_until(lambda: time.monotonic() > fence, what="the send window has passed")
        poll_until(
            lambda: one_row(environment, "SELECT count(*) FROM attempt WHERE state = 'sending'") == (0,),
            what="nothing is on the wire",
            within_s=2,
        )
        at_rest = started(emulator)
        # Polls go on: what was sent before ends while the account is paused.
        poll_until(
            lambda: one_row(environment, "SELECT in_flight FROM account") == (0,),
            what="what is out has ended",
        )
        stood_still = started(emulator)
        assert run(["account", "resume"]) == 0
        batch.wait(90)

    assert at_rest < count
    assert stood_still == at_rest
    accepted_once_and_paid(jobs, batch, emulator, count)


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_missing_credits_stop_the_account_and_money_starts_it_again(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.configure(balance_usd=0)
    told = environment | {"RUNWARE_JOBS_TRANSPORT": transport}
    batch = jobs.enqueue_many(({"positivePrompt": f"hill {n}"} for n in range(30)), defaults=DEFAULTS)
    with running_worker(told, log=tmp_path / "worker.log"):
        poll_until(
            lambda: one_row(environment, "SELECT pause_kind FROM account") == ("credits",), what="paused"
        )
        kept = batch.refresh().counts
        emulator.configure(balance_usd=100)
        batch.wait(60)

    assert kept == {"queued": 30}
    assert one_row(environment, "SELECT state, pause_kind FROM account") == ("open", None)
    events = one_row(
        environment, "SELECT array_agg(type ORDER BY created_at) FROM event WHERE type LIKE 'account.%'"
    )
    assert events == (["account.paused", "account.resumed"],)
    accepted_once_and_paid(jobs, batch, emulator, 30)


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_key_that_is_rejected_for_a_while_costs_no_job(
    transport: str, environment: dict[str, str], jobs: Jobs, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    told = environment | {"RUNWARE_JOBS_TRANSPORT": transport}
    with running_worker(told, log=tmp_path / "worker.log"):
        first = jobs.enqueue({**DEFAULTS, "positivePrompt": "before"}).wait(30)
        emulator.inject({"on": "auth", "for_s": 6, "action": {"kind": "reject_key"}})
        if transport == "websocket":
            emulator.inject({"on": "submit", "count": 1, "action": {"kind": "drop_socket"}})
        batch = jobs.enqueue_many(({"positivePrompt": f"hill {n}"} for n in range(10)), defaults=DEFAULTS)
        batch.wait(60)

    assert first.state == "succeeded"
    assert batch.counts == {"succeeded": 10}
    assert {task["accepted"] for task in emulator.ledger()["tasks"].values()} == {1}


def test_another_key_of_the_organisation_keeps_the_account_and_another_organisation_does_not(
    environment: dict[str, str], jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = {**DEFAULTS, "positivePrompt": "a heron"}

    def work(key: str, name: str) -> None:
        with running_worker(environment | {"RUNWARE_API_KEY": key}, log=tmp_path / name):
            jobs.enqueue(image).wait(30)

    work("acme.one", "one.log")
    work("acme.two", "two.log")
    same = one_row(environment, "SELECT count(*), bool_and(is_current) FROM account")
    assert run(["account", "pause"]) == 0
    left = jobs.enqueue(image)
    work_of_other = running_worker(environment | {"RUNWARE_API_KEY": "bee.one"}, log=tmp_path / "three.log")
    with work_of_other:
        mine = jobs.enqueue(image).wait(30)
    capsys.readouterr()
    run(["doctor"])
    said = capsys.readouterr().out

    assert same == (1, True)
    assert mine.state == "succeeded"
    assert left.refresh().state == "queued"
    assert one_row(environment, "SELECT count(*), count(*) FILTER (WHERE is_current) FROM account") == (2, 1)
    assert "1 queued" in " ".join(said.split())
