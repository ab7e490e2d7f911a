"""The queue from a terminal: against a database, a broker, an emulator and a worker."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from runware_jobs.assembly import find_services, open_worker
from runware_jobs.cli.app import run
from runware_jobs.cli.asking import with_platform
from runware_jobs.cli.opening import open_services
from runware_jobs.settings import Settings
from tests.embedded.processes import wait_until
from tests.support.rows import read_rows

from .commands import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def queue_env(clean_database, services, emulator, monkeypatch, tmp_path) -> dict[str, str]:
    """The settings of this test's queue, in the environment."""
    env = {
        "RUNWARE_JOBS_DATABASE_URL": clean_database,
        "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": emulator.http_base_url,
        "RUNWARE_JOBS_WS_BASE_URL": emulator.ws_base_url,
        "RUNWARE_JOBS_SECRET_KEY": "a long random string of a test",
        "RUNWARE_JOBS_POLL_MIN_INTERVAL_S": "0.1",
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
def _worker(queue_env, tmp_path) -> Iterator[None]:
    worker = Commands(tmp_path, queue_env)
    process = worker.start("worker")
    try:
        wait_until(lambda: "worker_ready" in worker.said() or process.poll() is not None)
        assert process.poll() is None, worker.said()
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0, worker.said()


@pytest.mark.slow
@pytest.mark.usefixtures("_worker")
def test_jobs_and_batches_run_from_a_terminal(command, tmp_path):
    code, out, _ = command("run", "a lighthouse", "--model", "runware:400@1", "--size", "512x512", "--json")
    job = json.loads(out)
    assert (code, job["state"]) == (0, "succeeded")
    assert job["results"][0]["imageURL"].endswith(".jpg")

    code, out, _ = command("jobs", "show", job["id"])
    assert code == 0
    assert job["results"][0]["imageURL"] in out

    code, out, _ = command("run", "x", "--model", "runware:400@1", "--size", "8x8", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (1, "validation")

    (tmp_path / "prompts.txt").write_text("a harbour at dusk\nsnow mountains\n")
    code, out, _ = command("batch", "submit", "prompts.txt", "-m", "runware:400@1", "--size", "256x256")
    batch_id = out.strip()
    assert code == 0

    code, out, _ = command("batch", "watch", batch_id, "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"succeeded": 2})

    code, out, err = command("batch", "download", batch_id, "--to", "pictures")
    assert code == 0, err
    saved = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert saved == ["00001-a-harbour-at-dusk.jpg", "00002-snow-mountains.jpg"]

    code, out, _ = command("batch", "download", batch_id, "--to", "pictures", "--json")
    assert (code, json.loads(out)) == (0, {"saved": [], "present": 2, "failed": []})

    code, out, _ = command("batch", "results", batch_id)
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["succeeded", "succeeded"]


def test_a_bad_line_is_named_and_leaves_nothing_behind(command, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"positivePrompt": "fine"}\n{"positivePrompt": "x", "apiKey": "1"}\n')

    code, out, err = command("batch", "submit", "a.jsonl", "--model", "runware:400@1")

    assert (code, out) == (2, "")
    assert "line 2: apiKey" in err
    assert json.loads(command("jobs", "list", "--json")[1]) == []


def test_without_a_worker_a_person_is_told_and_the_job_is_kept(command):
    code, out, err = command("run", "a lighthouse", "--model", "runware:400@1", "--no-wait")

    assert code == 0
    assert "No worker is running" in err
    [job] = json.loads(command("jobs", "list", "--json")[1])
    assert (job["id"], job["state"]) == (out.strip(), "queued")


def test_a_queued_job_is_canceled_for_free_and_retried(command):
    job_id = command("run", "a lighthouse", "--model", "runware:400@1", "--no-wait")[1].strip()

    assert command("jobs", "cancel", job_id)[0] == 0
    _, out, _ = command("jobs", "show", job_id, "--json")
    assert (json.loads(out)["state"], json.loads(out)["billing"]) == ("canceled", "none")
    assert command("jobs", "retry", job_id)[0] == 0
    assert command("jobs", "retry", job_id)[0] == 1


def test_prune_says_what_it_would_forget_and_forgets_it(command):
    job_id = command("run", "a lighthouse", "--model", "runware:400@1", "--no-wait")[1].strip()
    command("jobs", "cancel", job_id)

    assert json.loads(command("prune", "--older-than-days", "0", "--dry-run", "--json")[1]) == {"jobs": 1}
    assert json.loads(command("prune", "--older-than-days", "0", "--json")[1])["jobs"] == 1
    assert command("jobs", "show", job_id)[0] == 2


def test_a_paused_batch_resumes_and_is_canceled(command, tmp_path):
    (tmp_path / "p.txt").write_text("a\nb\nc\n")
    batch_id = command("batch", "submit", "p.txt", "-m", "runware:400@1", "--budget", "2")[1].strip()

    assert json.loads(command("batch", "pause", batch_id, "--json")[1])["state"] == "paused"
    assert json.loads(command("batch", "resume", batch_id, "--budget", "3", "--json")[1])["budget_usd"] == "3"
    assert json.loads(command("batch", "cancel", batch_id, "--json")[1])["counts"] == {"canceled": 3}


def test_the_account_is_paused_and_resumed(command):
    command("run", "a lighthouse", "--model", "runware:400@1", "--no-wait")

    [account] = json.loads(command("account", "pause", "--reason", "prices", "--json")[1])
    assert (account["state"], account["pause_reason"]) == ("paused", "prices")
    [account] = json.loads(command("account", "resume", "--json")[1])
    assert (account["state"], account["queued"]) == ("open", 1)


def test_a_key_is_shown_once_and_revoked(command):
    code, out, _ = command("keys", "create", "ci", "--scope", "read", "--json")
    key = json.loads(out)

    assert (code, key["scopes"], key["key"][:4]) == (0, ["read"], "rwj_")
    assert key["key"] not in command("keys", "list", "--json")[1]
    assert command("keys", "revoke", key["id"])[0] == 0
    assert command("keys", "revoke", key["id"])[0] == 1


def test_an_endpoint_is_added_with_its_secret(command):
    code, out, _ = command("webhooks", "add", "https://app.example/hooks", "--event", "job.failed")

    assert (code, out[:6]) == (0, "whsec_")
    [endpoint] = json.loads(command("webhooks", "list", "--json")[1])
    assert (endpoint["url"], endpoint["events"]) == ("https://app.example/hooks", ["job.failed"])


def test_doctor_finds_everything_in_order(command):
    code, out, _ = command("doctor", "--json")

    checks = {check["name"]: check["state"] for check in json.loads(out)}
    assert code == 0, out
    assert checks["database"] == checks["schema"] == checks["broker"] == checks["platform"] == "ok"
    assert checks["workers"] == "note"


def test_doctor_names_the_remedy_for_what_is_wrong(command, monkeypatch, empty_database):
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", empty_database)
    monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", "redis://127.0.0.1:1/0")

    code, out, _ = command("doctor", "--json")

    wrong = {check["name"]: check["remedy"] for check in json.loads(out) if check["state"] == "wrong"}
    assert code == 1
    assert wrong["schema"] == "runware-jobs migrate"
    assert "RUNWARE_JOBS_BROKER_URL" in wrong["broker"]


def test_a_database_that_does_not_answer_is_told_in_one_line(command, monkeypatch):
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", "postgresql://127.0.0.1:1/jobs")

    code, out, err = command("jobs", "list")

    assert (code, out) == (1, "")
    assert "does not answer" in err
    assert len(err.strip().splitlines()) == 1


def test_migrate_brings_an_empty_database_up_to_date(command, monkeypatch, empty_database):
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", empty_database)

    first = json.loads(command("migrate", "--json")[1])
    second = json.loads(command("migrate", "--json")[1])

    assert first["before"] is None
    assert second["before"] == second["after"] == first["after"]
    assert find_services(Settings()).embedded is None


@pytest.mark.usefixtures("queue_env")
def test_command_that_asks_the_platform_lifts_no_limit_of_the_workers(monkeypatch):
    """It may run in a shell where nobody has set a daily brake."""
    seen = []

    async def look(context) -> int:
        async with context.engine.connect() as connection:
            seen.extend(await read_rows(connection, "SELECT daily_limit_usd, max_in_flight FROM account"))
        return 0

    async def work_as_a_worker(settings, services) -> None:
        async with open_worker(
            settings, services, signals=[], receivers=lambda _: (), publish_link=print
        ) as context:
            await look(context)

    with monkeypatch.context() as workers:
        workers.setenv("RUNWARE_JOBS_DAILY_SPEND_LIMIT_USD", "5")
        workers.setenv("RUNWARE_JOBS_MAX_IN_FLIGHT", "7")
        asyncio.run(work_as_a_worker(*open_services()))
    code = with_platform(look)

    assert (code, seen) == (0, [{"daily_limit_usd": Decimal(5), "max_in_flight": 7}] * 2)
