"""Prices, balances and the ledger."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import pytest

from runware_jobs.emulator.kinds import KINDS
from runware_jobs.emulator.prices import price_micro_usd
from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image, video


async def test_the_ledger_bills_what_the_items_cost(still):
    task = image(numberResults=3, includeCost=True)
    await still.send(task)
    still.pass_time(2)

    items = (await still.poll(task["taskUUID"]))["data"]
    ledger = await still.ledger()

    billed = Decimal(ledger["tasks"][task["taskUUID"]]["billed_usd"])
    assert sum(Decimal(str(item["cost"])) for item in items) == billed
    assert Decimal(ledger["totals"]["billed_usd"]) == billed


async def test_finished_work_is_billed_even_if_nobody_polls(still):
    await still.send(video())
    before = (await still.ledger())["totals"]["billed_usd"]
    still.pass_time(30)

    after = (await still.ledger())["totals"]["billed_usd"]

    assert before == "0.0000"
    assert Decimal(after) > 0


async def test_the_balance_goes_down_by_what_was_billed(still):
    details = {"taskType": "accountManagement", "taskUUID": str(uuid4()), "operation": "getDetails"}
    before = (await still.send(details)).json()["data"][0]
    await still.send(video())
    still.pass_time(30)

    after = (await still.send(details)).json()["data"][0]
    billed = Decimal((await still.ledger())["totals"]["billed_usd"])

    assert before["organizationUUID"] == after["organizationUUID"]
    assert abs(
        Decimal(str(before["balance"]["amount"])) - Decimal(str(after["balance"]["amount"])) - billed
    ) < Decimal("1e-6")


async def test_used_up_credits_refuse_with_402(still):
    accepted, refused = video(), video()
    price = (await still.send(accepted, headers={**HEADERS, "X-Runware-Dry-Run": "1"})).json()["data"][0][
        "cost"
    ]
    await still.configure(balance_usd=price * 1.5)

    await still.send(accepted)
    response = await still.send(refused, video())
    ledger = await still.ledger()

    assert response.status_code == 402
    assert response.json()["errors"][0]["code"] == "insufficientCredits"
    assert ledger["tasks"][refused["taskUUID"]]["refused"] == 1
    assert ledger["totals"]["accepted"] == 1


async def test_failed_items_cost_nothing_and_release_their_hold(still):
    await still.fault({"on": "submit", "action": {"kind": "item_error", "items": [1]}})
    task = image(numberResults=2)
    await still.send(task)
    still.pass_time(2)

    state = (await still.http.get("/_emulator/state")).json()
    entry = (await still.ledger())["tasks"][task["taskUUID"]]

    assert (entry["items"], entry["state"]) == (1, "error")
    assert state["accounts"][0]["held_usd"] == "0.0000"


async def test_messages_are_counted_by_what_they_carry(still):
    task = image()
    await still.send(task, image())
    await still.poll(task["taskUUID"])
    await still.send({"taskType": "ping", "ping": True})

    requests = (await still.ledger())["requests"]

    assert requests == {"total": 3, "rest": 3, "websocket": 0, "submits": 1, "polls": 1}


async def test_reset_forgets_everything(still):
    task = image()
    await still.send(task)
    await still.http.delete("/_emulator/ledger")

    assert (await still.ledger())["tasks"] == {}
    assert (await still.send(task)).status_code == 200


@pytest.mark.parametrize("task_type", KINDS)
def test_every_task_type_has_a_price(task_type):
    kind = KINDS[task_type]

    assert (price_micro_usd(kind, {}) > 0) is (task_type != "modelUpload")


async def test_a_larger_picture_and_a_longer_film_cost_more(still):
    tasks = [
        image(width=512, height=512),
        image(width=1024, height=1024),
        video(duration=5),
        video(duration=10),
    ]
    dry = await still.send(*tasks, headers={**HEADERS, "X-Runware-Dry-Run": "1"})

    small, large, short, long = (item["cost"] for item in dry.json()["data"])

    assert 4 * small == pytest.approx(large, rel=1e-3)
    assert 2 * short == pytest.approx(long, rel=1e-3)
