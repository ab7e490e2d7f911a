"""Whatever comes back, in whatever state an attempt is: decisions make only moves that the machines allow."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import (
    RETRIED_CODES,
    SendOutcome,
    Sent,
    after_answer,
    after_loss,
    after_send,
    note_settlement,
)
from runware_jobs.core.events import FINAL_EVENTS, EventType
from runware_jobs.core.moves import LiveAttempt, Move
from runware_jobs.core.states import (
    ATTEMPT_MOVES,
    FINAL,
    JOB_MOVES,
    AttemptEnd,
    AttemptState,
    Billing,
    JobState,
    Lane,
    OnPartial,
)
from runware_jobs.steps.words import item_error

CODES = [*sorted(RETRIED_CODES), "validation", "invalidProviderContent", "notFound", "quota", "unknown"]
# Which job carries which attempt; a final job may have any of them.
TOGETHER = {
    AttemptState.SENDING: JobState.SUBMITTING,
    AttemptState.UNCLEAR: JobState.SUBMITTING,
    AttemptState.ACCEPTED: JobState.RUNNING,
}

randoms = st.floats(0, 1, exclude_max=True)
errors = st.builds(JobError, code=st.sampled_from(CODES), message=st.just("why"), retryable=st.booleans())
costs = st.one_of(st.none(), st.integers(0, 10_000).map(lambda n: n / 10_000))


@st.composite
def items(draw):
    status = draw(st.sampled_from(["success", "success", "error", "processing", "pending", "nobody knows"]))
    item = {"taskType": "imageInference", "taskUUID": "t", "status": status}
    if draw(st.booleans()):
        item["imageUUID"] = draw(st.sampled_from("abcdef"))
    if draw(st.booleans()):
        item["resultIndex"] = draw(st.integers(0, 5))
    cost = draw(costs)
    if cost is not None:
        item["cost"] = cost
    if status == "error":
        item["error"] = {"code": draw(st.sampled_from(["timeoutProvider", "invalidModel"])), "message": "no"}
    if status == "processing":
        item["progress"] = draw(st.integers(-5, 120))
    return item


answers = st.builds(
    Answer, items=st.lists(items(), max_size=5).map(tuple), errors=st.lists(errors, max_size=2).map(tuple)
)
outcomes = st.builds(
    SendOutcome,
    sent=st.sampled_from(Sent),
    answer=answers,
    error=st.one_of(st.none(), errors),
    retry_after_s=st.one_of(st.none(), st.floats(0, 1e9)),
)


@st.composite
def lives(draw):
    state = draw(st.sampled_from(list(TOGETHER)))
    successes = draw(st.integers(0, 3))
    return LiveAttempt(
        task_uuid=UUID(int=1),
        job_id=UUID(int=2),
        state=state,
        run=1,
        number=draw(st.integers(1, 4)),
        age_s=draw(st.floats(0, 1e6)),
        accepted_s=None,
        was_resent=draw(st.booleans()),
        progress=draw(st.one_of(st.none(), st.integers(0, 100))),
        job_state=draw(st.sampled_from([TOGETHER[state], *sorted(FINAL)])),
        job_run=draw(st.sampled_from([1, 1, 2])),
        lane=Lane.IMAGE,
        model="runware:400@1",
        task_type="imageInference",
        attempts=1,
        max_attempts=draw(st.integers(1, 4)),
        times_busy=draw(st.integers(0, 20)),
        results_expected=draw(st.integers(1, 4)),
        on_partial=draw(st.sampled_from(OnPartial)),
        known_keys=frozenset(f"u{letter}" for letter in "abc"[:successes]),
        known_successes=successes,
        known_cost_usd=draw(st.one_of(st.none(), st.just(Decimal("0.0013")))),
    )


@st.composite
def decided(draw) -> Move:
    live, chance = draw(lives()), draw(randoms)
    match draw(st.sampled_from(["send", "answer", "loss", "note"])):
        case "send":
            return after_send(live, draw(outcomes), classify=item_error, random=chance)
        case "answer":
            return after_answer(live, draw(answers), classify=item_error, random=chance)
        case "loss":
            return after_loss(live, "gone")
    return note_settlement(live, "archive", "unknown", resent=True)


@given(decided())
def test_machines_allow_each_decided_move(move):
    if move.attempt_to is not None:
        assert move.attempt_to in ATTEMPT_MOVES[move.live.state]
    if move.job_to is not None:
        assert move.job_to in JOB_MOVES[move.live.job_state]


@given(decided())
def test_final_job_is_never_moved(move):
    if move.live.job_state in FINAL or move.live.run != move.live.job_run:
        assert move.job_to is None
        assert move.job_error is None
        assert not FINAL_EVENTS & {event.type for event in move.events}
        assert EventType.JOB_RETRYING not in {event.type for event in move.events}


@given(decided())
def test_attempt_has_an_outcome_exactly_when_it_ends(move):
    assert (move.attempt_to is AttemptState.ENDED) == (move.outcome is not None)


@given(decided())
def test_job_leaves_submitting_and_running_with_its_attempt(move):
    """Never a final or queued job beside a task that it still follows, and never a lost one."""
    if move.live.carries_job and move.job_to is not None and move.job_to is not JobState.RUNNING:
        assert move.attempt_to in {AttemptState.ENDED, AttemptState.PREPARED}
    if move.live.carries_job and move.attempt_to in {AttemptState.ENDED, AttemptState.PREPARED}:
        assert move.job_to is not None


@given(decided())
def test_new_attempt_begins_only_after_a_known_end(move):
    if move.job_to is JobState.QUEUED and move.attempt_to is not AttemptState.PREPARED:
        assert move.outcome in {AttemptEnd.FAILED, AttemptEnd.REFUSED}
        assert move.live.number < move.live.max_attempts


@given(decided())
def test_unclear_attempt_is_not_followed_by_another_because_of_a_refused_resend(move):
    """The refusal is about the second sending; the first may be running all the same."""
    if move.live.state is AttemptState.UNCLEAR and move.outcome is AttemptEnd.REFUSED:
        assert move.job_to is not JobState.QUEUED


@given(decided())
def test_nothing_is_tried_again_once_an_item_was_paid(move):
    live = move.live
    was_paid = live.known_successes or live.known_cost_usd or move.cost_usd
    if was_paid or any(result.succeeded for result in move.results):
        assert move.job_to is not JobState.QUEUED or move.attempt_to is AttemptState.PREPARED


@given(lives(), answers, randoms)
def test_answer_recorded_twice_adds_nothing_the_second_time(live, answer, chance):
    first = after_answer(live, answer, classify=item_error, random=chance)
    if first.outcome is not None:
        return
    again = after_answer(_after(first), answer, classify=item_error, random=chance)

    assert again.results == ()
    assert again.events == ()
    assert again.changes_nothing
    assert again.cost_usd in {None, _after(first).known_cost_usd}


@given(decided())
def test_ended_task_of_a_job_that_ended_before_is_told_as_its_cost(move):
    if not move.live.carries_job and move.attempt_to is AttemptState.ENDED:
        assert EventType.JOB_COST in {event.type for event in move.events}
        assert move.billing in {Billing.NONE, Billing.BILLED, Billing.UNCLEAR}


@pytest.mark.parametrize("state", JobState)
def test_only_a_retry_leaves_a_final_job_state(state):
    if state in FINAL:
        # A retry of what late results have completed meanwhile has nothing to ask for.
        assert JOB_MOVES[state] & FINAL <= {JobState.SUCCEEDED}
    assert state not in JOB_MOVES[state]


def test_ended_is_the_end_of_an_attempt():
    assert ATTEMPT_MOVES[AttemptState.ENDED] == frozenset()
    assert all(AttemptState.ENDED in ATTEMPT_MOVES[state] for state in AttemptState if state != "ended")


def _after(move: Move) -> LiveAttempt:
    """Give the attempt as the store would hand it out once `move` was written."""
    live = move.live
    state = move.attempt_to or live.state
    return LiveAttempt(
        **{name: getattr(live, name) for name in LiveAttempt.__slots__}
        | {
            "state": state,
            "job_state": move.job_to or live.job_state,
            "progress": live.progress if move.progress is None else move.progress,
            "known_keys": live.known_keys | {result.key for result in move.results},
            "known_successes": live.known_successes + sum(result.succeeded for result in move.results),
            "known_cost_usd": live.known_cost_usd if move.cost_usd is None else move.cost_usd,
        }
    )
