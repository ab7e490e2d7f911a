"""When to ask and when to try again: growing, capped, jittered, and obedient within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.schedule import MAX_POLL_S, busy_delay, first_poll_delay, next_poll_delay, retry_delay
from runware_jobs.core.states import Lane

randoms = st.floats(0, 1, exclude_max=True)
lanes = st.sampled_from(Lane)
waits = st.floats(0, 1e6)


@given(lanes, waits, waits, randoms)
def test_polls_come_further_apart_the_longer_a_task_takes(lane, one, other, chance):
    sooner, later = sorted((one, other))

    assert next_poll_delay(lane, sooner, minimum_s=0.5, random=chance) <= next_poll_delay(
        lane, later, minimum_s=0.5, random=chance
    )


@given(lanes, waits, randoms)
def test_poll_delay_stays_within_its_bounds(lane, waited_s, chance):
    delay = next_poll_delay(lane, waited_s, minimum_s=0.5, random=chance)

    assert 0.45 <= delay <= 1.1 * MAX_POLL_S[lane]


@given(lanes, st.one_of(st.none(), waits), randoms)
def test_first_poll_comes_a_little_before_the_expected_end(lane, expected_s, chance):
    delay = first_poll_delay(lane, expected_s, minimum_s=0.5, random=chance)

    assert 0.5 <= delay <= 10 * MAX_POLL_S[lane]
    if expected_s is not None and expected_s > 1:
        assert delay <= expected_s


@given(st.integers(0, 99), randoms)
def test_retries_come_further_apart_up_to_a_cap(attempts, chance):
    now, later = (retry_delay(n, retry_after_s=None, random=chance) for n in (attempts, attempts + 1))

    assert 0 < now <= later <= 1.25 * 300


@given(st.integers(0, 1000), randoms)
def test_busy_delays_grow_up_to_a_cap(times, chance):
    now, later = (busy_delay(n, retry_after_s=None, random=chance) for n in (times, times + 1))

    assert 0 < now <= later <= 1.25 * 60


@pytest.mark.parametrize(
    ("label", "retry_after_s", "least_s", "most_s"),
    [
        ("as asked", 7, 7, 7.7),
        ("at once is not taken at its word", 0, 0.3, 1),
        ("nor is the past", -5, 0.3, 1),
        ("next year is an hour", 1e7, 3600, 3960),
    ],
)
@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_retry_after_is_obeyed_within_bounds(label, retry_after_s, least_s, most_s, chance):
    assert least_s <= busy_delay(0, retry_after_s=retry_after_s, random=chance) <= most_s


def test_jitter_keeps_a_thousand_tasks_apart():
    delays = {next_poll_delay(Lane.IMAGE, 10, minimum_s=0.5, random=n / 1000) for n in range(1000)}

    assert len(delays) == 1000
