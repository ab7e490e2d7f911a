"""What a process remembers of an attempt it follows: when to ask next, what it saw last.

Nothing here is in the database, because a poll that found nothing must write
nothing (P3); a successor starts from the attempt's own row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runware_jobs.core.schedule import first_poll_delay, next_poll_delay
from runware_jobs.core.states import AttemptState, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from runware_jobs.core.moves import Move
    from runware_jobs.store.processes import Adopted

    from .context import Context


@dataclass(slots=True, kw_only=True)
class Watch:
    """One followed attempt. Instants are of `time.monotonic`."""

    task_uuid: UUID
    lane: Lane
    state: AttemptState
    sent_at: float
    due_at: float
    seen: object = None
    missing_since: float | None = None
    looked_at: float | None = None

    @property
    def is_unclear(self) -> bool:
        """True while nobody knows whether the platform has the task."""
        return self.state is AttemptState.UNCLEAR

    def is_news(self, items: tuple[Mapping[str, Any], ...], errors: int) -> bool:
        """Tell whether an answer differs from the last one; remembers it."""
        seen = (errors, tuple((item.get("status"), item.get("progress"), len(item)) for item in items))
        changed = seen != self.seen
        self.seen = seen
        return changed

    def look(self) -> float:
        """Note that the platform was asked now; give the seconds since the look before, or the send."""
        now = time.monotonic()
        unseen_s = now - (self.sent_at if self.looked_at is None else self.looked_at)
        self.looked_at = now
        return unseen_s

    def forget(self) -> None:
        """Take the next answer for news, because recording the last one did not work out."""
        self.seen = None

    def put_off(self, context: Context, *, at_least_s: float = 0.0) -> None:
        """Be due again when the lane's schedule says so."""
        now = time.monotonic()
        delay = next_poll_delay(
            self.lane,
            now - self.sent_at,
            minimum_s=context.tempo.poll_min_interval_s,
            random=context.random(),
        )
        self.due_at = now + max(delay, at_least_s)


def watch_sent(
    context: Context, task_uuid: UUID, lane: Lane, move: Move, *, expected_s: float | None
) -> Watch | None:
    """Follow an attempt that was just sent; None when its move ended it or gave it back."""
    now = time.monotonic()
    # A transaction that was done twice finds its own work done: the attempt stands
    # where it was to go, and the second move says nothing of it.
    state = move.attempt_to or move.live.state
    match state:
        case AttemptState.ACCEPTED:
            delay = first_poll_delay(
                lane, expected_s, minimum_s=context.tempo.poll_min_interval_s, random=context.random()
            )
        case AttemptState.UNCLEAR:
            delay = context.tempo.reconcile_grace_s
        case _:
            return None
    return Watch(task_uuid=task_uuid, lane=lane, state=state, sent_at=now, due_at=now + delay)


def watch_adopted(context: Context, adopted: Adopted) -> Watch:
    """Follow an attempt that somebody else sent: ask soon, but not all in one instant."""
    now = time.monotonic()
    unclear = adopted.state is AttemptState.UNCLEAR
    grace = max(0.0, context.tempo.reconcile_grace_s - adopted.age_s) if unclear else 0.0
    return Watch(
        task_uuid=adopted.task_uuid,
        lane=adopted.lane,
        state=adopted.state,
        sent_at=now - (adopted.age_s if unclear else adopted.accepted_s or 0.0),
        due_at=now + grace + 0.2 * context.random(),
    )
