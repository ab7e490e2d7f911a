"""Submit: claim due jobs, commit their task UUIDs, send them in one request, record each outcome.

The order is the promise (P2): the claim's commit comes before the first byte, and
the fence is taken before the claim begins, so that it lies earlier on our clock
than on the database's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from runware_jobs.core.decisions import Sent, after_send
from runware_jobs.store.claims import claim

from .expecting import learn_of
from .record import record
from .tasks import make_tasks
from .watch import Watch, watch_sent
from .window import SendWindow
from .words import item_error, send_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runware_jobs.core.moves import LiveAttempt, Move
    from runware_jobs.store.claims import Claim, Claimed

    from .context import Context

_log = structlog.get_logger()
_STALE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that are claimed and are to be sent in one request, within `window`."""

    claim: Claim
    window: SendWindow
    claimed_at: float


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one submit did.

    `watches` are the attempts to follow; `again_in_s` None means: nothing more is
    due until a wake.
    """

    claimed: int = 0
    watches: tuple[Watch, ...] = ()
    again_in_s: float | None = None


async def submit(context: Context) -> Submitted:
    """Send at most one group of due jobs. Killed at any point, nothing is lost or sent twice."""
    group = await claim_group(context)
    if group.claim.wants_turn:
        group = await claim_group(context, turn=await context.pace.turn())
    watches = await send_group(context, group) if group.claim.jobs else ()
    return Submitted(claimed=len(group.claim.jobs), watches=watches, again_in_s=group.claim.again_in_s)


async def claim_group(context: Context, *, turn: float | None = None) -> Group:
    """Claim at most one group; the commit at the end fixes the task UUIDs.

    `turn` is the one that the group is to leave with; without one it is paid with a
    token, or nothing is claimed. A turn that nothing was claimed for is given back.
    """
    window = SendWindow(context.tempo.send_window_s)
    if turn is None:
        turn = context.pace.take()
    # Not repeated when the database drops: a claim whose commit was lost on the way
    # back may stand, and is settled as unclear by whoever finds it.
    async with context.engine.begin() as connection:
        taken = await claim(
            connection,
            context.owner,
            secret=context.secret,
            limit=context.tempo.submit_group_size,
            send_window_s=context.tempo.send_window_s,
            has_turn=turn is not None,
        )
        await learn_of(context, connection, (job.learned_as for job in taken.jobs))
    if turn is not None and not taken.jobs:
        context.pace.give_back(turn)
    return Group(taken, window, time.monotonic())


async def send_group(context: Context, group: Group) -> tuple[Watch, ...]:
    """Send what was claimed and record each outcome; give the attempts to follow."""
    jobs = group.claim.jobs
    made = await make_tasks(context, jobs)
    if group.claim.owes_turn or time.monotonic() - group.claimed_at > _STALE_S:
        # Not paid, or their inputs took a while: the turn that the claim was paid with has passed.
        await context.pace.turn()
    outcomes = await context.client.submit_many(
        made.tasks, send_before=group.window.send_before(), before_more=context.pace.turn
    )
    context.doubts.hear(outcomes.values())
    answers = {UUID(task): send_outcome(outcome) for task, outcome in outcomes.items()} | made.withheld

    def decide(live: LiveAttempt) -> Move:
        return after_send(
            live,
            answers[live.task_uuid],
            classify=item_error,
            random=context.random(),
            cost_per=context.cost_per,
        )

    moves = await record(context, answers, decide)
    _log.info(
        "submitted",
        jobs=len(jobs),
        accepted=sum(1 for answer in answers.values() if answer.sent in {Sent.ACCEPTED, Sent.CONFLICT}),
    )
    return _watches(context, jobs, moves)


def _watches(context: Context, jobs: Sequence[Claimed], moves: dict[UUID, Move]) -> tuple[Watch, ...]:
    found = (
        watch_sent(context, job.task_uuid, job.lane, moves[job.task_uuid], learned_as=job.learned_as)
        for job in jobs
        if job.task_uuid in moves
    )
    return tuple(watch for watch in found if watch is not None)
