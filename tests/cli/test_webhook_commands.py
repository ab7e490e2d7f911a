"""`webhooks` from a terminal: endpoints switched, tested, rotated; the log, and what is sent again."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from runware_jobs.cli.app import run
from runware_jobs.cli.webhook_commands import _deliveries_table
from tests.steps.test_deliver import canceled
from tests.support.rows import change_rows, read_rows

URL = "https://app.example/hooks"


@pytest.fixture
def command(clean_database, services, monkeypatch, tmp_path, capsys):
    """Run a command here and give its exit code, what it said on stdout, and what on stderr."""
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", clean_database)
    monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", services.broker_url)
    monkeypatch.setenv("RUNWARE_JOBS_SECRET_KEY", "a long random string of a test")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def in_database(clean_database):
    """Do something with the database, as a worker would have."""
    from runware_jobs.store.database import open_engine

    def work(do):
        async def run_it():
            engine = open_engine(clean_database, pool_size=1)
            try:
                return await do(engine)
            finally:
                await engine.dispose()

        return asyncio.run(run_it())

    return work


@pytest.fixture
def endpoint(command):
    return json.loads(command("webhooks", "add", URL, "--json")[1])["id"]


@pytest.fixture
def deliveries(endpoint, in_database):
    """Three final events: delivered, dead, and one that is still to leave."""

    async def leave(engine):
        for state, answer in (("delivered", 204), ("dead", 500)):
            await canceled(engine)
            async with engine.begin() as connection:
                await change_rows(
                    connection,
                    "INSERT INTO delivery (event_id, event_created_at, tenant, job_id, endpoint_id, url, number,"
                    " state, status_code, duration_ms, answer) SELECT event_id, event_created_at, 'default',"
                    " job_id, endpoint_id, url, 1, :state, :answer, 12, 'what it said' FROM outbox",
                    state=state,
                    answer=answer,
                )
                await change_rows(connection, "DELETE FROM outbox")
        await canceled(engine)

    in_database(leave)


def test_an_endpoint_is_switched_tested_and_removed(command, endpoint, in_database):
    async def told(engine):
        async with engine.connect() as connection:
            return await read_rows(connection, "SELECT event_id FROM outbox")

    off = json.loads(command("webhooks", "disable", endpoint, "--json")[1])
    refused, _, complaint = command("webhooks", "test", endpoint)
    on = json.loads(command("webhooks", "enable", endpoint, "--json")[1])
    code, out, _ = command("webhooks", "test", endpoint, "--json")

    assert ((off["is_enabled"], off["disabled_reason"]), on["is_enabled"]) == ((False, "user"), True)
    assert (refused, "enable it first" in complaint) == (2, True)
    assert code == 0
    assert [str(row["event_id"]) for row in in_database(told)] == [json.loads(out)["id"]]
    assert command("webhooks", "remove", endpoint)[0] == 0
    assert json.loads(command("webhooks", "list", "--json")[1]) == []
    assert command("webhooks", "remove", endpoint)[0] == 2


def test_a_secret_is_rotated_with_and_without_the_one_before(command, endpoint):
    kept = json.loads(command("webhooks", "rotate", endpoint, "--json")[1])
    dropped = json.loads(command("webhooks", "rotate", endpoint, "--drop-old", "--json")[1])

    assert (kept["has_old_secret"], dropped["has_old_secret"]) == (True, False)
    listed = command("webhooks", "list")[1] + command("webhooks", "list", "--json")[1]
    assert kept["secret"] not in listed
    assert dropped["secret"] not in listed


@pytest.mark.usefixtures("deliveries")
def test_the_log_is_narrowed_down_and_fits_a_window(command, endpoint):
    def listed(*options):
        return json.loads(command("webhooks", "deliveries", *options, "--json")[1])

    everything = listed()

    assert [(one["state"], one["status_code"], one["answer"]) for one in everything] == [
        ("dead", 500, "what it said"),
        ("delivered", 204, "what it said"),
    ]
    assert [one["id"] for one in listed("--state", "dead")] == [everything[0]["id"]]
    assert [one["id"] for one in listed("--job", everything[1]["job_id"])] == [everything[1]["id"]]
    assert len(listed("--endpoint", endpoint, "--event", "job.canceled")) == 2
    assert listed("--event", "job.failed") == listed("--endpoint", str(uuid.uuid4())) == []
    assert everything[0]["id"] in command("webhooks", "deliveries")[1]


def test_every_line_of_the_log_fits_eighty_columns():
    from rich.console import Console

    long = {"number": 9, "duration_ms": 15_000, "created_at": "2026-11-21T09:30:00Z"}
    views = [
        {
            "id": str(uuid.uuid4()),
            "type": "endpoint.disabled",
            "state": "dead",
            "status_code": 500,
            "reason": None,
        },
        {
            "id": str(uuid.uuid4()),
            "type": None,
            "state": "failed",
            "status_code": None,
            "reason": "timeout: no",
        },
    ]
    console = Console(width=80, file=None, highlight=False)
    with console.capture() as captured:
        console.print(_deliveries_table([view | long for view in views], is_wide=False))
    lines = [line.rstrip() for line in captured.get().splitlines() if line.strip()]

    assert len(lines) == 2 + len(views)
    assert all(view["id"] in line for view, line in zip(views, lines[2:], strict=True))


@pytest.mark.usefixtures("deliveries")
def test_events_of_a_time_are_sent_again(command, endpoint):
    asked = ("webhooks", "redeliver", "--endpoint", endpoint, "--since", "2020-01-01", "--json")

    assert json.loads(command(*asked, "--until", "2020-01-02")[1]) == {"queued": 0}
    assert json.loads(command(*asked, "--failed")[1]) == {"queued": 1}
    assert json.loads(command(*asked)[1]) == {"queued": 1}
    assert json.loads(command(*asked)[1]) == {"queued": 0}


@pytest.mark.usefixtures("deliveries")
def test_one_delivery_is_sent_again(command):
    [delivery] = json.loads(command("webhooks", "deliveries", "--state", "delivered", "--json")[1])

    assert command("webhooks", "redeliver", delivery["id"])[0] == 0
    assert command("webhooks", "redeliver", str(uuid.uuid4()))[0] == 2


@pytest.mark.parametrize(
    ("label", "arguments"),
    [
        ("nothing", ()),
        ("both", (str(uuid.uuid4()), "--endpoint", str(uuid.uuid4()))),
        ("no beginning", ("--endpoint", str(uuid.uuid4()))),
        ("a time for one", (str(uuid.uuid4()), "--since", "2026-01-01")),
        ("no time", ("--endpoint", str(uuid.uuid4()), "--since", "yesterday")),
        ("no id", ("--endpoint", "x", "--since", "2026-01-01")),
    ],
)
def test_wrong_use_is_told(command, label, arguments):
    code, out, err = command("webhooks", "redeliver", *arguments)

    assert (code, out) == (2, ""), label
    assert err, label


def test_an_unknown_state_or_event_is_told(command, endpoint):
    assert command("webhooks", "deliveries", "--state", "eaten")[0] == 2
    code, _, err = command("webhooks", "add", URL, "--event", "job.eaten")
    assert code != 0
    assert "job.succeeded" in err
