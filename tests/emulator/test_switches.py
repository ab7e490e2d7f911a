"""Both sides of what the sources leave open can be chosen, at start and while it runs."""

from __future__ import annotations

import dataclasses

import pytest

from runware_jobs.emulator.switches import (
    ConfigError,
    Switches,
    changed_switches,
    parse_switches,
    switch_table,
)
from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image
from tests.emulator.sockets import ask, connected

OPEN_QUESTIONS = {*(f"15.{number}" for number in range(1, 10)), *(f"17.{number}" for number in range(1, 13))}


def test_every_contradiction_and_unknown_has_a_switch():
    sources = {row["source"].removeprefix("PROTOCOL ") for row in switch_table()}

    assert sources >= OPEN_QUESTIONS


def test_every_switch_says_what_it_chooses():
    rows = switch_table()

    assert [row["name"] for row in rows] == [one.name for one in dataclasses.fields(Switches)]
    assert all(row["what"] and row["choices"] for row in rows)
    assert changed_switches(Switches(), {row["name"]: row["default"] for row in rows}) == Switches()


async def test_switches_are_listed_with_their_present_value(still):
    await still.configure(switches={"failure_form": "A"})

    rows = {row["name"]: row for row in (await still.http.get("/_emulator/switches")).json()}

    assert (rows["failure_form"]["default"], rows["failure_form"]["value"]) == ("B", "A")
    assert rows["failure_form"]["source"] == "PROTOCOL 15.1"


def test_words_become_values():
    words = ["failure_form=A", "partial_status=400", "slugs=false", "idle_close_s=0.5", "max_tasks=null"]

    expected = {
        "failure_form": "A",
        "partial_status": 400,
        "slugs": False,
        "idle_close_s": 0.5,
        "max_tasks": None,
    }
    assert parse_switches(words) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("failure_form", "NAME=VALUE"),
        ("colour=red", "switches.colour: unknown"),
        ("failure_form=C", "one of A, B"),
        ("partial_status=207", "one of 200, 400"),
        ("slugs=maybe", "true or false"),
        ("retention_s=-1", "0 or more"),
        ("max_tasks=1.5", "a whole number"),
        ("retention_s=null", "0 or more"),
    ],
)
def test_a_wrong_word_is_refused_by_name(words, said):
    with pytest.raises(ConfigError, match=said):
        parse_switches([words])


# --- getResponse ---


async def test_poll_task_type(still):
    task = image()
    await still.send(task)
    await still.configure(switches={"poll_task_type": "getResponse", "running_status": "pending"})

    item = (await still.poll(task["taskUUID"]))["data"][0]

    assert (item["taskType"], item["status"]) == ("getResponse", "pending")


async def test_multi_poll_off_answers_the_first(still):
    tasks = [image(), image()]
    await still.send(*tasks)
    await still.configure(switches={"multi_poll": False})

    answer = await still.poll(*(task["taskUUID"] for task in tasks))

    assert [item["taskUUID"] for item in answer["data"]] == [tasks[0]["taskUUID"]]
    assert [error["taskUUID"] for error in answer["errors"]] == [tasks[1]["taskUUID"]]


async def test_a_task_with_a_webhook_may_not_be_pollable(still):
    task = image(webhookURL="http://127.0.0.1:9/hook")
    await still.send(task)
    before = await still.poll(task["taskUUID"])
    await still.configure(switches={"webhook_poll": False})

    assert len(before["data"]) == 1
    assert await still.poll(task["taskUUID"]) == {"data": []}


# --- duplicates ---


async def test_a_failed_tasks_uuid_may_be_free_again(still):
    await still.fault({"count": 1, "action": "item_error"})
    await still.configure(switches={"conflict_after_failure": False})
    task = image()
    await still.send(task)
    running = await still.send(task)
    still.pass_time(2)
    failed = await still.send(task)

    assert (running.status_code, failed.status_code) == (400, 200)


@pytest.mark.parametrize(
    ("scope", "taken"),
    [("platform", [True, True, True]), ("organisation", [True, True, False]), ("key", [True, False, False])],
)
async def test_conflict_scope(still, scope, taken):
    await still.configure(switches={"conflict_scope": scope})

    seen = []
    for key in ("acme.one", "acme.two", "else.one"):
        task = image()
        await still.send(task)
        again = await still.send(task, headers={"Authorization": f"Bearer {key}"})
        seen.append(again.status_code == 400)

    assert seen == taken


async def test_a_duplicate_within_the_lag_is_accepted_and_billed_twice(still):
    await still.configure(switches={"conflict_lag_s": 1})
    task = image()

    quick = [(await still.send(task)).status_code for _ in range(2)]
    still.pass_time(1)
    late = (await still.send(task)).status_code
    still.pass_time(2)
    entry = (await still.http.get(f"/_emulator/ledger/{task['taskUUID']}")).json()

    assert (quick, late) == ([200, 200], 400)
    assert (entry["accepted"], entry["duplicates"]) == (2, 1)
    assert [one["event"] for one in entry["history"]].count("billed") == 2
    assert (await still.http.get("/_emulator/state")).json()["accounts"][0]["held_usd"] == "0.0000"


# --- requests ---


async def test_partial_status(still):
    await still.configure(switches={"partial_status": 400})

    partly = await still.send(image(), image(width=7))
    clean = await still.send(image())

    assert (partly.status_code, clean.status_code) == (400, 200)
    assert len(partly.json()["data"]) == 1


async def test_empty_errors(still):
    await still.configure(switches={"empty_errors": True})

    assert (await still.send(image())).json()["errors"] == []


async def test_largest_message(still):
    await still.configure(switches={"max_tasks": 2})
    many = await still.send(*(image() for _ in range(3)))
    await still.configure(switches={"max_body_bytes": 100})
    large = await still.send(image())

    assert (many.status_code, many.json()["errors"][0]["code"]) == (400, "arrayTooLarge")
    assert (large.status_code, large.json()["errors"][0]["code"]) == (413, "maxRequestSize")


async def test_retry_after_goes_with_every_busy_answer(still):
    await still.configure(switches={"retry_after_s": 3})
    await still.fault({"action": {"kind": "capacity", "running": 1, "queued": 0}})

    statuses = [(await still.send(image())) for _ in range(2)]
    await still.fault({"action": {"kind": "status", "status": 503}})
    busy = await still.send(image())

    assert [(one.status_code, one.headers.get("retry-after")) for one in [*statuses, busy]] == [
        (200, None),
        (429, "3"),
        (503, "3"),
    ]


async def test_payload_authentication_may_answer_no_session(still):
    await still.configure(switches={"rest_session": False})

    answer = await still.send({"taskType": "authentication", "apiKey": "acme.one"}, image(), headers={})

    assert [item["taskType"] for item in answer.json()["data"]] == ["imageInference"]


@pytest.mark.parametrize(
    "way", [{"headers": {**HEADERS, "X-Runware-Dry-Run": "1"}}, {"params": {"dryRun": "1"}}]
)
async def test_a_dry_run_may_be_a_mere_acknowledgement(still, way):
    task = image()
    priced = (await still.send(task, **way)).json()["data"][0]
    await still.configure(switches={"dry_run": "acknowledged"})
    acknowledged = (await still.send(task, **way)).json()["data"][0]
    ledger = await still.ledger()

    assert priced["cost"] > 0
    assert set(acknowledged) == {"taskType", "taskUUID"}
    assert (ledger["totals"]["accepted"], ledger["totals"]["dry_runs"]) == (0, 2)


async def test_dry_run_on_a_socket(live):
    async with connected(live, query="?dryRun=1") as socket:
        answer = await ask(socket, image())

    assert answer["data"][0]["dryRun"] is True
