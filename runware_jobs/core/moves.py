"""A move: everything that one decision changes, as one value.

Decisions build moves, `store.moves.carry_out` writes them; nothing else changes a
job or an attempt that is under way. `LiveAttempt` is what the store hands to a
decision: the rows of one attempt and its job, locked and owned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .states import FINAL, AttemptEnd, AttemptState, Billing, JobState, Lane, OnPartial

if TYPE_CHECKING:
    from decimal import Decimal
    from uuid import UUID

    from .answers import JobError, NewResult
    from .events import NewEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAttempt:
    """An attempt that has not ended, with its job, as locked by the transaction that decides.

    `known_keys` are the results written already; `age_s` counts from the claim,
    `accepted_s` from the acceptance (None before it), both on the database's clock.
    """

    task_uuid: UUID
    job_id: UUID
    state: AttemptState
    run: int
    number: int
    age_s: float
    accepted_s: float | None
    was_resent: bool
    progress: int | None
    job_state: JobState
    job_run: int
    lane: Lane
    model: str
    task_type: str
    attempts: int
    max_attempts: int
    times_busy: int
    results_expected: int
    on_partial: OnPartial
    known_keys: frozenset[str] = frozenset()
    known_successes: int = 0
    known_cost_usd: Decimal | None = None

    @property
    def carries_job(self) -> bool:
        """True while the job's state follows this attempt: same run, not yet final."""
        return self.run == self.job_run and self.job_state not in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What changes. A field that is None leaves its column alone.

    `delay_s` goes with a job that returns to `queued`; `settlement` is one step to
    append to the attempt's record; `resent` marks (True) or unmarks (False) its one resend;
    `unseen_s` is how long nobody had looked before the end was seen, so that what is
    learned of durations is not what the polls added.
    """

    live: LiveAttempt
    attempt_to: AttemptState | None = None
    outcome: AttemptEnd | None = None
    attempt_error: JobError | None = None
    settlement: dict[str, Any] | None = None
    resent: bool | None = None
    results: tuple[NewResult, ...] = ()
    progress: int | None = None
    cost_usd: Decimal | None = None
    job_to: JobState | None = None
    job_error: JobError | None = None
    billing: Billing | None = None
    delay_s: float | None = None
    busy: bool = False
    unseen_s: float | None = None
    events: tuple[NewEvent, ...] = ()

    def __post_init__(self) -> None:
        # A contradiction here is a defect of a decision, found before it is written.
        if (self.attempt_to is AttemptState.ENDED) != (self.outcome is not None):
            raise ValueError("an attempt has an outcome exactly when it ends")
        if (self.job_to is JobState.QUEUED) != (self.delay_s is not None):
            raise ValueError("a job has a delay exactly when it returns to the queue")
        if self.job_to is JobState.FAILED and self.job_error is None:
            raise ValueError("a failed job says why")

    @property
    def changes_nothing(self) -> bool:
        """True when carrying the move out would write no row (P3)."""
        return not (
            self.attempt_to
            or self.settlement
            or self.results
            or self.job_to
            or self.events
            or self.resent is not None
            or (self.progress is not None and self.progress != self.live.progress)
        )
