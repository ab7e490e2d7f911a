"""How things are shown: money as decimal strings, times in UTC, results in order, secrets nowhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pytest

from runware_jobs.core.views import batch_view, event_view, job_view, moment, money

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("label", "value", "shown"),
    [
        ("not known", None, None),
        ("nothing", Decimal("0.000000"), "0"),
        ("without trailing zeros", Decimal("0.001300"), "0.0013"),
        ("never with an exponent", Decimal(100), "100"),
        ("small, never with an exponent", Decimal("0.000001"), "0.000001"),
        ("from JSON", "2.50", "2.5"),
        ("a float as it is written", 0.1, "0.1"),
    ],
)
def test_money_is_a_decimal_string(label, value, shown):
    assert shown == money(value)


@pytest.mark.parametrize(
    ("label", "value", "shown"),
    [
        ("none", None, None),
        ("UTC", NOON, "2026-11-21T12:00:00Z"),
        ("elsewhere", NOON.astimezone(timezone(timedelta(hours=5))), "2026-11-21T12:00:00Z"),
        ("out of JSON", "2026-11-21T13:00:00.5+01:00", "2026-11-21T12:00:00.500000Z"),
    ],
)
def test_times_are_utc(label, value, shown):
    assert shown == moment(value)


def row(**changes):
    result = {"item": {"imageUUID": "a"}, "state": "success", "error": None, "archived_url": None}
    attempt = {
        "run": 1,
        "number": 1,
        "task_uuid": "t1",
        "state": "ended",
        "outcome": "failed",
        "error": {"code": "timeout"},
        "cost_usd": None,
        "submitted_at": NOON,
        "finished_at": NOON,
        "settlement": [],
    }
    nothing = dict.fromkeys(
        [
            "progress",
            "error",
            "batch_id",
            "custom_id",
            "external_id",
            "idempotency_key",
            "webhook_url",
            "deadline_at",
            "expected_at",
            "queue_position",
            "submitted_at",
            "finished_at",
        ]
    )
    return {
        **nothing,
        "id": UUID(int=1),
        "kind": "run",
        "shown_state": "succeeded",
        "params": {},
        "results": [
            result,
            {**result, "state": "error", "error": {"code": "timeout"}},
            {**result, "archived_url": "file:///a.png"},
        ],
        "attempts_made": [attempt, {**attempt, "number": 2, "task_uuid": "t2", "outcome": None}],
        "cost_usd": Decimal("0.0026"),
        "billing": "billed",
        "run": 1,
        "tenant": "default",
        "lane": "image",
        "model": "runware:400@1",
        "priority": 5,
        "metadata": {},
        "tags": [],
        "max_attempts": 3,
        "run_at": NOON,
        "created_at": NOON,
    } | changes


def test_job_shows_results_apart_from_failures():
    view = job_view(row())

    assert view["results"] == [{"imageUUID": "a"}, {"imageUUID": "a", "archived_url": "file:///a.png"}]
    assert view["failures"] == [{"code": "timeout"}]
    assert view["cost_usd"] == "0.0026"


def test_job_shows_how_each_attempt_ended_and_the_newest_task():
    view = job_view(row())

    assert [attempt["state"] for attempt in view["attempts"]] == ["failed", "ended"]
    assert view["task_uuid"] == "t2"
    assert job_view(row(run=2))["task_uuid"] is None


def test_event_carries_the_result_it_tells_of_and_not_our_key():
    event = SimpleNamespace(
        event_id=UUID(int=3),
        event_created_at=NOON,
        type="job.result",
        job_id=UUID(int=1),
        batch_id=None,
        run=1,
        seq=4,
        data={"key": "i0", "task_uuid": "t1"},
        item={"imageUUID": "a"},
    )

    assert event_view(event)["data"] == {"task_uuid": "t1", "result": {"imageUUID": "a"}}


def test_batch_is_completed_once_it_has_finished():
    batch = {
        "id": UUID(int=5),
        "name": "spring",
        "tenant": "default",
        "state": "open",
        "pause_reason": None,
        "total": 3,
        "counts": {"succeeded": 2, "running": 1},
        "cost_usd": None,
        "budget_usd": Decimal(40),
        "created_at": NOON,
        "finished_at": None,
    }

    assert tuple(batch_view(batch)[name] for name in ("state", "finished", "budget_usd")) == ("open", 2, "40")
    assert batch_view({**batch, "finished_at": NOON})["state"] == "completed"
