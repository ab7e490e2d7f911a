"""What an outcome means: (attempt and job as they stand, what came back) gives a move.

The table of DESIGN 4 stands in `after_send`; the end of an attempt, and what its
job becomes, in `after_answer`. An error's `retryable` never licenses a new task
UUID by itself: a new attempt begins only where the old one is known to have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from .answers import Answer, JobError, NewResult, read_answer
from .events import EventType, NewEvent
from .moves import LiveAttempt, Move
from .schedule import busy_delay, retry_delay
from .states import AttemptEnd, AttemptState, Billing, JobState, OnPartial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from .answers import Classify

RETRIED_CODES: Final = frozenset({"rateLimit", "timeout", "serverError", "provider", "connection"})
"""Error classes after which a *known ended* attempt is followed by another (PROTOCOL 8)."""


class Sent(StrEnum):
    """What came back from one send, for one task."""

    ACCEPTED = "accepted"
    CONFLICT = "conflict"
    REFUSED = "refused"
    BUSY = "busy"
    BLOCKED = "blocked"
    NOT_SENT = "not_sent"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """One row of the outcome table, with what it carries."""

    sent: Sent
    answer: Answer = field(default_factory=Answer)
    error: JobError | None = None
    retry_after_s: float | None = None


def after_send(  # noqa: PLR0911  one return per row of the table
    live: LiveAttempt, outcome: SendOutcome, *, classify: Classify, random: float
) -> Move:
    """Decide what one outcome of a send means (the table of DESIGN 4)."""
    if live.state is AttemptState.ACCEPTED and outcome.sent not in {Sent.ACCEPTED, Sent.CONFLICT}:
        # Known to be there by another way (a callback) while a resend was on the wire.
        return Move(live=live)
    match outcome.sent:
        case Sent.ACCEPTED:
            return after_answer(live, outcome.answer, classify=classify, random=random)
        case Sent.CONFLICT:
            return after_answer(live, Answer(), classify=classify, random=random)
        case Sent.REFUSED:
            if live.state is AttemptState.UNCLEAR and _error_of(outcome).code in RETRIED_CODES:
                # The resend was turned away for a reason that passes; of the first send,
                # which may be running, this says nothing: no new UUID comes of it (P2).
                return note_settlement(live, "resend", outcome.sent)
            return _ended(live, AttemptEnd.REFUSED, (), _error_of(outcome), random=random)
        case Sent.BUSY | Sent.NOT_SENT | Sent.BLOCKED:
            return _handed_back(live, outcome, random=random)
        case Sent.UNCLEAR:
            if live.state is AttemptState.UNCLEAR:
                return note_settlement(live, "resend", "unclear")
            return Move(
                live=live,
                attempt_to=AttemptState.UNCLEAR,
                attempt_error=outcome.error,
                settlement={"step": "send", "answer": "unclear"},
            )
        case _:
            assert_never(outcome.sent)


def after_answer(live: LiveAttempt, answer: Answer, *, classify: Classify, random: float) -> Move:
    """Decide what a cumulative answer about an accepted or unclear attempt means.

    The platform knows the task, so an unclear attempt is accepted by this.
    """
    reading = read_answer(answer, expected=live.results_expected, classify=classify)
    fresh = tuple(result for result in reading.results if result.key not in live.known_keys)
    newly_accepted = live.state is not AttemptState.ACCEPTED
    submitted = [NewEvent(EventType.JOB_SUBMITTED)] if newly_accepted and live.carries_job else []
    if reading.is_complete:
        # Answered at once, or found in the archive: it was submitted all the same.
        move = _completed(live, reading.results, fresh, random=random)
        return replace(move, events=(*submitted, *move.events))
    return Move(
        live=live,
        attempt_to=AttemptState.ACCEPTED if newly_accepted else None,
        job_to=JobState.RUNNING if newly_accepted and live.carries_job else None,
        results=fresh,
        progress=reading.progress,
        cost_usd=_sum_cost(live.known_cost_usd, fresh),
        events=(*submitted, *_result_events(fresh)),
    )


def after_loss(live: LiveAttempt, message: str) -> Move:
    """End an attempt that the platform no longer knows: nobody can say what it cost."""
    error = JobError(code="notFound", message=message)
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.LOST,
        attempt_error=error,
        job_to=JobState.FAILED if live.carries_job else None,
        job_error=error if live.carries_job else None,
        billing=Billing.UNCLEAR,
        events=(NewEvent(EventType.JOB_FAILED),) if live.carries_job else _cost_settled(live),
    )


def note_settlement(live: LiveAttempt, step: str, answer: str, *, resent: bool | None = None) -> Move:
    """Record one step of a settlement that did not settle it."""
    return Move(live=live, settlement={"step": step, "answer": answer}, resent=resent)


def _handed_back(live: LiveAttempt, outcome: SendOutcome, *, random: float) -> Move:
    """Give the attempt back unsent: the same UUID goes out again, later; none is used up."""
    if live.state is AttemptState.UNCLEAR:
        # A resend that was not taken says nothing about the first send, and was none.
        return note_settlement(live, "resend", outcome.sent, resent=False)
    if not live.carries_job:
        return Move(
            live=live,
            attempt_to=AttemptState.ENDED,
            outcome=AttemptEnd.NOT_SENT,
            billing=Billing.NONE,
            events=_cost_settled(live),
        )
    return Move(
        live=live,
        attempt_to=AttemptState.PREPARED,
        job_to=JobState.QUEUED,
        delay_s=busy_delay(live.times_busy, retry_after_s=outcome.retry_after_s, random=random),
        busy=True,
    )


def _completed(
    live: LiveAttempt, results: Sequence[NewResult], fresh: tuple[NewResult, ...], *, random: float
) -> Move:
    failures = [result.error for result in results if result.error is not None]
    successes = len({result.key for result in results if result.succeeded}) or live.known_successes
    if successes == 0:
        return _ended(live, AttemptEnd.FAILED, fresh, failures[0], random=random)
    job_fails = bool(failures) and live.on_partial is OnPartial.FAIL
    final = EventType.JOB_FAILED if job_fails else EventType.JOB_SUCCEEDED
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.SUCCEEDED,
        results=fresh,
        progress=100,
        cost_usd=_sum_cost(live.known_cost_usd, fresh),
        job_to=_if_carried(live, JobState.FAILED if job_fails else JobState.SUCCEEDED),
        job_error=failures[0] if job_fails and live.carries_job else None,
        billing=Billing.BILLED,
        events=(
            *_result_events(fresh),
            *((NewEvent(final),) if live.carries_job else _cost_settled(live)),
        ),
    )


def _ended(
    live: LiveAttempt, outcome: AttemptEnd, fresh: tuple[NewResult, ...], error: JobError, *, random: float
) -> Move:
    """End an attempt without a success, and decide whether its job goes on.

    Nothing is tried again once an item was paid.
    """
    cost = _sum_cost(live.known_cost_usd, fresh)
    may_retry = (
        live.carries_job
        and error.code in RETRIED_CODES
        and live.number < live.max_attempts
        and live.known_successes == 0
        and not cost
    )
    delay_s = retry_delay(live.number, retry_after_s=None, random=random) if may_retry else None
    if may_retry:
        event: tuple[NewEvent, ...] = (NewEvent(EventType.JOB_RETRYING, {"error": error.to_json()}),)
    else:
        event = (NewEvent(EventType.JOB_FAILED),) if live.carries_job else _cost_settled(live)
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=outcome,
        attempt_error=error,
        results=fresh,
        cost_usd=cost,
        job_to=_if_carried(live, JobState.QUEUED if may_retry else JobState.FAILED),
        job_error=error if live.carries_job and not may_retry else None,
        billing=Billing.BILLED if cost else Billing.NONE,
        delay_s=delay_s,
        events=(*_result_events(fresh), *event),
    )


def _cost_settled(live: LiveAttempt) -> tuple[NewEvent, ...]:
    """Tell that what a job ended before has cost is known now: it was `detached` until here."""
    assert not live.carries_job  # noqa: S101  a carried job's final event says it
    return (NewEvent(EventType.JOB_COST),)


def _if_carried(live: LiveAttempt, to: JobState) -> JobState | None:
    return to if live.carries_job else None


def _error_of(outcome: SendOutcome) -> JobError:
    return outcome.error or JobError(code="unknown", message="The platform refused without saying why.")


def _result_events(fresh: Sequence[NewResult]) -> list[NewEvent]:
    return [NewEvent(EventType.JOB_RESULT, {"key": result.key}) for result in fresh]


def _sum_cost(known: Decimal | None, fresh: Sequence[NewResult]) -> Decimal | None:
    costs = [result.cost_usd for result in fresh if result.cost_usd is not None]
    if known is not None:
        costs.append(known)
    return sum(costs[1:], costs[0]) if costs else None
