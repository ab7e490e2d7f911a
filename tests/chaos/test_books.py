"""The comparison of both books finds what it is there to find: each fault alone, by its own sentence."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from tests.support.books import Books, compare_books

TASK = "5d0c1c2e-0000-4000-8000-000000000001"
SECOND = "5d0c1c2e-0000-4000-8000-000000000002"


def agreeing() -> dict[str, Any]:
    """Give the books of one job that has succeeded."""
    return {
        "jobs": [
            {
                "id": "j",
                "state": "succeeded",
                "run": 1,
                "seq": 4,
                "billing": "billed",
                "cost_usd": Decimal("0.01"),
                "error": None,
            }
        ],
        "attempts": [attempt(TASK)],
        "results": [
            {
                "task_uuid": TASK,
                "key": "i0",
                "state": "success",
                "item": {"imageUUID": "m"},
                "cost_usd": Decimal("0.01"),
            }
        ],
        "events": [
            event(1, "job.queued"),
            event(2, "job.submitted", task_uuid=TASK),
            event(3, "job.result", task_uuid=TASK, key="i0"),
            event(4, "job.succeeded", task_uuid=TASK),
        ],
        "counters": [{"name": "in_flight of account 1", "value": 0}],
        "ledger": {"totals": {"billed_usd": "0.01"}, "tasks": {TASK: entry()}},
    }


def attempt(task_uuid: str, number: int = 1) -> dict[str, Any]:
    return {
        "task_uuid": task_uuid,
        "job_id": "j",
        "run": 1,
        "number": number,
        "state": "ended",
        "outcome": "succeeded",
        "cost_usd": Decimal("0.01"),
        "settlement": [],
    }


def event(seq: int, kind: str, **data: Any) -> dict[str, Any]:
    return {"job_id": "j", "type": kind, "seq": seq, "run": 1, "data": data}


def entry(start: float = 1.0) -> dict[str, Any]:
    history = [
        {"at": start, "event": "accepted", "detail": ""},
        {"at": start + 1, "event": "billed", "detail": "0.01"},
    ]
    return {
        "state": "success",
        "accepted": 1,
        "items": 1,
        "billed_usd": "0.01",
        "finished_at": start + 1,
        "history": history,
    }


def second_task(books: dict[str, Any]) -> None:
    books["attempts"].append(attempt(SECOND, 2))
    books["ledger"]["tasks"][SECOND] = entry(1.5)


def faults() -> dict[str, tuple[Any, str]]:
    """Name what goes wrong, how, and a part of the sentence that says so."""
    return {
        "a job runs on": (lambda b: b["jobs"][0].update(state="running"), "has not ended"),
        "an attempt lives": (
            lambda b: b["attempts"][0].update(state="accepted", outcome=None),
            "is still accepted",
        ),
        "canceled by nobody": (lambda b: b["jobs"][0].update(state="canceled"), "canceled by nobody"),
        "failed without a reason": (
            lambda b: b["jobs"][0].update(state="failed", error={"code": "unknown"}),
            "failed for no reason",
        ),
        "lost though the platform has it": (
            lambda b: b["attempts"][0].update(outcome="lost"),
            "given up as lost",
        ),
        "a task of nobody": (
            lambda b: b["ledger"]["tasks"].update({SECOND: entry()}),
            "belongs to no attempt",
        ),
        "accepted twice": (lambda b: b["ledger"]["tasks"][TASK].update(accepted=2), "accepted 2 times"),
        "a second task too soon": (second_task, "could still be alive"),
        "paid twice": (second_task, "was paid 2 times in 1 runs"),
        "a result is missing": (lambda b: b["results"].clear(), "0 results in the tables, 1 in the ledger"),
        "a result is there twice": (
            lambda b: b["results"].append(b["results"][0] | {"key": "p0"}),
            "is in the tables 2 times",
        ),
        "a cost is missing": (lambda b: b["attempts"][0].update(cost_usd=None), "the ledger says 0.01"),
        "the job's cost is another": (
            lambda b: b["jobs"][0].update(cost_usd=Decimal("0.02")),
            "its attempts 0.01",
        ),
        "an event is missing": (lambda b: b["events"].pop(1), "missing or doubled"),
        "an event is doubled": (lambda b: b["events"].append(b["events"][1]), "missing or doubled"),
        "two ends": (
            lambda b: (b["events"].append(event(5, "job.succeeded")), b["jobs"][0].update(seq=5)),
            "after the end",
        ),
        "a result is not told": (lambda b: b["events"][2].update(type="job.cost"), "told by no event"),
        "a place is taken": (lambda b: b["counters"][0].update(value=1), "in_flight of account 1 is still 1"),
    }


def test_books_that_agree_have_nothing_wrong() -> None:
    assert compare_books(Books(**agreeing())) == []


@pytest.mark.parametrize("label", faults())
def test_books_say_when(label: str) -> None:
    fault, sentence = faults()[label]
    books = deepcopy(agreeing())
    fault(books)

    assert any(sentence in one for one in compare_books(Books(**books)))
