"""`account` and `doctor` about accounts, from a terminal."""

from __future__ import annotations

import asyncio
import json

import pytest

from runware_jobs.cli.app import run
from runware_jobs.cli.doctor import left_behind
from runware_jobs.core.standing import PauseKind
from runware_jobs.store import pauses
from runware_jobs.store.database import open_engine
from tests.support.queued import enqueue_jobs, register_worker


@pytest.fixture
def account(clean_database, services, emulator, monkeypatch):
    """One account of the emulator, with a queued job; gives a function that works on it."""
    for name, value in {
        "RUNWARE_JOBS_DATABASE_URL": clean_database,
        "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": emulator.http_base_url,
        "RUNWARE_JOBS_WS_BASE_URL": emulator.ws_base_url,
    }.items():
        monkeypatch.setenv(name, value)

    def work(*steps):
        async def all_of_them():
            engine = open_engine(clean_database, pool_size=1)
            async with engine.begin() as connection:
                done = [await step(connection) for step in steps]
            await engine.dispose()
            return done

        return asyncio.run(all_of_them())

    work(
        lambda connection: register_worker(connection, base_url=emulator.http_base_url),
        lambda connection: enqueue_jobs(connection, base_url=emulator.http_base_url),
    )
    return work


def said(capsys, *command):
    assert run([*command, "--json"]) in {0, 1}
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("account")
def test_pause_and_resume_say_what_they_did(capsys):
    [paused] = said(capsys, "account", "pause", "--reason", "prices")
    [again] = said(capsys, "account", "pause", "--reason", "other")
    [resumed] = said(capsys, "account", "resume")

    assert (paused["state"], paused["pause_kind"], paused["pause_reason"]) == ("paused", "hand", "prices")
    assert again["pause_reason"] == "prices"
    assert (resumed["state"], resumed["pause_kind"], resumed["paused_at"]) == ("open", None, None)


@pytest.mark.parametrize(
    ("kind", "word", "remedy"),
    [(PauseKind.AUTH, "key refused", "key"), (PauseKind.CREDITS, "no credits", "credits")],
)
def test_status_and_doctor_name_the_platforms_reason(account, capsys, kind, word, remedy):
    account(lambda connection: pauses.pause_for(connection, 1, kind, reason="it said so"))
    assert run(["account", "status"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    [check] = [one for one in said(capsys, "doctor") if one["name"] == "account 1"]

    assert word in shown
    assert (check["state"], remedy in check["remedy"]) == ("wrong", True)


def test_hand_resumes_what_the_platform_paused(account, capsys):
    account(lambda connection: pauses.pause_for(connection, 1, PauseKind.CREDITS, reason="402"))

    assert said(capsys, "account", "resume")[0]["state"] == "open"


def test_doctor_says_what_is_left_in_an_old_account(account, emulator, capsys):
    account(
        lambda connection: register_worker(
            connection, organisation="another", base_url=emulator.http_base_url
        )
    )
    old = [one for one in said(capsys, "doctor") if one["name"] == "account 1"]

    assert [one["state"] for one in old] == ["note"]
    assert "1 queued" in old[0]["found"]


def test_up_says_what_it_does_not_go_on_with(account, clean_database, emulator, capsys):
    mine, elsewhere = emulator.http_base_url, "http://127.0.0.1:9/v1"

    assert left_behind(clean_database, base_url=mine) == []
    [left] = left_behind(clean_database, base_url=elsewhere)
    account(lambda connection: register_worker(connection, organisation="another", base_url=mine))

    assert left_behind(clean_database, base_url=mine) == [left]
    assert (left.name, left.state, "1 queued" in left.found, mine in left.found) == (
        "account 1",
        "note",
        True,
        True,
    )


def test_key_that_may_not_read_its_account_is_a_good_key(account, emulator, capsys):
    emulator.inject(
        {
            "on": "any",
            "taskType": "accountManagement",
            "action": {"kind": "status", "status": 403, "body": "task", "code": "forbidden"},
        }
    )
    [check] = [one for one in said(capsys, "doctor") if one["name"] == "platform"]

    assert check["state"] == "ok"
