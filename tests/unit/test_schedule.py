"""When to ask and when to try again: growing, capped, jittered, and obedient within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.schedule import MAX_POLL_S, Expected, busy_delay, first_look, next_look, retry_delay
from runware_jobs.core.states import Lane

randoms = st.floats(0, 1, exclude_max=True)
lanes = st.sampled_from(Lane)
waits = st.floats(0, 1e6)


expectations = st.one_of(
    st.none(),
    st.builds(lambda likely, more: Expected(likely, likely + more), st.floats(0.1, 1e4), st.floats(0, 1e4)),
)


@given(lanes, expectations, waits, waits, st.integers(1, 100), randoms)
def test_polls_come_further_apart_the_longer_a_task_takes(lane, expected, one, other, together, chance):
    sooner, later = (
        next_look(lane, expected, waited_s=waited_s, together=together, minimum_s=0.5, random=chance)
        for waited_s in sorted((one, other))
    )

    assert sooner.ripe_s <= later.ripe_s
    assert sooner.due_s <= later.due_s


@given(lanes, expectations, waits, st.integers(1, 99), randoms)
def test_polls_come_closer_together_the_more_tasks_share_one(lane, expected, waited_s, together, chance):
    fewer, more = (
        next_look(lane, expected, waited_s=waited_s, together=count, minimum_s=0.5, random=chance)
        for count in (together, together + 1)
    )

    assert more.due_s <= fewer.due_s


@given(lanes, expectations, waits, st.integers(1, 100), randoms)
def test_polls_stay_within_their_bounds(lane, expected, waited_s, together, chance):
    look = next_look(lane, expected, waited_s=waited_s, together=together, minimum_s=0.5, random=chance)

    assert 0.5 <= look.ripe_s <= look.due_s <= MAX_POLL_S[lane]


@given(lanes, expectations, randoms)
def test_first_poll_comes_a_little_before_the_first_ends(lane, expected, chance):
    look = first_look(lane, expected, minimum_s=0.5, random=chance)

    assert 0 <= look.ripe_s <= look.due_s <= 10 * MAX_POLL_S[lane]
    if expected is not None:
        assert look.due_s <= max(0.5, expected.early_s, 2.0 if lane is Lane.TRAINING else 0.0)


def test_training_is_asked_about_every_minute_however_long_others_took():
    look = next_look(
        Lane.TRAINING, Expected(7200, 8000), waited_s=100, together=100, minimum_s=0.5, random=0.5
    )

    assert (look.ripe_s, look.due_s) == (60, 60)


@given(lanes, st.floats(1, 1e4))
def test_task_adopted_after_its_usual_end_is_due_at_once(lane, waited_s):
    look = first_look(lane, Expected(0.5, 0.9), waited_s=waited_s + 2, minimum_s=0.5, random=0.5)

    assert look.due_s == 0


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
    looks = {
        next_look(Lane.IMAGE, None, waited_s=10, together=1, minimum_s=0.5, random=n / 1000)
        for n in range(1000)
    }

    assert len({look.due_s for look in looks}) == 1000
