"""Submit: claim due jobs, commit their task UUIDs, send them in one request, record each outcome.

The order is the promise (P2): the claim's commit comes before the first byte, and
the fence is taken before the claim begins, so that it lies earlier on our clock
than on the database's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from runware_jobs.core.answers import JobError
from runware_jobs.core.decisions import SendOutcome, Sent, after_send
from runware_jobs.store.claims import claim

from .record import record
from .tasks import make_task
from .watch import Watch, watch_sent
from .words import item_error, send_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runware_jobs.core.moves import LiveAttempt, Move
    from runware_jobs.store.claims import Claim, Claimed

    from .context import Context

_log = structlog.get_logger()
# One job that cannot be sent must not keep those behind it in the queue.
_NO_INPUT: Final = SendOutcome(
    Sent.REFUSED, error=JobError("notFound", "An input of this job is no longer stored: enqueue it again.")
)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one submit did.

    `watches` are the attempts to follow; `again_in_s` None means: nothing more is
    due until a wake; `blocked` is the account's own error, when it may send nothing.
    """

    claimed: int = 0
    watches: tuple[Watch, ...] = ()
    again_in_s: float | None = None
    blocked: JobError | None = None


async def submit(context: Context) -> Submitted:
    """Send at most one group of due jobs. Killed at any point, nothing is lost or sent twice."""
    send_before = time.time() + context.tempo.send_window_s
    claimed, tasks = await _claim(context)
    if not claimed.jobs:
        return Submitted(again_in_s=claimed.again_in_s)
    outcomes = await context.client.submit_many(tasks, send_before=send_before)
    answers = {job.task_uuid: _NO_INPUT for job in claimed.jobs if str(job.task_uuid) not in outcomes}
    answers |= {UUID(task): send_outcome(outcome) for task, outcome in outcomes.items()}

    def decide(live: LiveAttempt) -> Move:
        return after_send(live, answers[live.task_uuid], classify=item_error, random=context.random())

    moves = await record(context, answers, decide)
    _log.info(
        "submitted",
        jobs=len(claimed.jobs),
        accepted=sum(1 for answer in answers.values() if answer.sent in {Sent.ACCEPTED, Sent.CONFLICT}),
    )
    return Submitted(
        claimed=len(claimed.jobs),
        watches=_watches(context, claimed.jobs, moves),
        again_in_s=claimed.again_in_s,
        blocked=next((answer.error for answer in answers.values() if answer.sent is Sent.BLOCKED), None),
    )


async def _claim(context: Context) -> tuple[Claim, list[dict[str, Any]]]:
    """Claim and read what is to be sent; the commit at the end fixes the task UUIDs."""
    # Not repeated when the database drops: a claim whose commit was lost on the way
    # back may stand, and is settled as unclear by whoever finds it.
    async with context.engine.begin() as connection:
        taken = await claim(
            connection,
            context.owner,
            secret=context.secret,
            limit=context.tempo.submit_group_size,
            send_window_s=context.tempo.send_window_s,
        )
        made = [
            await make_task(
                connection,
                account_id=context.owner.account_id,
                tenant=job.tenant,
                task_uuid=job.task_uuid,
                params=job.params,
            )
            for job in taken.jobs
        ]
        return taken, [task for task in made if task is not None]


def _watches(context: Context, jobs: Sequence[Claimed], moves: dict[UUID, Move]) -> tuple[Watch, ...]:
    found = (
        watch_sent(context, job.task_uuid, job.lane, moves[job.task_uuid], expected_s=job.expected_s)
        for job in jobs
        if job.task_uuid in moves
    )
    return tuple(watch for watch in found if watch is not None)
