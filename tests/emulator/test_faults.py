"""Faults strike when and where their rules say, and leave the ledger telling the truth."""

from __future__ import annotations

import httpx
import pytest

from runware_jobs.emulator.faults.judging import Faults
from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image, video
from tests.support.polling import poll_until


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
        ({"on": "poll", "action": "stuck"}, "on:"),
        ({"transport": "pigeon", "action": "stuck"}, "transport:"),
        ({"count": -1, "action": "stuck"}, "count:"),
        ({"for_s": 1, "until_s": 2, "action": "stuck"}, "until_s:"),
        ({"action": "close_listener"}, "for_s:"),
        ({"on": "connect", "action": "reset"}, "for_s:"),
        ({"action": {"kind": "latency", "min_s": 3, "max_s": 1, "distribution": "uniform"}}, "action.min_s"),
        ({"action": {"kind": "latency", "min_s": 0, "distribution": "lognormal"}}, "action.min_s"),
        ("explode", "action.kind"),
        (7, "a rule must be"),
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


async def test_a_rule_may_look_at_prompt_uuid_and_transport(still):
    task = image()
    await still.fault(
        {"prompt": "Lighthouse BY", "action": {"kind": "refuse", "code": "promptBlocked"}},
        {"taskUUID": task["taskUUID"], "action": {"kind": "refuse", "code": "imageBlocked"}},
        {"transport": "websocket", "action": {"kind": "refuse", "code": "noAvailableServer"}},
    )

    answers = [
        (await still.send(one)).json()
        for one in (image(), {**task, "positivePrompt": "a cat"}, image(positivePrompt="a dog"))
    ]

    codes = [answer["errors"][0]["code"] if "errors" in answer else None for answer in answers]
    assert codes == ["promptBlocked", "imageBlocked", None]


async def test_a_poll_is_matched_by_the_task_it_asks_about(still):
    await still.fault(
        {"on": "poll", "taskType": "videoInference", "action": {"kind": "status", "status": 503}}
    )
    still_one, film = image(), video()
    await still.send(still_one, film)

    statuses = [
        (await still.send({"taskType": "getResponse", "taskUUID": task["taskUUID"]})).status_code
        for task in (still_one, film)
    ]

    assert statuses == [200, 503]


def test_chance_is_the_same_for_the_same_seed():
    def hits(seed):
        faults = Faults(seed)
        (rule,) = faults.add({"on": "submit", "rate": 0.5, "action": "stuck"}, 0)
        counted = []
        for _ in range(40):
            faults.judge([image()], 0)
            counted.append(rule.hits)
        return counted

    assert hits(7) == hits(7)
    assert hits(7) != hits(8)
    assert 5 < hits(7)[-1] < 35


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("rate_limit", 429, "rateLimitExceeded"),
        ("overload", 503, "serviceUnavailable"),
        ("gateway_timeout", 504, "timeout"),
        ("server_error", 500, "internalServerError"),
        ("safety", 400, "contentPolicyViolation"),
        ("no_credits", 402, "insufficientCredits"),
        ("reject_key", 401, "invalidApiKey"),
    ],
)
async def test_usual_faults_have_a_name(still, name, status, code):
    await still.fault(name)

    response = await still.send(image())

    assert (response.status_code, response.json()["errors"][0]["code"]) == (status, code)


async def test_a_ready_made_fault_may_be_narrowed(still):
    await still.fault({"action": "overload", "taskType": "videoInference", "count": 1})

    statuses = [(await still.send(task)).status_code for task in (image(), video(), video())]

    assert statuses == [200, 503, 200]


async def test_one_poisonous_task_spoils_its_whole_group_for_ever(still):
    await still.fault({"prompt": "poison", "action": "poison"})
    good, bad = [image() for _ in range(3)], image(positivePrompt="a poisoned apple")

    group = await still.send(*good, bad)
    without = await still.send(*good)
    alone = [await still.send(bad), await still.send(bad)]

    assert (group.status_code, without.status_code) == (400, 200)
    assert [response.status_code for response in alone] == [400, 400]
    assert "taskUUID" not in group.json()["errors"][0]
    assert (await still.ledger())["totals"]["accepted"] == 3


async def test_a_full_queue_answers_429_and_drains_with_time(still):
    await still.fault({"action": {"kind": "capacity", "running": 2, "queued": 1}})
    tasks = [image() for _ in range(4)]

    first = [(await still.send(task)).status_code for task in tasks]
    other_model = (await still.send(image(model="runware:100@1"))).status_code
    still.pass_time(2)
    again = (await still.send(tasks[3])).status_code
    still.pass_time(0)
    states = [(await still.poll(task["taskUUID"]))["data"][0]["status"] for task in tasks]

    assert first == [200, 200, 200, 429]
    assert (other_model, again) == (200, 200)
    assert states == ["success", "success", "processing", "processing"]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ({"min_s": 10}, 10, 10),
        ({"distribution": "uniform", "min_s": 10, "max_s": 20}, 10, 20),
        ({"distribution": "lognormal", "min_s": 10, "max_s": 20}, 1, 200),
    ],
)
async def test_latency_follows_its_distribution(still, values, low, high):
    await still.fault({"action": {"kind": "latency", **values}})
    await still.send(*(image() for _ in range(100)))

    durations = sorted(task.ends_at - task.accepted_at for task in still.platform.tasks.values())

    assert low <= durations[0]
    assert durations[-1] <= high
    assert (len({round(one, 3) for one in durations}) == 1) == (low == high)
    between = sum(10 <= one <= 20 for one in durations)
    assert between == 100 if values.get("distribution") != "lognormal" else 75 <= between < 100


def test_a_closed_port_refuses_connections_and_opens_again(live):
    http = httpx.Client(base_url=live.address, headers=HEADERS)
    with http:
        http.post("/_emulator/faults", json={"for_s": 0.3, "action": "close_listener"}).raise_for_status()
        with pytest.raises(httpx.ConnectError):
            httpx.get(live.address)
        # The connection that was open stays open.
        assert http.post("/v1", json=[image()]).status_code == 200
    opened = poll_until(lambda: _reachable(live.address), what="the port to open again")

    assert opened


def _reachable(address):
    try:
        return httpx.get(f"{address}/_emulator/faults").status_code == 200
    except httpx.TransportError:
        return False


def test_a_connection_may_be_reset_as_it_is_made(live):
    httpx.post(f"{live.address}/_emulator/faults", json={"on": "connect", "count": 1, "action": "reset"})

    with pytest.raises(httpx.TransportError):
        httpx.post(f"{live.address}/v1", json=[image()], headers=HEADERS)
    then = httpx.post(f"{live.address}/v1", json=[image()], headers=HEADERS)
    ledger = httpx.get(f"{live.address}/_emulator/ledger").json()

    assert then.status_code == 200
    assert ledger["requests"]["total"] == 1


async def test_the_actions_are_listed_with_their_fields(still):
    listed = (await still.http.get("/_emulator/actions")).json()

    status = next(action for action in listed["actions"] if action["kind"] == "status")
    assert status["fields"]["status"] == 503
    for rule in listed["ready_made"]:
        assert (await still.fault(rule)).status_code == 201


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
