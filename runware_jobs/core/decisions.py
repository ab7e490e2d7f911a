"""What an outcome means: (attempt and job as they stand, what came back) gives a move.

The table of DESIGN 4 stands in `after_send`; the end of an attempt, and what its
job becomes, in `after_answer`. An error's `retryable` never licenses a new task
UUID by itself: a new attempt begins only where the old one is known to have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from .answers import Answer, CostPer, JobError, NewResult, read_answer, task_cost, tells_odd_cost
from .events import EventType, NewEvent
from .inputs import is_about_media
from .moves import TURNED_AWAY, LiveAttempt, Move
from .schedule import busy_delay, retry_delay
from .states import AttemptEnd, AttemptState, Billing, Inputs, JobState, OnPartial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from .answers import Classify

RETRIED_CODES: Final = frozenset({"rateLimit", "timeout", "serverError", "provider", "connection"})
"""Error classes after which a *known ended* attempt is followed by another (PROTOCOL 8)."""

_TURNING_AWAY: Final = frozenset({"rateLimit", "serverError", "timeout", "quota", "auth", "unknown"})
"""Classes of the errors with which a send is turned away and handed back."""


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
    live: LiveAttempt,
    outcome: SendOutcome,
    *,
    classify: Classify,
    random: float,
    cost_per: CostPer = CostPer.ITEM,
) -> Move:
    """Decide what one outcome of a send means (the table of DESIGN 4)."""
    if live.state is AttemptState.ACCEPTED and outcome.sent not in {Sent.ACCEPTED, Sent.CONFLICT}:
        # Known to be there by another way (a callback) while a resend was on the wire.
        return Move(live=live)
    match outcome.sent:
        case Sent.ACCEPTED | Sent.CONFLICT:
            answer = outcome.answer if outcome.sent is Sent.ACCEPTED else Answer()
            move = after_answer(live, answer, classify=classify, random=random, cost_per=cost_per)
            if live.state is not AttemptState.UNCLEAR:
                return move
            return replace(move, settlement=(note("resend", outcome.sent),))
        case Sent.REFUSED:
            if live.state is AttemptState.UNCLEAR and _error_of(outcome).code != "validation":
                # A wrong request was wrong the first time. Any other reason may have come
                # since: of the first send, which may be running, it says nothing (P2).
                return note_settlement(live, "resend", outcome.sent)
            return _ended(
                live, AttemptEnd.REFUSED, (), _error_of(outcome), cost_usd=live.known_cost_usd, random=random
            )
        case Sent.BUSY | Sent.NOT_SENT | Sent.BLOCKED:
            return _handed_back(live, outcome, random=random)
        case Sent.UNCLEAR:
            if live.state is AttemptState.UNCLEAR:
                return note_settlement(live, "resend", "unclear")
            return Move(
                live=live,
                attempt_to=AttemptState.UNCLEAR,
                attempt_error=outcome.error,
                settlement=(note("send", "unclear"),),
            )
        case _:
            assert_never(outcome.sent)


def after_answer(
    live: LiveAttempt,
    answer: Answer,
    *,
    classify: Classify,
    random: float,
    told_by: str = "getResponse",
    cost_per: CostPer = CostPer.ITEM,
) -> Move:
    """Decide what a cumulative answer about an accepted or unclear attempt means.

    The platform knows the task, so an unclear attempt is accepted by this; unless all it
    tells is an error that may be an earlier send's (`may_be_old`), which proves nothing.
    `told_by` names who answered, for the attempt's record; `cost_per` says what the cost
    of an item is the price of.
    """
    if may_be_old(live, answer, told_by):
        return Move(live=live, settlement=noted(live, told_by, "an old refusal"))
    reading = read_answer(answer, expected=live.results_expected, classify=classify)
    fresh = tuple(result for result in reading.results if result.key not in live.known_keys)
    cost = task_cost(live.known_cost_usd, reading.results, known_keys=live.known_keys, cost_per=cost_per)
    newly_accepted = live.state is not AttemptState.ACCEPTED
    submitted = [NewEvent(EventType.JOB_SUBMITTED)] if newly_accepted and live.carries_job else []
    # It was missing, and is there: whoever adopts it must not count from before.
    was_doubtful = (
        live.state is AttemptState.UNCLEAR or live.unknown_s is not None or live.refused_s is not None
    )
    settlement = noted(live, told_by, "known") if was_doubtful else ()
    if tells_odd_cost(answer.items):
        settlement = (*settlement, *noted(live, "cost", "not believed"))
    if reading.is_complete:
        # Answered at once, or found in the archive: it was submitted all the same.
        move = _completed(live, reading.results, fresh, cost_usd=cost, random=random)
        return replace(move, settlement=settlement, events=(*submitted, *move.events))
    return Move(
        live=live,
        attempt_to=AttemptState.ACCEPTED if newly_accepted else None,
        job_to=JobState.RUNNING if newly_accepted and live.carries_job else None,
        settlement=settlement,
        results=fresh,
        progress=reading.progress,
        cost_usd=cost,
        events=(*submitted, *_result_events(fresh)),
    )


def may_be_old(live: LiveAttempt, answer: Answer, told_by: str) -> bool:
    """Tell whether an answer may be about a send of this UUID that was turned away.

    Taken for the end of the later send, it would license a second task beside the first.
    What the platform has accepted, it tells of the task itself.
    """
    if answer.items or not answer.errors:
        return False
    if told_by == "archive" and live.was_resent:
        # A rejected duplicate overwrites what was there (PROTOCOL 6.2).
        return True
    if live.state is AttemptState.ACCEPTED and told_by != "archive":
        return False
    return live.was_handed_back and all(error.code in _TURNING_AWAY for error in answer.errors)


def after_loss(live: LiveAttempt, message: str, *, code: str = "notFound") -> Move:
    """Follow an attempt no further: nobody can say what became of it, or what it cost.

    Results that came before stay and count: `on_partial` says what the job is called.
    """
    error = JobError(code=code, message=message)
    to = JobState.FAILED
    if live.known_successes and live.on_partial is OnPartial.SUCCEED:
        to = JobState.SUCCEEDED
    final = EventType.JOB_FAILED if to is JobState.FAILED else EventType.JOB_SUCCEEDED
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.LOST,
        attempt_error=error,
        job_to=_if_carried(live, to),
        job_error=error if live.carries_job and to is JobState.FAILED else None,
        billing=Billing.UNCLEAR,
        events=(NewEvent(final),) if live.carries_job else _cost_settled(live),
    )


def after_forgotten_upload(live: LiveAttempt, *, random: float) -> Move:
    """End an upload that arrived, and whose answer the platform does not keep: it is made anew.

    Another task UUID costs nothing here.
    """
    error = JobError("connection", "The answer to this upload was lost.", retryable=True)
    return _ended(live, AttemptEnd.FAILED, (), error, cost_usd=live.known_cost_usd, random=random)


def after_late_answer(
    live: LiveAttempt, answer: Answer, *, classify: Classify, cost_per: CostPer = CostPer.ITEM
) -> Move:
    """Decide what an answer means about an attempt that was given up as lost.

    Its job stays what it was called; results, cost and billing are put right.
    """
    reading = read_answer(answer, expected=live.results_expected, classify=classify)
    if not reading.is_complete:
        return _still_lost(live, "running")
    fresh = tuple(result for result in reading.results if result.key not in live.known_keys)
    cost = task_cost(live.known_cost_usd, reading.results, known_keys=live.known_keys, cost_per=cost_per)
    has_succeeded = bool(live.known_successes) or any(result.succeeded for result in reading.results)
    billing = Billing.BILLED if has_succeeded or cost else Billing.NONE
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.SUCCEEDED if has_succeeded else AttemptEnd.FAILED,
        settlement=(note("asked by hand", "ended"),),
        results=fresh,
        cost_usd=cost,
        # A later run's billing is not this one's.
        billing=billing if live.run == live.job_run else None,
        events=(*_result_events(fresh), *_cost_settled(live)),
    )


def after_late_silence(live: LiveAttempt, answer: str) -> Move:
    """Record that a lost attempt was asked about by hand, and that nothing came of it."""
    return _still_lost(live, answer)


def _still_lost(live: LiveAttempt, answer: str) -> Move:
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.LOST,
        settlement=(note("asked by hand", answer),),
    )


def note(name: str, answer: str) -> dict[str, str]:
    """Make one entry of an attempt's record: what was asked, and what came back."""
    return {"step": name, "answer": answer}


def noted(live: LiveAttempt, name: str, answer: str) -> tuple[dict[str, str], ...]:
    """Make a step for an attempt's record; none where the last one of this name says the same."""
    before = next((one["answer"] for one in reversed(live.steps) if one["step"] == name), None)
    return () if before == answer else (note(name, answer),)


def note_settlement(live: LiveAttempt, name: str, answer: str, *, resent: bool | None = None) -> Move:
    """Record one step of a settlement that did not settle it."""
    return Move(live=live, settlement=(note(name, answer),), resent=resent)


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
        crowded=outcome.sent is Sent.BUSY,
        # Once is enough: it is read as "an old refusal may be told of this UUID".
        settlement=(note("send", outcome.sent),)
        if outcome.sent in TURNED_AWAY and not live.was_handed_back
        else (),
    )


def _completed(
    live: LiveAttempt,
    results: Sequence[NewResult],
    fresh: tuple[NewResult, ...],
    *,
    cost_usd: Decimal | None,
    random: float,
) -> Move:
    failures = [result.error for result in results if result.error is not None]
    successes = len({result.key for result in results if result.succeeded}) or live.known_successes
    if successes == 0:
        return _ended(live, AttemptEnd.FAILED, fresh, failures[0], cost_usd=cost_usd, random=random)
    job_fails = bool(failures) and live.on_partial is OnPartial.FAIL
    final = EventType.JOB_FAILED if job_fails else EventType.JOB_SUCCEEDED
    return Move(
        live=live,
        attempt_to=AttemptState.ENDED,
        outcome=AttemptEnd.SUCCEEDED,
        results=fresh,
        progress=100,
        cost_usd=cost_usd,
        job_to=_if_carried(live, JobState.FAILED if job_fails else JobState.SUCCEEDED),
        job_error=failures[0] if job_fails and live.carries_job else None,
        billing=Billing.BILLED,
        events=(
            *_result_events(fresh),
            *((NewEvent(final),) if live.carries_job else _cost_settled(live)),
        ),
    )


def _ended(
    live: LiveAttempt,
    outcome: AttemptEnd,
    fresh: tuple[NewResult, ...],
    error: JobError,
    *,
    cost_usd: Decimal | None,
    random: float,
) -> Move:
    """End an attempt without a success, and decide whether its job goes on.

    Nothing is tried again once an item was paid.
    """
    is_free = live.carries_job and live.known_successes == 0 and not cost_usd
    # The platform has forgotten an upload of ours: uploaded again, the task may do. Once.
    renews = is_free and live.inputs is Inputs.READY and is_about_media(error.code, error.parameter)
    may_retry = renews or (is_free and error.code in RETRIED_CODES and live.number < live.max_attempts)
    delay_s = None
    if may_retry:
        delay_s = 0.0 if renews else retry_delay(live.number, retry_after_s=None, random=random)
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
        cost_usd=cost_usd,
        job_to=_if_carried(live, JobState.QUEUED if may_retry else JobState.FAILED),
        job_error=error if live.carries_job and not may_retry else None,
        billing=Billing.BILLED if cost_usd else Billing.NONE,
        delay_s=delay_s,
        renews_inputs=renews,
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
