"""The two state machines: jobs (what a producer asked for) and attempts (one task each).

```
 job       scheduled ─▶ queued ─▶ submitting ─▶ running ─▶ succeeded | failed | canceled
 attempt   prepared ─▶ sending ─▶ accepted ─▶ ended
                          └────▶ unclear ─▶ accepted | ended
```

They are separate because the platform goes on when we do not: a canceled job can
have a running attempt, and that attempt is followed until it has ended. State
names live here only; `store/tables.py` builds its CHECK constraints from them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a job asks for."""

    RUN = "run"
    UPLOAD = "upload"
    TRAINING = "training"


class JobState(StrEnum):
    """Where a job stands. Stored names; on the wire a future `queued` reads `scheduled`."""

    QUEUED = "queued"  # waits for a claim; `run_at` may be in the future
    SUBMITTING = "submitting"  # claimed: a task UUID is committed, the send may be on the wire
    RUNNING = "running"  # the platform has the task
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


SCHEDULED: Final = "scheduled"
"""How a queued job whose `run_at` lies ahead is called: a name, never a stored state."""

FINAL: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED})

JOB_MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.FAILED, JobState.CANCELED}),
    # Back to queued: busy, not sent, or refused with a class that is retried.
    JobState.SUBMITTING: frozenset({JobState.QUEUED, JobState.RUNNING, *FINAL}),
    JobState.RUNNING: frozenset({JobState.QUEUED, *FINAL}),
    JobState.SUCCEEDED: frozenset(),
    # Retry by hand: a new run, adoption of the attempt that has not ended, or, where late
    # results have completed it meanwhile, nothing to ask for any more.
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.SUCCEEDED}),
    JobState.CANCELED: frozenset(
        {JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.SUCCEEDED}
    ),
}


class AttemptState(StrEnum):
    """Where one Runware task stands, as far as we know."""

    PREPARED = "prepared"  # nothing sent, or known not to have arrived
    SENDING = "sending"  # committed before the first byte; owned by one process
    ACCEPTED = "accepted"
    UNCLEAR = "unclear"  # bytes left, no answer can be relied on: being settled
    ENDED = "ended"


ATTEMPT_MOVES: Final[dict[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.PREPARED: frozenset({AttemptState.SENDING, AttemptState.ENDED}),
    AttemptState.SENDING: frozenset(
        {AttemptState.PREPARED, AttemptState.ACCEPTED, AttemptState.UNCLEAR, AttemptState.ENDED}
    ),
    AttemptState.UNCLEAR: frozenset({AttemptState.ACCEPTED, AttemptState.ENDED}),
    AttemptState.ACCEPTED: frozenset({AttemptState.ENDED}),
    AttemptState.ENDED: frozenset(),
}


class AttemptEnd(StrEnum):
    """How an attempt ended; set exactly when its state is `ended`."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    LOST = "lost"


class Billing(StrEnum):
    """What a job's run has cost or may have cost; not part of its state."""

    NONE = "none"
    BILLED = "billed"
    DETACHED = "detached"  # the job has ended, its task goes on and will be billed
    UNCLEAR = "unclear"  # nobody can say whether the platform billed it


class OnPartial(StrEnum):
    """What a job is called when some results arrived and some failed."""

    SUCCEED = "succeed"
    FAIL = "fail"


class Inputs(StrEnum):
    """Where the large inputs of a job stand; a job without any has none of these."""

    AWAITED = "awaited"  # not claimed before they are with the platform
    READY = "ready"
    RENEWING = "renewing"  # the platform did not know one any more: uploaded again, once
    RENEWED = "renewed"


WAITING_FOR_INPUTS: Final = frozenset({Inputs.AWAITED, Inputs.RENEWING})
"""A claim passes over these."""


class Lane(StrEnum):
    """Work of one tempo, limited and paused together."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    THREE_D = "3d"
    TRAINING = "training"
    UPLOAD = "upload"
