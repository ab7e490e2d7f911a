"""Bodies that no client would send on purpose are refused, and the emulator lives on."""

from __future__ import annotations

import httpx
import orjson
import pytest

from tests.emulator.conftest import HEADERS
from tests.emulator.sample_tasks import image


def nested(levels):
    """JSON of so many arrays, one in the other."""
    return b"[" * levels + b"]" * levels


def deep_task(levels, **values):
    task = orjson.dumps(image(**values))
    return b"[" + task[:-1] + b',"providerSettings":{"a":' + nested(levels) + b"}}]"


@pytest.mark.parametrize("levels", [70, 260, 900])
def test_a_task_that_nests_too_deep_is_a_400(live, levels):
    refused = httpx.post(f"{live.address}/v1", content=deep_task(levels), headers=HEADERS)
    after = httpx.post(f"{live.address}/v1", json=[image()], headers=HEADERS)

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "invalidRequest")
    assert after.status_code == 200


def test_an_unknown_task_type_may_not_nest_too_deep_either(live):
    body = b'[{"taskType":' + nested(400) + b"}]"

    assert httpx.post(f"{live.address}/v1", content=body, headers=HEADERS).status_code == 400
    assert httpx.get(f"{live.address}/_emulator/ledger").status_code == 200


@pytest.mark.parametrize("body", [b"{bad", b"", b"\xff", nested(400)])
async def test_fault_rules_that_are_no_json_are_a_400_in_words(still, body):
    answer = await still.http.post("/_emulator/faults", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("limit", ["\u00b2", "9" * 30, "-1", "x"])
async def test_a_limit_that_is_no_number_counts_as_none(still, limit):
    assert (await still.http.get("/_emulator/tasks", params={"limit": limit})).status_code == 200
