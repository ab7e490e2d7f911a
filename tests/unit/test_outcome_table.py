"""The outcome table of a send, row by row (DESIGN 4)."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from runware_jobs.client import Refused, RunwareError
from runware_jobs.core.answers import Answer, JobError
from runware_jobs.core.decisions import SendOutcome, Sent, after_answer, after_loss, after_send
from runware_jobs.core.events import EventType
from runware_jobs.core.moves import LiveAttempt, Move
from runware_jobs.core.states import AttemptEnd, AttemptState, Billing, JobState, Lane, OnPartial
from runware_jobs.steps.words import item_error, send_outcome

SENDING, UNCLEAR, ACCEPTED = AttemptState.SENDING, AttemptState.UNCLEAR, AttemptState.ACCEPTED
PREPARED, ENDED = AttemptState.PREPARED, AttemptState.ENDED
QUEUED, RUNNING, FAILED, SUCCEEDED = (
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.FAILED,
    JobState.SUCCEEDED,
)
VALIDATION = JobError("validation", "width is wrong", parameter="width")
OVERLOAD = JobError("serverError", "try later", retryable=True)
DONE = Answer(({"status": "success", "imageUUID": "a", "imageURL": "u", "cost": 0.002},))


def live(state=SENDING, **changes) -> LiveAttempt:
    values = {
        "task_uuid": UUID(int=1),
        "job_id": UUID(int=2),
        "state": state,
        "run": 1,
        "number": 1,
        "age_s": 1.0,
        "accepted_s": None,
        "was_resent": False,
        "progress": None,
        "job_state": RUNNING if state is ACCEPTED else JobState.SUBMITTING,
        "job_run": 1,
        "lane": Lane.IMAGE,
        "model": "runware:400@1",
        "task_type": "imageInference",
        "attempts": 1,
        "max_attempts": 3,
        "times_busy": 0,
        "results_expected": 1,
        "on_partial": OnPartial.SUCCEED,
    }
    return LiveAttempt(**values | changes)


def sent(attempt, what, **values) -> Move:
    return after_send(attempt, SendOutcome(what, **values), classify=item_error, random=0.5)


@pytest.mark.parametrize(
    ("label", "state", "outcome", "attempt_to", "job_to"),
    [
        ("an ACK", SENDING, SendOutcome(Sent.ACCEPTED), ACCEPTED, RUNNING),
        ("first items", SENDING, SendOutcome(Sent.ACCEPTED, DONE), ENDED, SUCCEEDED),
        ("our UUID is there already", SENDING, SendOutcome(Sent.CONFLICT), ACCEPTED, RUNNING),
        ("refused for good", SENDING, SendOutcome(Sent.REFUSED, error=VALIDATION), ENDED, FAILED),
        ("refused for now", SENDING, SendOutcome(Sent.REFUSED, error=OVERLOAD), ENDED, QUEUED),
        ("refused without a word", SENDING, SendOutcome(Sent.REFUSED), ENDED, FAILED),
        ("not sent", SENDING, SendOutcome(Sent.NOT_SENT), PREPARED, QUEUED),
        ("busy", SENDING, SendOutcome(Sent.BUSY, retry_after_s=7), PREPARED, QUEUED),
        ("blocked", SENDING, SendOutcome(Sent.BLOCKED), PREPARED, QUEUED),
        ("unclear", SENDING, SendOutcome(Sent.UNCLEAR), UNCLEAR, None),
        ("a resend's ACK", UNCLEAR, SendOutcome(Sent.ACCEPTED), ACCEPTED, RUNNING),
        ("a resend finds the first", UNCLEAR, SendOutcome(Sent.CONFLICT), ACCEPTED, RUNNING),
        ("a resend refused for good", UNCLEAR, SendOutcome(Sent.REFUSED, error=VALIDATION), ENDED, FAILED),
        ("a resend refused for now", UNCLEAR, SendOutcome(Sent.REFUSED, error=OVERLOAD), None, None),
        ("a resend not sent", UNCLEAR, SendOutcome(Sent.NOT_SENT), None, None),
        ("a resend busy", UNCLEAR, SendOutcome(Sent.BUSY), None, None),
        ("a resend unclear", UNCLEAR, SendOutcome(Sent.UNCLEAR), None, None),
        ("accepted meanwhile: refused", ACCEPTED, SendOutcome(Sent.REFUSED, error=OVERLOAD), None, None),
        ("accepted meanwhile: busy", ACCEPTED, SendOutcome(Sent.BUSY), None, None),
        ("accepted meanwhile: unclear", ACCEPTED, SendOutcome(Sent.UNCLEAR), None, None),
        ("accepted meanwhile: found", ACCEPTED, SendOutcome(Sent.CONFLICT), None, None),
    ],
)
def test_each_row_of_the_table(label, state, outcome, attempt_to, job_to):
    move = after_send(live(state), outcome, classify=item_error, random=0.5)

    assert attempt_to is move.attempt_to
    assert job_to is move.job_to


@pytest.mark.parametrize("what", [Sent.BUSY, Sent.NOT_SENT, Sent.BLOCKED])
def test_handed_back_attempt_keeps_its_number_and_counts_as_busy(what):
    move = sent(live(number=3), what, retry_after_s=10)

    assert move.busy
    assert 10 <= move.delay_s <= 11
    assert move.attempt_error is None


@pytest.mark.parametrize("what", [Sent.BUSY, Sent.NOT_SENT, Sent.BLOCKED])
def test_task_of_a_canceled_job_is_not_kept_for_later(what):
    move = sent(live(job_state=JobState.CANCELED), what)

    assert AttemptEnd.NOT_SENT is move.outcome
    assert Billing.NONE is move.billing
    assert [event.type for event in move.events] == [EventType.JOB_COST]


@pytest.mark.parametrize(
    ("label", "what", "was_resent"),
    [
        ("taken or not, it was the one", Sent.UNCLEAR, None),
        ("refused: it was the one", Sent.REFUSED, None),
        ("busy: it was none", Sent.BUSY, False),
        ("not sent: it was none", Sent.NOT_SENT, False),
    ],
)
def test_only_a_resend_that_left_uses_up_the_resend(label, what, was_resent):
    move = sent(live(UNCLEAR, was_resent=True), what, error=OVERLOAD)

    assert was_resent is move.resent
    assert [one["step"] for one in move.settlement] == ["resend"]


@pytest.mark.parametrize(
    ("label", "code", "retryable", "number", "job_to"),
    [
        ("a class that passes", "provider", False, 1, QUEUED),
        ("the flag alone licenses nothing", "validation", True, 1, FAILED),
        ("the last attempt", "timeout", True, 3, FAILED),
    ],
)
def test_known_end_is_followed_by_another_attempt_by_class_only(label, code, retryable, number, job_to):
    move = sent(live(number=number), Sent.REFUSED, error=JobError(code, "x", retryable=retryable))

    assert job_to is move.job_to
    assert (job_to is QUEUED) == (move.delay_s is not None)


@pytest.mark.parametrize(
    ("label", "on_partial", "job_to", "event"),
    [
        ("succeed", OnPartial.SUCCEED, SUCCEEDED, EventType.JOB_SUCCEEDED),
        ("fail", OnPartial.FAIL, FAILED, EventType.JOB_FAILED),
    ],
)
def test_on_partial_names_the_job_when_some_failed(label, on_partial, job_to, event):
    failed = {"status": "error", "error": {"code": "timeoutProvider", "message": "slow"}}
    attempt = live(ACCEPTED, results_expected=2, on_partial=on_partial)
    move = after_answer(attempt, Answer((*DONE.items, failed)), classify=item_error, random=0.5)

    assert job_to is move.job_to
    assert AttemptEnd.SUCCEEDED is move.outcome
    assert Decimal("0.002") == move.cost_usd
    assert Billing.BILLED is move.billing
    assert [EventType.JOB_RESULT, EventType.JOB_RESULT, event] == [one.type for one in move.events]


def test_late_result_of_a_canceled_job_adds_rows_and_cost_and_nothing_else():
    attempt = live(ACCEPTED, job_state=JobState.CANCELED)
    move = after_answer(attempt, DONE, classify=item_error, random=0.5)

    assert move.job_to is None
    assert len(move.results) == 1
    assert [event.type for event in move.events] == [EventType.JOB_RESULT, EventType.JOB_COST]


def test_lost_task_fails_its_job_with_billing_unclear():
    move = after_loss(live(ACCEPTED), "nobody knows")

    assert (move.outcome, move.job_to, move.billing) == (AttemptEnd.LOST, FAILED, Billing.UNCLEAR)
    assert move.job_error.code == "notFound"


@pytest.mark.parametrize("parameter", ["a\x00b", ("a\x00b", "c")])
def test_what_the_platform_writes_into_an_error_can_be_stored(parameter):
    """One that cannot would keep the answers of its whole group from being recorded, for ever."""
    error = RunwareError("no\x00", parameter=parameter, documentation="https://docs.test/\x00")
    told = send_outcome(Refused(error)).error

    assert "\x00" not in "".join(str(value) for value in told.to_json().values())


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("an outcome without an end", {"outcome": AttemptEnd.LOST}),
        ("an end without an outcome", {"attempt_to": ENDED}),
        ("queued without a delay", {"job_to": QUEUED}),
        ("a delay without a queue", {"delay_s": 1.0}),
        ("failed without a reason", {"job_to": FAILED}),
    ],
)
def test_contradictory_move_is_refused_before_it_is_written(label, values):
    with pytest.raises(ValueError):
        Move(live=live(), **values)
