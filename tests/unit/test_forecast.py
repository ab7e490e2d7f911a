"""What many jobs amount to: the narrowest way through, and what a budget pays for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runware_jobs.core.forecast import Learned, Room, Sort, forecast
from runware_jobs.core.states import Lane

IMAGE = Sort(Lane.IMAGE, "a:1@1", "")
VIDEO = Sort(Lane.VIDEO, "b:1@1", "")
WIDE = Room(in_flight=1000, requests_per_s=1000, group_size=50)
KNOWN = {IMAGE: Learned(Decimal("0.01"), 2.0), VIDEO: Learned(Decimal(1), 30.0)}


@pytest.mark.parametrize(
    ("label", "jobs", "room", "expected_s"),
    [
        ("all at once takes as long as the longest", [(IMAGE, 1)] * 9 + [(VIDEO, 1)], WIDE, 30),
        ("ten at a time", [(IMAGE, 1)] * 100, Room(in_flight=10, requests_per_s=1000, group_size=50), 20),
        (
            "a lane of its own",
            [(IMAGE, 1)] * 100 + [(VIDEO, 1)] * 4,
            Room(in_flight=1000, requests_per_s=1000, group_size=50, by_lane={Lane.VIDEO: 1}),
            120,
        ),
        (
            "a model that is slowed down",
            [(IMAGE, 1)] * 100,
            Room(in_flight=1000, requests_per_s=1000, group_size=50, by_model={(Lane.IMAGE, "a:1@1"): 4}),
            50,
        ),
        (
            "requests are few",
            [(IMAGE, 1)] * 100,
            Room(in_flight=1000, requests_per_s=0.1, group_size=10),
            102,
        ),
        ("one job", [(VIDEO, 1)], WIDE, 30),
        ("none", [], WIDE, 0),
    ],
)
def test_narrowest_way_through_decides(label, jobs, room, expected_s):
    told = forecast(jobs, KNOWN, room, budget_usd=None)

    assert told.duration_s == pytest.approx(expected_s, abs=0.2)


@pytest.mark.parametrize(
    ("label", "jobs", "budget", "expected"),
    [
        ("exactly", [(IMAGE, 1)] * 5, "0.03", 3),
        ("results count", [(IMAGE, 2)] * 5, "0.05", 2),
        ("all", [(IMAGE, 1)] * 5, "9", 5),
        ("none", [(VIDEO, 1)], "0.5", 0),
        ("a price is missing", [(IMAGE, 1), (Sort(Lane.TEXT, "c", ""), 1)], "9", None),
        ("it is missing after the end", [(VIDEO, 1), (Sort(Lane.TEXT, "c", ""), 1)], "0.5", 0),
    ],
)
def test_budget_pays_for_the_first_jobs(label, jobs, budget, expected):
    assert forecast(jobs, KNOWN, WIDE, budget_usd=Decimal(budget)).affordable_jobs == expected


def test_what_is_unknown_is_counted_and_not_guessed():
    told = forecast([(IMAGE, 3), (Sort(Lane.TEXT, "c", ""), 1)], KNOWN, WIDE, budget_usd=None)

    assert (told.jobs, told.results, told.cost_usd) == (2, 4, Decimal("0.03"))
    assert (told.unpriced_jobs, told.untimed_jobs, told.affordable_jobs) == (1, 1, None)
