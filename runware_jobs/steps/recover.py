"""Recover: after a database restore, find out what was sent since the copy was made.

The copy has forgotten claims, not jobs: the task UUID that each queued job's next send
would have had is derived again and asked about, while nothing is claimed. What the
platform or its archive knows gets its attempt back and is followed from there; a job
that goes on to another attempt is asked about once more. Killed and run again, it
begins anew with what is still open: all that it keeps is in the database.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.client import Missing, Polled
from runware_jobs.errors import NotPossible
from runware_jobs.store import pauses, processes, recovery
from runware_jobs.store.jobs import read_sent

from .ask_archive import ask_archive_about
from .holding import held_lease
from .poll import poll
from .rescue import adopt
from .watch import watch_adopted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from runware_jobs.core.answers import Answer
    from runware_jobs.store.recovery import Candidate

    from .context import Context
    from .watch import Watch

_log = structlog.get_logger()
PAUSED_FOR: Final = "recover: asking what was sent since the copy"
PATIENCE_S: Final = 300.0
"""Longer than a platform takes to be started again; whoever waits for it sits before a terminal."""
_PAGE: Final = 100
_AGAIN_S: Final = 0.5
_REFUSED_S: Final = 60.0


@dataclass(slots=True)
class Recovered:
    """What a recovery has found so far.

    Of `to_ask` queued jobs `asked` were asked about: `found` had been sent, `held` may
    have been and wait for a person. `open_at_copy` attempts were under way in the copy,
    `unanswered` is what could not be asked yet. `is_resumed`: claims go on; False while
    it works, where somebody else had paused the account, and where it gave up:
    `unanswered_jobs` are then those that nobody could be asked about.
    """

    to_ask: int = 0
    asked: int = 0
    found: int = 0
    held: int = 0
    open_at_copy: int = 0
    unanswered: int = 0
    is_resumed: bool = False
    unanswered_jobs: tuple[UUID, ...] = ()


@dataclass(slots=True)
class _Work:
    since: datetime
    begun_at: datetime
    holds_unknown: bool
    patience_s: float
    told: Callable[[Recovered], None]
    seen: Recovered = field(default_factory=Recovered)
    asked: set[UUID] = field(default_factory=set)
    watches: list[Watch] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)

    @property
    def is_in_vain(self) -> bool:
        """True when nothing has been answered for longer than there is patience for."""
        return time.monotonic() - self.heard_at > self.patience_s


async def recover(
    context: Context,
    *,
    since: datetime,
    sends_unknown: bool,
    told: Callable[[Recovered], None],
    patience_s: float = PATIENCE_S,
) -> Recovered:
    """Settle what could have been sent since `since`, the time of the copy; then let claims go on.

    The account stays paused where a person had paused it, and when this is interrupted; and
    where nothing more was answered for `patience_s` seconds, because a claim could then
    send what is with the platform: what was found by then is kept, and another run goes on.
    A job that neither the platform nor its archive knows stays queued and goes out under
    the task UUID that it would have had. When the copy is older than they are relied on
    (RECONCILE_MAX_AGE_S) it is held as unclear instead, unless `sends_unknown`.
    Calls `told` whenever there is news.

    Raises:
        NotPossible: a worker is alive, or the lease lapsed; the account is paused then.
    """
    async with held_lease(context):
        async with context.engine.begin() as connection:
            await pauses.pause_by_hand(connection, context.owner.account_id, reason=PAUSED_FOR)
            await processes.lapse(connection, lease_s=context.tempo.lease_s)
            begun_at = await recovery.database_time(connection)
            living = await recovery.count_living(connection, context.owner)
        if living:
            raise NotPossible(
                f"{living} workers are alive, or were when the copy was made: stop them, or wait for"
                f" LEASE_S ({context.tempo.lease_s:g} seconds), and run this again. The account is paused."
            )
        is_too_old = (begun_at - since).total_seconds() > context.tempo.reconcile_max_age_s
        work = _Work(since, begun_at, is_too_old and not sends_unknown, patience_s, told)
        if not await _settle_everything(context, work):
            work.seen.unanswered_jobs = await _name_unanswered(context, work)
            return work.seen
        async with context.engine.begin() as connection:
            work.seen.is_resumed = await recovery.is_paused_for(
                connection, context.owner.account_id, reason=PAUSED_FOR
            ) and await pauses.resume_by_hand(connection, context.owner.account_id)
    told(work.seen)
    return work.seen


async def _settle_everything(context: Context, work: _Work) -> bool:
    """Ask until nothing is open; False: what is left gets no answer."""
    while adopted := await adopt(context):
        work.watches += adopted
    work.seen.open_at_copy = len(work.watches)
    async with context.engine.connect() as connection:
        work.seen.to_ask = await recovery.count_candidates(
            connection, context.owner.account_id, created_before=work.begun_at
        )
    work.told(work.seen)
    while True:
        asked, unanswered = await _ask_the_queue(context, work)
        unsettled = await _follow(context, work)
        work.seen.unanswered = unanswered + unsettled
        work.told(work.seen)
        # What ended meanwhile may have put its job back into the queue: looked at once more.
        if not asked and not work.seen.unanswered:
            return True
        if work.is_in_vain:
            return False
        await asyncio.sleep(_AGAIN_S if work.seen.unanswered else 0)


async def _ask_the_queue(context: Context, work: _Work) -> tuple[int, int]:
    """Ask about queued jobs not asked about yet; give how many answered, and how many did not."""
    answered = unanswered = 0
    after: UUID | None = None
    while True:
        async with context.engine.connect() as connection:
            page = await recovery.read_candidates(
                connection,
                context.owner.account_id,
                secret=context.secret,
                created_before=work.begun_at,
                after=after,
                limit=_PAGE,
            )
        if not page:
            return answered, unanswered
        after = page[-1].job_id
        new = [one for one in page if one.task_uuid not in work.asked]
        if unanswered and work.is_in_vain:
            return answered, unanswered + len(new)
        if new:
            silent = await _ask_about(context, work, new)
            answered += len(new) - silent
            unanswered += silent
            work.seen.to_ask = max(work.seen.to_ask, work.seen.asked)
            work.told(work.seen)


async def _ask_about(context: Context, work: _Work, candidates: Sequence[Candidate]) -> int:
    """Ask about one group and attach what was sent; give how many had no answer."""
    await context.pace.turn()
    outcomes = await context.client.poll_many(
        [str(one.task_uuid) for one in candidates], before_more=context.pace.turn
    )
    context.doubts.hear(outcomes.values())
    sent = [one for one in candidates if isinstance(outcomes[str(one.task_uuid)], Polled)]
    missing = [one for one in candidates if isinstance(outcomes[str(one.task_uuid)], Missing)]
    archived = await ask_archive_about(context, [one.task_uuid for one in missing])
    unknown = [one for one in missing if (answer := archived[one.task_uuid]) and answer.says_nothing]
    sent += [one for one in missing if (answer := archived[one.task_uuid]) and not answer.says_nothing]
    to_attach = [*sent, *unknown] if work.holds_unknown else sent
    done = {one.task_uuid for one in unknown if not work.holds_unknown}
    if to_attach:
        async with context.engine.begin() as connection:
            attached = await recovery.attach(connection, context.owner, to_attach, sent_after=work.since)
        work.watches += [watch_adopted(context, one) for one in attached]
        # One that somebody held just then is asked about again, unless its job has ended by that.
        done |= {one.task_uuid for one in attached}
        _log.info("attempts_attached", attempts=len(attached))
    work.asked |= done
    if done:
        work.heard_at = time.monotonic()
    work.seen.asked += len(done)
    work.seen.found += sum(1 for one in sent if one.task_uuid in done)
    work.seen.held += sum(1 for one in unknown if one.task_uuid in done) if work.holds_unknown else 0
    return len(candidates) - len(done)


async def _follow(context: Context, work: _Work) -> int:
    """Poll what is not settled yet, and drop what is; give how many are left.

    Settled is what has ended, what the platform says is going on (then nothing was sent
    after it), what neither it nor the archive knows, and what the archive says too
    little of to decide (then a worker goes on).
    """
    left: list[Watch] = []
    before = len(work.watches)
    for start in range(0, len(work.watches), _PAGE):
        group = work.watches[start : start + _PAGE]
        for watch in group:
            watch.doubt_at = 0.0
        await context.pace.turn()
        left += await poll(context, group)
    doubtful = [watch for watch in left if watch.seen is None]
    missing = [watch for watch in doubtful if watch.doubtful_since is not None]
    archived = await ask_archive_about(context, [watch.task_uuid for watch in missing])
    work.watches = [watch for watch in doubtful if not _is_settled(watch, archived.get(watch.task_uuid))]
    if len(work.watches) < before:
        work.heard_at = time.monotonic()
    return len(work.watches)


async def _name_unanswered(context: Context, work: _Work) -> tuple[UUID, ...]:
    """Name the jobs, in their order, that are still open."""
    after: UUID | None = None
    async with context.engine.connect() as connection:
        attached = await read_sent(connection, [watch.task_uuid for watch in work.watches])
        jobs = {one.job_id for one in attached}
        while page := await recovery.read_candidates(
            connection,
            context.owner.account_id,
            secret=context.secret,
            created_before=work.begun_at,
            after=after,
            limit=_PAGE,
        ):
            after = page[-1].job_id
            jobs |= {one.job_id for one in page if one.task_uuid not in work.asked}
    return tuple(sorted(jobs))


def _is_settled(watch: Watch, archived: Answer | None) -> bool:
    if archived is None:
        return False
    if watch.refused_since is not None and time.monotonic() - watch.refused_since < _REFUSED_S:
        return False  # a question that met an error once is no answer: asked again
    # What the archive knows is recorded when the settlement comes to it, and may be an end
    # after which another attempt was sent. Left to a worker before that, this one would be
    # ended later, and the next sent again without a question.
    was_looked_into = watch.doubt_at > 0
    return archived.says_nothing or was_looked_into
