"""When a failed delivery is tried again, by table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.delivery import (
    MAX_RETRY_AFTER_S,
    SCHEDULE_S,
    STALE_AFTER_S,
    next_delivery,
    next_rest,
    read_retry_after,
    wait_of_rest,
)

NOW = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


@pytest.mark.parametrize(
    ("label", "attempts_made", "wait_s"),
    [
        ("the first goes at once", 0, 0),
        ("5 s", 1, 5),
        ("5 min", 2, 5 * MINUTE),
        ("30 min", 3, 30 * MINUTE),
        ("2 h", 4, 2 * HOUR),
        ("5 h", 5, 5 * HOUR),
        ("10 h", 6, 10 * HOUR),
        ("14 h", 7, 14 * HOUR),
        ("20 h", 8, 20 * HOUR),
        ("24 h", 9, 24 * HOUR),
        ("then dead", 10, None),
        ("and stays dead", 11, None),
    ],
)
def test_schedule_is_the_one_of_the_contract(label, attempts_made, wait_s):
    assert wait_s == next_delivery(attempts_made, retry_after_s=None, random=0.0)


@pytest.mark.parametrize(
    ("label", "attempts_made", "retry_after_s", "wait_s"),
    [
        ("longer than the step", 1, 120.0, 120.0),
        ("shorter than the step", 2, 10.0, 300.0),
        ("zero", 1, 0.0, 5.0),
        ("negative", 1, -5.0, 5.0),
        ("a year", 1, 31_536_000.0, 86_400.0),
        ("for ever", 1, float("inf"), 86_400.0),
        ("no number", 1, float("nan"), 5.0),
        ("never one more attempt", 10, 60.0, None),
    ],
)
def test_receiver_can_slow_us_down_within_bounds(label, attempts_made, retry_after_s, wait_s):
    assert wait_s == next_delivery(attempts_made, retry_after_s=retry_after_s, random=0.0)


@given(
    attempts_made=st.integers(1, len(SCHEDULE_S)),
    retry_after_s=st.none() | st.floats(),
    random=st.floats(0, 1, exclude_max=True),
)
def test_jitter_is_never_early_and_little_late(attempts_made, retry_after_s, random):
    steady = next_delivery(attempts_made, retry_after_s=retry_after_s, random=0.0)
    jittered = next_delivery(attempts_made, retry_after_s=retry_after_s, random=random)

    assert steady <= jittered <= steady * 1.1


@pytest.mark.parametrize(
    ("label", "value", "seconds"),
    [
        ("absent", None, None),
        ("seconds", "120", 120.0),
        ("spaces around", " 120 ", 120.0),
        ("zero", "0", 0.0),
        ("date", "Tue, 01 Dec 2026 10:02:00 GMT", 120.0),
        ("date in an old form", "Tuesday, 01-Dec-26 10:02:00 GMT", 120.0),
        ("date in the past", "Tue, 01 Dec 2026 09:00:00 GMT", 0.0),
        ("date far away", "Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("thousands of digits", "9" * 5000, MAX_RETRY_AFTER_S),
        ("negative", "-5", None),
        ("fraction", "1.5", None),
        ("other digits", "\u0661\u0662", None),
        ("word", "soon", None),
        ("empty", "", None),
        ("year beyond any", "Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(label, value, seconds):
    assert seconds == read_retry_after(value, now=NOW)


@given(st.text())
def test_no_header_of_a_receiver_breaks_the_reading(value):
    seconds = read_retry_after(value, now=NOW)

    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


def test_rest_grows_from_five_seconds_to_five_minutes():
    rests, rest_s = [], 0.0
    for _ in range(9):
        rest_s = next_rest(rest_s)
        rests.append(rest_s)

    assert rests == [5, 10, 20, 40, 80, 160, 300, 300, 300]


@pytest.mark.parametrize(
    ("label", "asked_s", "wait_s"),
    [
        ("nothing asked", None, 10),
        ("less than its rest", 3.0, 10),
        ("more", 60.0, 60),
        ("more than an hour", 86_400.0, 3_600),
    ],
)
def test_receiver_rests_as_long_as_it_asks_within_bounds(label, asked_s, wait_s):
    assert wait_of_rest(10, retry_after_s=asked_s, random=0) == wait_s
    assert wait_s < wait_of_rest(10, retry_after_s=asked_s, random=0.5) < wait_s * 1.1


def test_what_is_given_up_untried_has_waited_for_the_whole_schedule():
    assert sum(SCHEDULE_S) == STALE_AFTER_S
