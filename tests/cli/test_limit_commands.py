"""`lanes` and `tenants` from a terminal: what is set is shown, and claims go by it."""

from __future__ import annotations

import json

import pytest

from runware_jobs.cli.app import run

MODEL = "runware:400@1"


@pytest.fixture
def command(clean_database, services, monkeypatch, tmp_path, capsys):
    """Run a command here and give its exit code, what it said on stdout, and what on stderr."""
    monkeypatch.setenv("RUNWARE_JOBS_DATABASE_URL", clean_database)
    monkeypatch.setenv("RUNWARE_JOBS_BROKER_URL", services.broker_url)
    monkeypatch.setenv("RUNWARE_JOBS_SECRET_KEY", "a long random string of a test")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def job(command) -> str:
    """One job of MODEL in the queue."""
    return command("run", "a lighthouse", "--model", MODEL, "--no-wait")[1].strip()


@pytest.mark.usefixtures("job")
def test_lane_and_model_are_limited_paused_resumed_and_shown(command):
    [lane] = json.loads(command("lanes", "limit", "image", "4", "--json")[1])
    [model] = json.loads(command("lanes", "pause", "image", "-m", MODEL, "--reason", "prices", "--json")[1])
    shown = json.loads(command("lanes", "list", "--json")[1])

    assert (lane["max_in_flight"], lane["model"], lane["queued"]) == (4, None, 1)
    assert (model["state"], model["pause_reason"]) == ("paused", "prices")
    assert shown == [lane, model]

    [model] = json.loads(command("lanes", "resume", "image", "-m", MODEL, "--json")[1])
    [lane] = json.loads(command("lanes", "limit", "image", "none", "--json")[1])

    assert (model["state"], lane["max_in_flight"]) == ("open", None)
    assert "already" in command("lanes", "resume", "image")[2]


@pytest.mark.usefixtures("job")
def test_table_of_lanes_fits_a_narrow_terminal(command, monkeypatch):
    monkeypatch.setattr("runware_jobs.cli.terminal._PIPE_WIDTH", 80)
    command("lanes", "pause", "image", "--model", MODEL, "--reason", "prices are being checked")

    _, out, _ = command("lanes", "list")

    assert max(map(len, out.splitlines())) <= 80
    assert MODEL in out


@pytest.mark.usefixtures("job")
def test_tenant_has_a_budget_a_pause_and_a_line(command):
    tenant = json.loads(command("tenants", "budget", "acme", "2.50", "--json")[1])
    assert (tenant["budget_usd"], tenant["spent_usd"], tenant["state"]) == ("2.500000", "0.000000", "open")

    assert json.loads(command("tenants", "pause", "default", "--json")[1])["state"] == "paused"
    listed = {one["name"]: one for one in json.loads(command("tenants", "list", "--json")[1])}
    assert (listed["default"]["queued"], listed["default"]["pause_reason"]) == (1, "by hand")
    assert listed["acme"]["queued"] == 0

    assert json.loads(command("tenants", "resume", "default", "--json")[1])["state"] == "open"
    assert "already" in command("tenants", "resume", "default")[2]
    assert json.loads(command("tenants", "budget", "acme", "none", "--json")[1])["budget_usd"] is None
    assert "acme" in command("tenants", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param(("lanes", "pause", "nix"), "image, video", id="no lane"),
        pytest.param(("lanes", "limit", "image", "0"), "none", id="no limit"),
        pytest.param(("lanes", "limit", "image", "4", "--account", "9"), "account status", id="no account"),
        pytest.param(("tenants", "budget", "acme", "much"), "dollars", id="no amount"),
    ],
)
def test_wrong_use_is_told_in_one_line(command, arguments, names):
    code, out, err = command(*arguments)

    assert (code, out) == (2, "")
    assert names in err
    assert len(err.strip().splitlines()) == 1
