"""Faults strike when and where their rules say, and leave the ledger telling the truth."""

from __future__ import annotations

import httpx
import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image, video


async def test_a_status_refuses_before_anything_is_accepted(still):
    await still.fault(
        {"on": "submit", "count": 1, "action": {"kind": "status", "status": 429, "retry_after": 7}}
    )
    task = image()

    busy = await still.send(task)
    then = await still.send(task)

    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    assert busy.json()["errors"][0] | {"message": ""} == {
        "code": "rateLimitExceeded",
        "message": "",
        "taskType": "imageInference",
        "taskUUID": task["taskUUID"],
        "documentation": "https://runware.ai/docs/models-api/errors#rateLimitExceeded",
    }
    assert then.status_code == 200
    entry = (await still.ledger())["tasks"][task["taskUUID"]]
    assert (entry["submits"], entry["accepted"], entry["refused"], entry["duplicates"]) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("body", "starts"), [("html", b"<html>"), ("empty", b""), ("request", b'{"errors":[{"code"')]
)
async def test_a_status_may_come_without_the_platforms_own_words(still, body, starts):
    await still.fault({"action": {"kind": "status", "status": 502, "body": body}})

    response = await still.send(image())

    assert response.status_code == 502
    assert response.content.startswith(starts)
    assert b"taskUUID" not in response.content


async def test_a_lost_answer_leaves_the_task_accepted(still):
    await still.fault(
        {"on": "submit", "count": 1, "action": {"kind": "lose_answer", "how": "status", "status": 504}}
    )
    task = image()

    lost = await still.send(task)
    again = await still.send(task)

    assert lost.status_code == 504
    assert again.json()["errors"][0]["code"] == "conflictTaskUUID"


def test_a_reset_breaks_the_connection_before_or_after_acceptance(live):
    before, after = image(), image()
    with httpx.Client(base_url=live.address, headers=HEADERS) as http:
        http.post("/_emulator/faults", json=[{"on": "submit", "count": 1, "action": "reset"}])
        with pytest.raises(httpx.TransportError):
            http.post("/v1", json=[before])
        http.post("/_emulator/faults", json=[{"on": "submit", "count": 1, "action": "lose_answer"}])
        with pytest.raises(httpx.TransportError):
            http.post("/v1", json=[after])
        ledger = http.get("/_emulator/ledger").json()

    assert tuple(ledger["tasks"][task["taskUUID"]]["accepted"] for task in (before, after)) == (0, 1)


@pytest.mark.parametrize("form", ["A", "B"])
async def test_failed_items_come_in_either_form(still, form):
    await still.fault({"action": {"kind": "item_error", "code": "providerError", "message": "It broke."}})
    await still.configure(switches={"failure_form": form})
    task = image()
    await still.send(task)
    still.pass_time(2)

    answer = await still.poll(task["taskUUID"])

    if form == "A":
        assert answer["data"] == []
        failed = answer["errors"][0]
        assert (failed["code"], failed["status"], failed["taskUUID"]) == (
            "providerError",
            "error",
            task["taskUUID"],
        )
    else:
        assert answer["data"][0]["status"] == "error"
        assert answer["data"][0]["error"] == {"code": "providerError", "message": "It broke."}


async def test_a_stuck_task_never_ends_and_a_lost_one_is_unknown(still):
    await still.fault(
        {"taskType": "imageInference", "action": "stuck"}, {"taskType": "videoInference", "action": "lost"}
    )
    stuck, lost = image(), video()
    await still.send(stuck, lost)
    still.pass_time(1e6)

    answer = await still.poll(stuck["taskUUID"], lost["taskUUID"])
    ledger = await still.ledger()

    assert [(stuck["taskUUID"], "processing")] == [
        (item["taskUUID"], item["status"]) for item in answer["data"]
    ]
    assert [ledger["tasks"][task["taskUUID"]]["state"] for task in (stuck, lost)] == ["stuck", "lost"]
    assert ledger["totals"]["billed_usd"] == "0.0000"


async def test_rules_obey_their_window_rate_and_model(still):
    await still.fault(
        {
            "on": "submit",
            "after_s": 10,
            "for_s": 5,
            "action": {"kind": "refuse", "code": "noAvailableServer"},
        },
        {"on": "submit", "model": "runware:100@1", "action": {"kind": "refuse", "code": "modelUnavailable"}},
        {"on": "submit", "rate": 0, "action": "stuck"},
    )

    codes = []
    for seconds, model in (
        (0, "runware:400@1"),
        (10, "runware:400@1"),
        (5, "runware:400@1"),
        (0, "runware:100@1"),
    ):
        still.pass_time(seconds)
        errors = (await still.send(image(model=model))).json().get("errors", [])
        codes.append(errors[0]["code"] if errors else None)

    assert codes == [None, "noAvailableServer", None, "modelUnavailable"]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"action": {"kind": "explode"}}, "action.kind"),
        ({"on": "sometimes", "action": "stuck"}, "on:"),
        ({"rate": 2, "action": "stuck"}, "rate:"),
        ({"colour": "red", "action": "stuck"}, "colour:"),
        ({"action": {"kind": "status", "status": "busy"}}, "action.status"),
        ({"action": {"kind": "lose_answer", "how": "gone"}}, "action.how"),
    ],
)
async def test_a_wrong_rule_is_refused_by_field(still, rule, field):
    response = await still.fault(rule)

    assert response.status_code == 400
    assert response.json()["error"].startswith(field)


async def test_rules_are_listed_and_removed(still):
    await still.fault({"id": "a", "action": "stuck"}, {"action": "lost"})

    await still.http.delete("/_emulator/faults/a")
    left = (await still.http.get("/_emulator/faults")).json()
    await still.http.delete("/_emulator/faults")

    assert [rule["action"]["kind"] for rule in left] == ["lost"]
    assert (await still.http.get("/_emulator/faults")).json() == []


@pytest.mark.parametrize(
    "values",
    [
        {"switches": {"failure_form": "C"}},
        {"switches": {"speed": 1}},
        {"latencies": {"image": [3, 1]}},
        {"x": 1},
    ],
)
async def test_wrong_configuration_is_refused_and_changes_nothing(still, values):
    before = (await still.http.get("/_emulator/config")).json()

    response = await still.configure(**values)

    assert response.status_code == 400
    assert (await still.http.get("/_emulator/config")).json() == before
