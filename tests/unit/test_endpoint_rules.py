"""What an endpoint may ask for, when it is given up, and how long the secret before the last one signs."""

from __future__ import annotations

import datetime as dt

import pytest

from runware_jobs.core.delivery import SCHEDULE_S
from runware_jobs.core.endpoints import (
    GIVEN_UP_AFTER_S,
    OVERLAP_S,
    is_given_up,
    old_secret_ends_at,
    read_filter,
)
from runware_jobs.core.events import EventType
from runware_jobs.errors import InvalidJob

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
ALL = sorted(event.value for event in EventType)


@pytest.mark.parametrize(
    ("label", "asked", "stands_for"),
    [
        ("nothing: the default ones", [], []),
        ("a name", ["job.failed"], ["job.failed"]),
        ("twice the same", ["job.failed", "job.cost", "job.failed"], ["job.cost", "job.failed"]),
        ("all of accounts", ["account.*"], ["account.paused", "account.resumed"]),
        ("everything", ["*"], [name for name in ALL if name != "job.progress"]),
        (
            "a kind, and what has to be named",
            ["batch.*", "job.progress"],
            ["batch.completed", "job.progress"],
        ),
    ],
)
def test_filter_stands_for_events_by_name(label, asked, stands_for):
    assert read_filter(asked) == stands_for, label


@pytest.mark.parametrize("name", ALL)
def test_every_event_of_the_contract_can_be_asked_for(name):
    assert read_filter([name]) == [name]


def test_progress_has_to_be_asked_for_by_name():
    assert "job.progress" not in read_filter(["job.*"])
    assert "job.succeeded" in read_filter(["job.*"])


@pytest.mark.parametrize("unknown", ["job.eaten", "job", "jobs.*", "*.*", "", "job.*.x", "JOB.FAILED"])
def test_unknown_event_is_named_with_its_place_and_what_there_is(unknown):
    with pytest.raises(InvalidJob) as refused:
        read_filter(["job.failed", unknown])

    assert refused.value.parameter == "events[1]"
    assert repr(unknown) in str(refused.value)
    assert "job.succeeded" in str(refused.value)


@pytest.mark.parametrize(
    ("label", "failed_for_s", "given_up"),
    [
        ("it does not fail", None, False),
        ("it just began to", 0, False),
        ("a moment before", GIVEN_UP_AFTER_S - 1, False),
        ("for so long", GIVEN_UP_AFTER_S, True),
        ("for longer", GIVEN_UP_AFTER_S * 9, True),
    ],
)
def test_endpoint_is_given_up_after_days_of_failure(label, failed_for_s, given_up):
    since = None if failed_for_s is None else NOW - dt.timedelta(seconds=failed_for_s)

    assert is_given_up(since, NOW) == given_up, label


def test_endpoint_is_not_given_up_within_the_tries_of_one_event():
    assert sum(SCHEDULE_S) * 1.1 < GIVEN_UP_AFTER_S


def test_old_secret_signs_for_a_day_after_the_rotation():
    assert old_secret_ends_at(NOW, has_old_secret=True) == NOW + dt.timedelta(seconds=OVERLAP_S)
    assert old_secret_ends_at(NOW, has_old_secret=False) is None
    assert old_secret_ends_at(None, has_old_secret=False) is None
