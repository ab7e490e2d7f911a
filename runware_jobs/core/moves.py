"""A move: everything that one decision changes, as one value.

Decisions build moves, `store.moves.carry_out` writes them; nothing else changes a
job or an attempt that is under way. `LiveAttempt` is what the store hands to a
decision: the rows of one attempt and its job, locked and owned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .states import FINAL, AttemptEnd, AttemptState, Billing, Inputs, JobState, Lane, OnPartial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from uuid import UUID

    from .answers import JobError, NewResult
    from .events import NewEvent


TURNED_AWAY: Final = frozenset({"busy", "blocked"})
"""Answers to a send, in an attempt's record, that the platform may have kept under its UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAttempt:
    """An attempt, with its job, as locked by the transaction that decides.

    It has not ended; only a person's question finds one that did (`after_late_answer`).
    `known_keys` are the results written already; `age_s` counts from the claim,
    `accepted_s` from the acceptance, `resent_s` from the last resend (each None before
    it), on the database's clock. `steps` is what settling it has come to, in order;
    `unknown_s` is for how long the platform has not known it, `refused_s` for how long it
    refuses to be asked about it (None: it does neither, as far as was written down). `is_late`: the job's deadline has passed.
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
    inputs: Inputs | None = None
    known_keys: frozenset[str] = frozenset()
    known_successes: int = 0
    known_cost_usd: Decimal | None = None
    steps: tuple[Mapping[str, Any], ...] = ()
    unknown_s: float | None = None
    refused_s: float | None = None
    resent_s: float | None = None
    is_late: bool = False

    @property
    def was_handed_back(self) -> bool:
        """True when a send of this task UUID was turned away: an error told of it may be that one's."""
        return any(step["answer"] in TURNED_AWAY for step in self.steps)

    @property
    def carries_job(self) -> bool:
        """True while the job's state follows this attempt: same run, not yet final."""
        return self.run == self.job_run and self.job_state not in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What changes. A field that is None leaves its column alone.

    `delay_s` goes with a job that returns to `queued`; `renews_inputs` has its inputs uploaded
    again before it is claimed; `settlement` are steps to append
    to the attempt's record, each with `step` and `answer`; `resent` marks (True) or unmarks (False) its one resend;
    `unseen_s` is how long nobody had looked before the end was seen, so that what is
    learned of durations is not what the polls added. `crowded`: the platform itself
    turned it away for lack of room, which its model is to feel (`core.limits`).
    """

    live: LiveAttempt
    attempt_to: AttemptState | None = None
    outcome: AttemptEnd | None = None
    attempt_error: JobError | None = None
    settlement: tuple[Mapping[str, Any], ...] = ()
    resent: bool | None = None
    results: tuple[NewResult, ...] = ()
    progress: int | None = None
    cost_usd: Decimal | None = None
    job_to: JobState | None = None
    job_error: JobError | None = None
    billing: Billing | None = None
    delay_s: float | None = None
    renews_inputs: bool = False
    busy: bool = False
    crowded: bool = False
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
    def is_late_answer(self) -> bool:
        """True for what was learned of an attempt that had ended already (as lost)."""
        return self.live.state is AttemptState.ENDED

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
