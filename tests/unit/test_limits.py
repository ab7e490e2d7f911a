"""What one model lets through: cut by refusals, raised by successes, paused by errors in a row."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.answers import JobError
from runware_jobs.core.limits import (
    BURST,
    CUT_EVERY_S,
    LONGEST_WAIT_S,
    Flow,
    FlowState,
    Heard,
    feed_back,
    hear,
    wait_before_probe,
)
from runware_jobs.core.moves import LiveAttempt, Move
from runware_jobs.core.states import AttemptEnd, AttemptState, JobState, Lane, OnPartial

OPEN, PAUSED, PROBING = FlowState.OPEN, FlowState.PAUSED, FlowState.PROBING
LIVE = LiveAttempt(
    task_uuid=UUID(int=1),
    job_id=UUID(int=2),
    state=AttemptState.ACCEPTED,
    run=1,
    number=1,
    age_s=1,
    accepted_s=1,
    was_resent=False,
    progress=None,
    job_state=JobState.RUNNING,
    job_run=1,
    lane=Lane.IMAGE,
    model="m",
    task_type="imageInference",
    attempts=1,
    max_attempts=3,
    times_busy=0,
    results_expected=1,
    on_partial=OnPartial.SUCCEED,
)


def flow(**values):
    return Flow(**{"in_flight": 10, "limit": 100, **values})


def ended(outcome, code=None):
    error = None if code is None else JobError(code, "x")
    return Move(live=LIVE, attempt_to=AttemptState.ENDED, outcome=outcome, attempt_error=error)


def handed_back(*, crowded, delay_s=1.0):
    return Move(
        live=LIVE,
        attempt_to=AttemptState.PREPARED,
        job_to=JobState.QUEUED,
        delay_s=delay_s,
        busy=True,
        crowded=crowded,
    )


@pytest.mark.parametrize(
    ("label", "move", "heard"),
    [
        ("a success", ended(AttemptEnd.SUCCEEDED), Heard(successes=1)),
        ("turned away", handed_back(crowded=True, delay_s=7), Heard(refusals=1, wait_s=7)),
        ("not sent says nothing of the model", handed_back(crowded=False), None),
        ("the provider's error", ended(AttemptEnd.FAILED, "provider"), Heard(failures=1)),
        ("the provider's credits", ended(AttemptEnd.FAILED, "quota"), Heard(failures=1)),
        ("the provider's rate", ended(AttemptEnd.FAILED, "rateLimit"), Heard(refusals=1)),
        ("a wrong request says nothing", ended(AttemptEnd.REFUSED, "validation"), None),
        ("a loss says nothing", ended(AttemptEnd.LOST, "notFound"), None),
        ("an acceptance says nothing", Move(live=LIVE, attempt_to=AttemptState.UNCLEAR), None),
        (
            "what a person settles later says nothing",
            replace(ended(AttemptEnd.SUCCEEDED), live=replace(LIVE, state=AttemptState.ENDED)),
            None,
        ),
    ],
)
def test_outcomes_say_of_a_model(label, move, heard):
    assert ({} if heard is None else {(Lane.IMAGE, "m"): heard}) == hear([move])


def test_one_groups_outcomes_are_summed_up():
    moves = [handed_back(crowded=True, delay_s=n) for n in (1, 9, 3)] + [ended(AttemptEnd.SUCCEEDED)]

    assert {(Lane.IMAGE, "m"): Heard(successes=1, refusals=3, wait_s=9)} == hear(moves)


def test_success_in_the_ordinary_case_changes_nothing():
    assert feed_back(flow(), Heard(successes=50)) is None


def test_refusals_cut_to_less_than_the_platform_holds_now():
    change = feed_back(flow(in_flight=10), Heard(refusals=40))

    assert (change.allowed, change.cut, change.state) == (8.0, True, OPEN)


def test_refusals_of_one_shortage_are_one_cut():
    cut = flow(in_flight=10, allowed=8.0, since_cut_s=CUT_EVERY_S / 2)

    assert feed_back(cut, Heard(refusals=40)) is None
    assert feed_back(replace(cut, since_cut_s=CUT_EVERY_S), Heard(refusals=1)).cut


def test_successes_raise_the_limit_until_it_binds_nobody():
    cut = flow(in_flight=8, limit=16, allowed=8.0)
    once = feed_back(cut, Heard(successes=2))
    last = feed_back(replace(cut, allowed=15.9), Heard(successes=2))
    quiet = feed_back(replace(cut, in_flight=1), Heard(successes=1))

    assert (once.allowed, last.allowed, quiet.allowed) == (9.0, None, None)


def test_model_that_takes_nothing_at_all_waits_as_long_as_it_asks():
    change = feed_back(flow(in_flight=0), Heard(refusals=50, wait_s=33))

    assert (change.state, change.pause_reason, change.probe_in_s) == (PAUSED, "busy", 33)


def test_errors_in_a_row_pause_the_model_and_one_success_between_does_not():
    almost = flow(failures=BURST - 1)

    assert (
        feed_back(almost, Heard(failures=1)).state,
        feed_back(almost, Heard(failures=1)).pause_reason,
    ) == (PAUSED, "provider")
    assert feed_back(almost, Heard(failures=1, successes=1)).failures == 0
    assert OPEN is feed_back(flow(failures=0), Heard(failures=1)).state


@pytest.mark.parametrize(
    ("label", "heard", "state", "pauses"),
    [
        ("its success opens", Heard(successes=1), OPEN, 0),
        ("its failure pauses longer", Heard(failures=1), PAUSED, 3),
        ("its refusal pauses longer", Heard(refusals=1), PAUSED, 3),
    ],
)
def test_probe_decides(label, heard, state, pauses):
    change = feed_back(flow(state=PROBING, pause_reason="provider", pauses=2, failures=9), heard)

    assert (state, pauses) == (change.state, change.pauses)
    assert (state is OPEN) == (change.pause_reason is None)
    if state is PAUSED:
        assert change.probe_in_s == wait_before_probe(change.pause_reason, 2)


def test_probe_that_says_nothing_leaves_everything_as_it_is():
    assert feed_back(flow(state=PROBING, pause_reason="provider", pauses=1), Heard()) is None


def test_error_of_a_job_that_was_out_before_the_pause_does_not_lengthen_it():
    change = feed_back(flow(state=PAUSED, pause_reason="provider", pauses=1, failures=5), Heard(failures=1))

    assert (change.state, change.pauses, change.probe_in_s) == (PAUSED, 1, None)


def test_success_of_a_job_that_was_out_before_the_pause_ends_it():
    change = feed_back(flow(state=PAUSED, pause_reason="provider", pauses=1, failures=5), Heard(successes=1))

    assert (change.state, change.pause_reason, change.failures, change.pauses) == (OPEN, None, 0, 0)


@given(st.builds(Heard, *(st.integers(0, 60),) * 3))
def test_pause_by_hand_is_never_touched(heard):
    assert feed_back(flow(state=PAUSED, by_hand=True, pause_reason="hand"), heard) is None


@given(st.sampled_from(sorted(LONGEST_WAIT_S)), st.integers(0, 10_000))
def test_waits_grow_and_end_somewhere(reason, pauses):
    wait = wait_before_probe(reason, pauses)

    assert 0 < wait <= wait_before_probe(reason, pauses + 1) <= LONGEST_WAIT_S[reason]


heards = st.builds(Heard, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 100))
flows = st.builds(
    Flow,
    in_flight=st.integers(0, 200),
    limit=st.integers(1, 200),
    allowed=st.none() | st.floats(1, 200),
    since_cut_s=st.none() | st.floats(0, 10),
    state=st.just(OPEN),
    failures=st.integers(0, 10),
    pauses=st.integers(0, 10),
) | st.builds(
    Flow,
    in_flight=st.integers(0, 200),
    limit=st.integers(1, 200),
    allowed=st.none() | st.floats(1, 200),
    state=st.sampled_from((PAUSED, PROBING)),
    pause_reason=st.sampled_from(("busy", "provider")),
    failures=st.integers(0, 10),
    pauses=st.integers(1, 10),
)


@given(flows, heards)
def test_whatever_is_heard_the_row_stays_one_that_the_table_takes(before, heard):
    change = feed_back(before, heard)
    if change is None:
        return

    assert change.allowed is None or change.allowed >= 1
    assert (change.state is OPEN) == (change.pause_reason is None)
    # A pause that begins says when it is looked at again: none lasts for ever.
    if change.state is PAUSED and before.state is not PAUSED:
        assert change.probe_in_s > 0
    if change.cut and before.allowed is not None:
        assert change.allowed <= max(1.0, before.allowed + 4 * heard.successes)


@given(st.integers(1, 400), st.integers(1, 400))
def test_limit_settles_near_the_room_there_is(room, limit):
    """Against a platform that holds `room` and turns the rest away, whatever is allowed at most."""
    now = Flow(in_flight=0, limit=limit)
    used = []
    for _ in range(200):
        allowed = int(now.allowed) if now.allowed is not None else now.limit
        sent = min(allowed, limit)
        taken = min(sent, room)
        for heard in (Heard(refusals=sent - taken), Heard(successes=taken)):
            in_flight = taken if heard.refusals else 0
            change = feed_back(replace(now, in_flight=in_flight, since_cut_s=None), heard)
            if change is not None:
                now = replace(
                    now, allowed=change.allowed, state=change.state, pause_reason=change.pause_reason
                )
        used.append(taken)

    best = min(room, limit)
    assert sum(used[50:]) >= 0.8 * best * 150
