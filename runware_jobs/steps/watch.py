"""What a process remembers of an attempt it follows: when to ask next, what it saw last.

Nothing here is in the database, because a poll that found nothing must write
nothing (P3); a successor starts from the attempt's own row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runware_jobs.core.schedule import MAX_POLL_S, first_look, next_look
from runware_jobs.core.states import AttemptState, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from runware_jobs.core.moves import Move
    from runware_jobs.core.schedule import Look
    from runware_jobs.store.estimates import LearnedAs
    from runware_jobs.store.processes import Adopted

    from .context import Context

# Nobody reads it faster, and of thousands of videos it would be most of all that is written.
_PROGRESS_EVERY_S: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Watch:
    """One followed attempt. Instants are of `time.monotonic`.

    It is to be asked about at `due_at`, and with others from `ripe_at` on.
    `learned_as` names what was learned of tasks like it.
    """

    task_uuid: UUID
    lane: Lane
    learned_as: LearnedAs
    state: AttemptState
    sent_at: float
    ripe_at: float = 0.0
    due_at: float = 0.0
    seen: object = None
    progress: int | None = None
    progress_at: float = 0.0
    missing_since: float | None = None
    refused_since: float | None = None  # the question about it, while others are answered
    is_alone: bool = False  # to be asked about in a request of its own, since it spoils others'
    not_silent_at: float = 0.0  # when it was answered last, or nobody was: no silence of its own until then
    doubt_at: float = 0.0  # when `settle` may go on with it
    looked_at: float | None = None

    @property
    def is_unclear(self) -> bool:
        """True while nobody knows whether the platform has the task."""
        return self.state is AttemptState.UNCLEAR

    @property
    def doubtful_since(self) -> float | None:
        """Since when polls have told nothing of the task; None: the last one has."""
        return self.refused_since if self.missing_since is None else self.missing_since

    def is_news(self, items: tuple[Mapping[str, Any], ...], errors: int) -> bool:
        """Tell whether an answer differs from the last one in more than progress; remembers it."""
        seen = (errors, tuple((item.get("status"), len(item)) for item in items))
        changed = seen != self.seen
        self.seen = seen
        return changed

    def shows_progress(self, progress: int | None) -> bool:
        """Tell whether progress is to be written: it is new, and the last was a while ago; remembers it."""
        now = time.monotonic()
        if progress in {None, self.progress} or now - self.progress_at < _PROGRESS_EVERY_S:
            return False
        self.progress, self.progress_at = progress, now
        return True

    def look(self) -> float:
        """Note that the platform was asked now; give the seconds since the look before, or the send."""
        now = time.monotonic()
        unseen_s = now - (self.sent_at if self.looked_at is None else self.looked_at)
        self.looked_at = now
        return unseen_s

    def forget(self) -> None:
        """Take the next answer for news, because recording the last one did not work out."""
        self.seen = None

    def put_off(self, context: Context, *, together: int = 1, at_least_s: float = 0.0) -> None:
        """Be due again when the schedule says so; `together` tasks shared the last question."""
        now = time.monotonic()
        look = next_look(
            self.lane,
            context.expected.get(self.learned_as),
            waited_s=now - self.sent_at,
            together=together,
            minimum_s=self._minimum_s(context),
            random=context.random(),
        )
        self._plan(look, now, at_least_s=at_least_s)

    def wait_first(self, context: Context, *, at_least_s: float = 0.0) -> None:
        """Be due for the first time when the schedule says so, or at once where that has passed."""
        now = time.monotonic()
        look = first_look(
            self.lane,
            context.expected.get(self.learned_as),
            waited_s=now - self.sent_at,
            minimum_s=self._minimum_s(context),
            random=context.random(),
        )
        self._plan(look, now, at_least_s=at_least_s)

    def _minimum_s(self, context: Context) -> float:
        """Give the shortest pause; where the platform calls back, polls only catch what was lost."""
        if context.callback_base_url is None or self.is_unclear:
            return context.tempo.poll_min_interval_s
        return max(context.tempo.poll_min_interval_s, MAX_POLL_S[self.lane])

    def _plan(self, look: Look, now: float, *, at_least_s: float) -> None:
        self.due_at = now + max(look.due_s, at_least_s)
        # Alone it waits for no company.
        self.ripe_at = self.due_at if self.is_alone else now + max(look.ripe_s, at_least_s)


def watch_sent(
    context: Context, task_uuid: UUID, lane: Lane, move: Move, *, learned_as: LearnedAs
) -> Watch | None:
    """Follow an attempt that was just sent; None when its move ended it or gave it back."""
    # A transaction that was done twice finds its own work done: the attempt stands
    # where it was to go, and the second move says nothing of it.
    state = move.attempt_to or move.live.state
    if state not in {AttemptState.ACCEPTED, AttemptState.UNCLEAR}:
        return None
    now = time.monotonic()
    watch = Watch(task_uuid=task_uuid, lane=lane, learned_as=learned_as, state=state, sent_at=now)
    if state is AttemptState.ACCEPTED:
        watch.wait_first(context)
    else:
        watch.ripe_at = watch.due_at = now + context.tempo.reconcile_grace_s
    return watch


def watch_adopted(context: Context, adopted: Adopted) -> Watch:
    """Follow an attempt that somebody else sent: ask soon, but not all in one instant."""
    now = time.monotonic()
    unclear = adopted.state is AttemptState.UNCLEAR
    grace = max(0.0, context.tempo.reconcile_grace_s - adopted.age_s) if unclear else 0.0
    due_at = now + grace + 0.2 * context.random()
    return Watch(
        task_uuid=adopted.task_uuid,
        lane=adopted.lane,
        learned_as=adopted.learned_as,
        state=adopted.state,
        sent_at=now - (adopted.age_s if unclear else adopted.accepted_s or 0.0),
        ripe_at=due_at,
        due_at=due_at,
    )
