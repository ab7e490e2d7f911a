"""Settle by hand: what a person may do about attempts of which nobody knows what became of them."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from runware_jobs.client import Missing, NoAnswer, Polled
from runware_jobs.core.decisions import after_late_answer, after_late_silence, after_loss
from runware_jobs.core.states import AttemptEnd, AttemptState
from runware_jobs.store import moves, recovery

from .ask_archive import ask_archive_about
from .poll import poll
from .record import committed
from .watch import watch_adopted
from .words import item_error, poll_answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from runware_jobs.core.answers import Answer
    from runware_jobs.core.moves import LiveAttempt, Move
    from runware_jobs.store.processes import Owner
    from runware_jobs.store.recovery import Unclear

    from .context import Context
    from .watch import Watch

_GROUP: Final = 100
_GIVEN_UP: Final = "Given up by a person; it may have been billed."


class Found(StrEnum):
    """What came of asking about one attempt."""

    ENDED = "ended"  # its results, or its error, and its cost are recorded
    RUNNING = "running"
    UNKNOWN = "unknown"  # both the platform and its archive answered
    NO_ANSWER = "no answer"
    FOLLOWED = "followed"  # a worker is at it: nothing was done
    ELSEWHERE = "another account"  # this key may not ask


async def settle_by_hand(context: Context, attempts: Sequence[Unclear]) -> dict[UUID, Found]:
    """Ask the platform about these attempts now, record what it says, and send nothing.

    Attempts that a living process follows are left to it. One that was given up as lost
    gets its results and cost; its job stays what it was called. What is still unclear
    belongs to the context's process then, until that gives it back.
    """
    found: dict[UUID, Found] = {}
    live: list[UUID] = []
    lost: list[UUID] = []
    for attempt in attempts:
        if attempt.account_id != context.owner.account_id:
            found[attempt.task_uuid] = Found.ELSEWHERE
        elif attempt.is_lost:
            lost.append(attempt.task_uuid)
        else:
            live.append(attempt.task_uuid)
    for start in range(0, len(live), _GROUP):
        found |= await _settle_live(context, live[start : start + _GROUP])
    for start in range(0, len(lost), _GROUP):
        found |= await _settle_lost(context, lost[start : start + _GROUP])
    return found


async def abandon(engine: AsyncEngine, owner: Owner, attempts: Sequence[Unclear]) -> set[UUID]:
    """End unclear attempts as lost, on a person's word; say which. Whoever followed them writes nothing more."""
    tasks = [attempt.task_uuid for attempt in attempts if not attempt.is_lost]

    async def once(connection: AsyncConnection) -> set[UUID]:
        await recovery.take_over(connection, owner, tasks, also_from_the_living=True)
        live = await moves.lock_owned(connection, owner, tasks)
        unclear = [one for one in live.values() if one.state is AttemptState.UNCLEAR]
        await moves.carry_out(connection, [after_loss(one, _GIVEN_UP) for one in unclear])
        return {one.task_uuid for one in unclear}

    return await committed(engine, once)


async def _settle_live(context: Context, tasks: Sequence[UUID]) -> dict[UUID, Found]:
    async def take(connection: AsyncConnection) -> list[Watch]:
        taken = await recovery.take_over(connection, context.owner, tasks, also_from_the_living=False)
        return [watch_adopted(context, one) for one in taken]

    watches = await committed(context.engine, take)
    # Asking by hand neither sends nor gives up: that is the workers' business, in its time.
    asking = replace(
        context,
        tempo=replace(context.tempo, resends=False, lost_after_s=float("inf"), stuck_after_s=float("inf")),
    )
    await context.pace.turn()
    left = {watch.task_uuid for watch in await poll(asking, watches)} if watches else set()
    return dict.fromkeys(tasks, Found.FOLLOWED) | {
        watch.task_uuid: _found(watch) if watch.task_uuid in left else Found.ENDED for watch in watches
    }


def _found(watch: Watch) -> Found:
    if watch.state is AttemptState.ACCEPTED:
        return Found.RUNNING
    return Found.NO_ANSWER if watch.missing_since is None else Found.UNKNOWN


async def _settle_lost(context: Context, tasks: Sequence[UUID]) -> dict[UUID, Found]:
    answers = await _ask(context, tasks)

    def decide(live: LiveAttempt) -> Move:
        answer = answers[live.task_uuid]
        if answer is None:
            return after_late_silence(live, Found.NO_ANSWER)
        if answer.says_nothing:
            return after_late_silence(live, Found.UNKNOWN)
        return after_late_answer(live, answer, classify=item_error, cost_per=context.cost_per)

    async def once(connection: AsyncConnection) -> dict[UUID, Found]:
        decided = [decide(live) for live in (await moves.lock_lost(connection, tasks)).values()]
        await moves.carry_out(connection, decided)
        return {move.live.task_uuid: _came_of(move) for move in decided}

    # Settled by somebody else in the meantime: it has ended all the same.
    return dict.fromkeys(tasks, Found.ENDED) | await committed(context.engine, once)


def _came_of(move: Move) -> Found:
    if move.outcome is not AttemptEnd.LOST:
        return Found.ENDED
    return Found(move.settlement[-1]["answer"])


async def _ask(context: Context, tasks: Sequence[UUID]) -> dict[UUID, Answer | None]:
    """Ask the platform, and its archive about what that does not know; None where there was no answer."""
    await context.pace.turn()
    outcomes = await context.client.poll_many([str(task) for task in tasks], before_more=context.pace.turn)
    context.doubts.hear(outcomes.values())
    answers: dict[UUID, Answer | None] = {}
    missing: list[UUID] = []
    for task in tasks:
        match outcomes[str(task)]:
            case Polled() as polled:
                answers[task] = poll_answer(polled)
            case Missing():
                missing.append(task)
            case NoAnswer():
                answers[task] = None
    return answers | await ask_archive_about(context, missing)
