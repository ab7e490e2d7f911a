"""What is tried again, how soon, and until when."""

from __future__ import annotations

import pytest

from runware_jobs.client import ErrorCode
from runware_jobs.client.backoff import RETRIES, is_repeated, parse_retry_after, retry_delay_s
from runware_jobs.client.wire.fence import SendFence

REPEATED_CLASSES = {"connection", "rateLimit", "serverError", "timeout"}
#                      taken or unclear, certainly not taken
BY_REQUEST = {
    "submit": (True, True),
    "push": (False, True),
    "question": (True, True),
    "change": (False, True),
    "stream": (False, False),
}


def test_every_class_of_error_has_its_row():
    assert set(RETRIES) == set(ErrorCode)


@pytest.mark.parametrize("asked", BY_REQUEST)
@pytest.mark.parametrize("code", list(ErrorCode))
def test_request_is_repeated_as_the_table_says(code, asked):
    if_taken, if_not = BY_REQUEST[asked] if code in REPEATED_CLASSES else (False, False)

    assert is_repeated(code, asked, may_be_taken=True) is if_taken
    assert is_repeated(code, asked, may_be_taken=False) is if_not


def test_small_base_has_a_small_jitter():
    assert retry_delay_s(0, base_ms=5, rng=lambda: 1.0) == 0.01


def test_fence_believes_the_stricter_clock():
    wall, steady = [1_000.0], [50.0]
    fence = SendFence(1_010.0, wall=lambda: wall[0], steady=lambda: steady[0])
    assert not fence.has_passed()

    steady[0] += 11  # the machine slept, or somebody set the wall clock back
    assert fence.has_passed()

    steady[0], wall[0] = 50.0, 1_010.0
    assert fence.has_passed()


def test_no_fence_never_passes():
    assert not SendFence(None).has_passed()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("7", 7.0),
        ("1.5", 1.5),
        ("soon", None),
        ("-3", None),
        ("99999999", 3600.0),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_within_reason(value, expected):
    assert parse_retry_after(value) == expected


@pytest.mark.parametrize("strategy", ["exponential", "linear"])
@pytest.mark.parametrize("jitter_s", [0.0, 1.0])
def test_delays_grow_are_capped_and_then_spread_by_up_to_a_second(strategy, jitter_s):
    delays = [
        retry_delay_s(attempt, base_ms=1_000, strategy=strategy, rng=lambda: jitter_s)
        for attempt in (0, 1, 5, 500)
    ]

    assert delays == sorted(delays)
    assert delays[:2] == [1.0 + jitter_s, 2.0 + jitter_s]
    assert delays[-1] == 30.0 + jitter_s
