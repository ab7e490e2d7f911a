"""`batch estimate`: what a file would cost and how long it would take, and that nothing is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from runware_jobs.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Callable

LEARNED = """
INSERT INTO runware_jobs.estimate (model, size, samples, duration_s, cost_usd) VALUES
    ('runware:400@1', '', 20, 4, 0.02), ('runware:400@1', '512x512', 20, 2, 0.005)
"""
ACCOUNT = """
INSERT INTO runware_jobs.account (base_url, organisation, max_in_flight, max_requests_per_s, daily_limit_usd, spent_usd)
VALUES ('http://emulator.test/v1', 'acme', 2, 100, 5, 1)
"""


@pytest.fixture
def command(clean_database, services, monkeypatch, tmp_path, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command here and give its exit code, what it said on stdout, and what on stderr."""
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", clean_database)
    monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", services.broker_url)
    monkeypatch.setenv("RUNWARE_JOBS_HTTP_BASE_URL", "http://emulator.test/v1")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def prompts(tmp_path):
    """Four prompts, one a line."""
    path = tmp_path / "prompts.txt"
    path.write_text("a harbour\nsnow\n\na heron\na street\n")
    return path


def counted(database_url: str) -> tuple[int, ...]:
    with psycopg.connect(database_url) as connection:
        return tuple(
            connection.execute(f"SELECT count(*) FROM runware_jobs.{table}").fetchone()[0]
            for table in ("job", "batch", "bucket", "input", "event")
        )


def test_cost_and_time_come_from_what_was_learned(command, prompts, clean_database):
    with psycopg.connect(clean_database) as connection:
        connection.execute(LEARNED)
        connection.execute(ACCOUNT)

    code, out, _ = command(
        *(
            "batch",
            "estimate",
            str(prompts),
            "-m",
            "runware:400@1",
            "--size",
            "512x512",
            "--budget",
            "0.012",
            "--json",
        )
    )

    told = json.loads(out)
    assert code == 0
    assert (told["jobs"], told["results"], told["cost_usd"], told["unpriced_jobs"]) == (4, 4, "0.02", 0)
    assert (told["affordable_jobs"], told["left_today_usd"]) == (2, "4")
    assert 4 <= told["duration_s"] <= 5  # two at once, two seconds each
    [part] = told["parts"]
    assert (part["lane"], part["size"], part["price_usd"]) == ("image", "512x512", "0.005")
    assert counted(clean_database) == (0, 0, 0, 0, 0)


def test_size_that_is_new_costs_what_its_model_usually_does(command, prompts, clean_database):
    with psycopg.connect(clean_database) as connection:
        connection.execute(LEARNED)

    _, out, _ = command(
        *("batch", "estimate", str(prompts), "-m", "runware:400@1", "--size", "1024x1024", "--json")
    )

    assert json.loads(out)["cost_usd"] == "0.08"


def test_what_is_not_known_is_said(command, tmp_path, clean_database):
    with psycopg.connect(clean_database) as connection:
        connection.execute(LEARNED)
    lines = [
        {"model": "runware:400@1", "positivePrompt": "a", "numberResults": 3},
        {"model": "runware:101@1", "positivePrompt": "b"},
    ]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))

    code, out, err = command("batch", "estimate", "jobs.jsonl", "--budget", "1")
    told = json.loads(command("batch", "estimate", "jobs.jsonl", "--budget", "1", "--json")[1])

    assert code == 0
    assert "runware:101@1" in out
    assert "No price is known for 1 of them" in err
    assert (told["cost_usd"], told["unpriced_jobs"], told["untimed_jobs"]) == ("0.06", 1, 1)
    assert told["affordable_jobs"] is None


def test_line_that_submit_would_refuse_is_refused_here_too(command, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"positivePrompt": "x", "apiKey": "1"}\n')

    code, out, err = command("batch", "estimate", "a.jsonl", "--model", "runware:400@1")

    assert (code, out) == (2, "")
    assert "line 1: apiKey" in err
