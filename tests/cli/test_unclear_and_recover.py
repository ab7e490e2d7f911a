"""`unclear` and `recover` as a person uses them: what they say, what they leave alone, and a kill in the middle."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from runware_jobs.assembly import find_services, open_worker
from runware_jobs.cli.app import run
from runware_jobs.settings import Settings
from runware_jobs.steps.submit import submit
from runware_jobs.store import processes
from tests.support.polling import poll_until
from tests.support.queued import enqueue_jobs
from tests.support.rows import change_rows, read_rows

from .commands import Commands

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER_ARRIVES = {"on": "submit", "count": 1, "action": {"kind": "reset"}}
ANSWER_LOST = {"on": "submit", "count": 1, "action": {"kind": "lose_answer"}}
NOW = "2026-01-01T00:00"


@pytest.fixture
def queue_env(clean_database, services, emulator, monkeypatch, tmp_path):
    env = {
        "RUNWARE_JOBS_DATABASE_URL": clean_database,
        "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": emulator.http_base_url,
        "RUNWARE_JOBS_WS_BASE_URL": emulator.ws_base_url,
        "RUNWARE_JOBS_SECRET_KEY": "a long random string of a test",
        "RUNWARE_JOBS_LEASE_S": "4",
        "RUNWARE_JOBS_SEND_WINDOW_S": "0.5",
        "RUNWARE_JOBS_REQUEST_TIMEOUT_S": "1",
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return env


@pytest.fixture
def command(queue_env, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command here and give its exit code, what it said on stdout, and what on stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def as_worker(queue_env):
    """Do `work` with the context of a worker process, which dies without a word afterwards."""

    def do(work):
        async def inside():
            settings = Settings()
            opening = open_worker(
                settings,
                find_services(settings),
                signals=[],
                receivers=lambda _: (),
                publish_link=lambda *_: None,
            )
            async with opening as context:
                return await work(context)

        return asyncio.run(inside())

    return do


@pytest.fixture
def doubtful(as_worker, emulator, capsys):
    """Leave jobs whose send is unclear behind; give their ids. `is_followed`: their worker is alive."""

    def leave(fault, count=1, *, is_followed=False):
        async def work(context):
            async with context.engine.begin() as connection:
                jobs = await enqueue_jobs(connection, count, base_url=emulator.http_base_url)
            emulator.inject(fault)
            await submit(context)
            if not is_followed:
                async with context.engine.begin() as connection:
                    await processes.give_back(connection, context.owner)
            return jobs

        jobs = as_worker(work)
        capsys.readouterr()  # what a worker logs is not what the command says
        return [str(job_id) for job_id in jobs]

    return leave


@pytest.fixture
def look(as_worker):
    """Read rows past everything that is tested."""

    def read(statement):
        async def work(context):
            async with context.engine.begin() as connection:
                await processes.give_back(connection, context.owner)
                return await read_rows(connection, statement)

        return as_worker(work)

    return read


def arrivals(emulator):
    return sorted(task["submits"] for task in emulator.ledger()["tasks"].values())


def test_nothing_unclear_is_said_so(command):
    code, out, err = command("unclear", "list")

    assert (code, out) == (0, "")
    assert "Nothing is unclear" in err
    assert command("unclear", "list", "--json")[:2] == (0, "[]\n")
    assert command("unclear", "settle", "--all", "--json")[:2] == (0, "[]\n")
    assert command("unclear", "abandon", "--all", "--json")[:2] == (0, "[]\n")


def test_list_fits_a_terminal_and_names_each_job_whole(command, doubtful):
    jobs = doubtful(NEVER_ARRIVES, 3)

    code, out, _ = command("unclear", "list")
    listed = json.loads(command("unclear", "list", "--json")[1])

    assert code == 0
    assert [line for line in out.splitlines() if len(line) > 80] == []
    assert [job for job in jobs if job not in out] == []
    assert "send: unclear" in out
    assert {one["job_id"] for one in listed} == set(jobs)
    assert {(one["state"], one["is_followed"], one["run"], one["number"]) for one in listed} == {
        ("unclear", False, 1, 1)
    }
    assert len(json.loads(command("unclear", "list", "--limit", "2", "--json")[1])) == 2


@pytest.mark.parametrize("arguments", [["settle"], ["abandon"], ["settle", "x"], ["list", "--limit", "0"]])
def test_wrong_use_is_told_before_anything_is_done(command, arguments):
    assert command("unclear", *arguments)[0] == 2


def test_whom_to_settle_is_said_one_way_or_the_other(command):
    code, _, err = command("unclear", "settle", "0199f3c2-7d1e-7abc-8def-0123456789ab", "--all")

    assert code == 2
    assert "--all" in err


def test_what_the_platform_has_is_recorded_with_its_cost(command, doubtful, emulator):
    emulator.configure(latencies={"image": 1})
    [job] = doubtful(ANSWER_LOST)

    def ended():
        code, out, _ = command("unclear", "settle", job, "--json")
        assert code == 0
        # Found running, it is a worker's business from then on.
        return json.loads(out) or None

    [found] = poll_until(ended, what="an answer about the task")
    shown = json.loads(command("jobs", "show", job, "--json")[1])

    assert found["found"] in {"ended", "running"}
    assert shown["state"] == {"ended": "succeeded", "running": "running"}[found["found"]]
    assert json.loads(command("unclear", "list", "--json")[1]) == []
    assert arrivals(emulator) == [1]


def test_what_nobody_knows_stays_unclear_and_is_not_sent(command, doubtful, emulator):
    [job] = doubtful(NEVER_ARRIVES)

    code, out, _ = command("unclear", "settle", "--all")

    assert (code, out.split()) == (0, [job, "unknown"])
    assert arrivals(emulator) == [1]
    assert len(json.loads(command("unclear", "list", "--json")[1])) == 1


def test_question_without_an_answer_is_a_failure(command, doubtful, emulator):
    [job] = doubtful(NEVER_ARRIVES)
    emulator.inject({"on": "poll", "action": {"kind": "status", "status": 503}})

    code, out, _ = command("unclear", "settle", "--all")

    assert (code, out.split()) == (1, [job, "no", "answer"])


def test_what_a_living_worker_follows_is_left_to_it(command, doubtful):
    [job] = doubtful(NEVER_ARRIVES, is_followed=True)

    code, out, _ = command("unclear", "settle", "--all")

    assert (code, out.split()) == (0, [job, "followed"])
    assert json.loads(command("unclear", "list", "--json")[1])[0]["is_followed"]


@pytest.mark.parametrize("is_followed", [False, True])
def test_abandoned_task_fails_its_job_and_waits_for_a_person(command, doubtful, is_followed):
    [job] = doubtful(NEVER_ARRIVES, is_followed=is_followed)

    first = command("unclear", "abandon", job)
    again = command("unclear", "abandon", job)
    shown = json.loads(command("jobs", "show", job, "--json")[1])

    assert (first[0], first[1].split()) == (0, [job, "abandoned"])
    assert (again[0], again[1].split()) == (0, [job, "had", "ended"])
    assert (shown["state"], shown["billing"]) == ("failed", "unclear")
    assert json.loads(command("unclear", "list", "--json")[1])[0]["state"] == "lost"
    assert command("jobs", "retry", job)[0] == 1
    assert command("unclear", "settle", job)[1].split() == [job, "unknown"]


@pytest.mark.parametrize("since", [[], ["--since", "yesterday"], ["--since", "2999-01-01"]])
def test_recover_says_what_time_it_wants(command, since):
    code, _, err = command("recover", *since)

    assert code == 2
    assert "--since" in err


def test_recover_with_nothing_to_do_pauses_nothing(command, look):
    code, out, err = command("recover", "--since", NOW, "--json")

    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "to_ask": 0,
        "asked": 0,
        "found": 0,
        "held": 0,
        "open_at_copy": 0,
        "unanswered": 0,
        "is_resumed": True,
        "unanswered_jobs": [],
    }
    assert look("SELECT state, pause_reason FROM account") == [{"state": "open", "pause_reason": None}]
    assert "0 queued jobs" in command("recover", "--since", NOW)[2]


def test_recover_does_not_begin_while_a_worker_is_alive(command, doubtful, look):
    doubtful(NEVER_ARRIVES, is_followed=True)

    code, out, err = command("recover", "--since", NOW)

    assert (code, out) == (2, "")
    assert "workers are alive" in err
    assert look("SELECT state FROM account") == [{"state": "paused"}]


def test_recover_gives_up_a_platform_that_is_silent_and_says_what_is_left(command, as_worker, emulator, look):
    async def queue(context):
        async with context.engine.begin() as connection:
            jobs = await enqueue_jobs(connection, base_url=emulator.http_base_url)
            await processes.give_back(connection, context.owner)
        return jobs

    [job] = as_worker(queue)
    emulator.inject({"on": "poll", "action": {"kind": "status", "status": 503}})

    code, out, _err = command("recover", "--since", NOW, "--patience", "1", "--json")
    told = command("recover", "--since", NOW, "--patience", "1")

    assert (code, told[0]) == (1, 1)
    assert json.loads(out)["unanswered_jobs"] == [str(job)]
    assert str(job) in told[2]
    assert "account resume" in told[2]
    assert look("SELECT state FROM account") == [{"state": "paused"}]
    assert emulator.ledger()["tasks"] == {}


@pytest.mark.slow
def test_recover_killed_in_the_middle_is_run_again_and_goes_on(
    command, as_worker, emulator, look, queue_env, tmp_path
):
    """The copy knows five jobs as queued; three of them were sent since."""
    sent = []

    async def send_and_forget(context):
        async with context.engine.begin() as connection:
            await enqueue_jobs(connection, 3, base_url=emulator.http_base_url)
        sent.extend(watch.task_uuid for watch in (await submit(context)).watches)
        async with context.engine.begin() as connection:
            await change_rows(connection, "DELETE FROM attempt")
            await change_rows(
                connection, "UPDATE job SET state = 'queued', attempts = 0, submitted_at = NULL, seq = 1"
            )
            await change_rows(connection, "DELETE FROM event WHERE seq > 1")
            await change_rows(connection, "UPDATE account SET in_flight = 0")
            await change_rows(connection, "UPDATE bucket SET in_flight = 0")
            await enqueue_jobs(connection, 2, base_url=emulator.http_base_url)
            await processes.give_back(connection, context.owner)

    as_worker(send_and_forget)
    emulator.inject({"on": "poll", "action": {"kind": "status", "status": 503}})
    since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    commands = Commands(tmp_path, queue_env)
    killed = commands.start("recover", "--since", since)
    try:
        poll_until(lambda: _is_asking(emulator), what=f"its first question; {commands.said()}", within_s=60)
        killed.kill()
        killed.wait()
    finally:
        commands.end()
    between = look("SELECT state FROM account")
    httpx.delete(f"{emulator.address}/_emulator/faults").raise_for_status()
    paused = command("recover", "--since", since)
    seen = poll_until(
        lambda: _recovered(command, since), what="recovered, when the lease of the killed has lapsed"
    )

    assert between == [{"state": "paused"}]
    assert (paused[0], "workers are alive" in paused[2]) == (2, True)
    assert (len(sent), seen["asked"], seen["found"], seen["is_resumed"]) == (3, 5, 3, True)
    assert look("SELECT state FROM account") == [{"state": "open"}]


def _is_asking(emulator):
    """Tell whether the fault has struck: a question was asked, and had no answer."""
    [rule] = httpx.get(f"{emulator.address}/_emulator/faults").json()
    return rule["hits"] or None


def _recovered(command, since):
    code, out, _ = command("recover", "--since", since, "--json")
    return json.loads(out) if code == 0 else None
