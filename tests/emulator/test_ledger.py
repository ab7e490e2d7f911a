"""The ledger: every request, every accepted, refused and billed task by UUID, and every duplicate."""

from __future__ import annotations

import json
from uuid import uuid4

from tests.emulator.sample_tasks import image
from tests.emulator.sockets import poll_of


async def entry_of(still, task):
    return (await still.http.get(f"/_emulator/ledger/{task['taskUUID']}")).json()


async def exported(still):
    response = await still.http.get("/_emulator/ledger.jsonl")
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def test_a_task_tells_its_whole_story(still):
    await still.fault({"count": 1, "action": {"kind": "item_error", "items": [1]}})
    task = image(numberResults=2)
    start = still.clock.time
    await still.send(task)
    still.pass_time(1)
    await still.send(task)
    still.pass_time(1)
    await still.poll(task["taskUUID"])

    entry = await entry_of(still, task)

    told = [(one["event"], one["at"] - start) for one in entry["history"]]
    assert [event for event, _ in told] == ["accepted", "duplicate", "billed", "failed"]
    assert [round(at, 3) for _, at in told] == [0, 1, 1.2, 2]
    assert [entry[name] for name in ("submits", "accepted", "duplicates", "polls", "items")] == [
        2,
        1,
        1,
        1,
        1,
    ]
    assert entry["history"][3]["detail"] == "providerError"
    assert entry["history"][2]["detail"] == entry["billed_usd"]


async def test_a_refused_task_keeps_its_reasons(still):
    task = image(width=7)
    await still.fault({"count": 1, "action": "overload"})
    await still.send(task)
    await still.send(task)

    history = (await entry_of(still, task))["history"]

    assert [(one["event"], one["detail"]) for one in history] == [
        ("refused", "serviceUnavailable"),
        ("refused", "invalidWidth"),
    ]


async def test_a_uuid_that_never_arrived_is_404(still):
    response = await still.http.get(f"/_emulator/ledger/{uuid4()}")

    assert response.status_code == 404


async def test_the_export_has_sums_requests_and_tasks(still):
    good, bad = image(), image(width=7)
    await still.send(good, bad)
    await still.fault({"on": "poll", "action": {"kind": "lose_answer", "how": "status"}})
    await still.send(poll_of(good), {"taskType": "ping", "ping": True})

    records = await exported(still)

    requests = [record for record in records if record["record"] == "request"]
    tasks = {record["taskUUID"]: record for record in records if record["record"] == "task"}
    assert records[0] | {"requests": None} == {
        "record": "totals",
        "requests": None,
        "accepted": 1,
        "refused": 1,
        "duplicates": 0,
        "billed_usd": "0.0000",
        "dry_runs": 0,
    }
    counted = [(one["submits"], one["polls"], one["others"], one["outcome"]) for one in requests]
    assert counted == [(2, 0, 0, "answered"), (0, 1, 1, "answer lost")]
    assert [tasks[task["taskUUID"]]["accepted"] for task in (good, bad)] == [1, 0]
