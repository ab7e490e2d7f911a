"""Poll: ask about many tasks in one request, record only what is new.

A group's answers are recorded in one transaction. Tasks that the platform does not
know, or refuses to be asked about, go to `settle`, and so do those of which alone it
answers nothing; a question that failed like all others says nothing and is asked again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from runware_jobs.client import Missing, NoAnswer, Polled
from runware_jobs.core.answers import progress_of
from runware_jobs.core.decisions import after_answer
from runware_jobs.core.settling import next_doubt_s
from runware_jobs.core.states import FINAL, AttemptState
from runware_jobs.store.progress import write_progress

from .questions import ask
from .record import committed, ended, record
from .settle import give_up, settle
from .words import item_error, poll_answer, refuses_question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.answers import Answer
    from runware_jobs.core.moves import LiveAttempt, Move

    from .context import Context
    from .questions import Asked
    from .watch import Watch


async def poll(context: Context, watches: Sequence[Watch]) -> list[Watch]:
    """Ask about these attempts; give those to follow further, each with its next due time.

    They go out in the one request that the caller has a turn for; where that is spoilt by one of them, in more.
    """
    if not watches:
        return []
    by_task = {str(watch.task_uuid): watch for watch in watches}
    asked = await ask(context, list(by_task))
    news: dict[UUID, Answer] = {}
    progress: dict[UUID, int] = {}
    unseen_s = {watch.task_uuid: watch.look() for watch in watches}
    unknown: list[Watch] = []
    known: list[Watch] = []
    for task, outcome in asked.outcomes.items():
        watch = by_task[task]
        match outcome:
            case Polled():
                is_back = watch.doubtful_since is not None
                watch.missing_since = watch.refused_since = None
                watch.is_alone = False
                answer = poll_answer(outcome)
                if answer is not None and (
                    watch.is_news(answer.items, len(answer.errors)) or watch.is_unclear or is_back
                ):
                    news[watch.task_uuid] = answer
                elif answer is not None and watch.shows_progress(told := progress_of(answer.items)):
                    progress[watch.task_uuid] = told or 0
                known.append(watch)
                watch.put_off(context, together=len(watches))
            case Missing():
                watch.missing_since, watch.refused_since = watch.doubtful_since or time.monotonic(), None
                watch.is_alone = False
                watch.not_silent_at = time.monotonic()
                watch.put_off(context, together=len(watches))
                unknown.append(watch)
            case NoAnswer():
                if _is_in_doubt(watch, outcome, asked):
                    unknown.append(watch)
                pause_s = max(outcome.retry_after_s or 0.0, _pause_s(context, watch))
                watch.put_off(context, together=len(watches), at_least_s=pause_s)
    await _write_progress(context, progress)
    gone = await _record(context, news, by_task, unseen_s) | await settle(context, unknown)
    gone |= await give_up(context, [watch for watch in known if watch.task_uuid not in gone])
    return [watch for watch in watches if watch.task_uuid not in gone]


def _is_in_doubt(watch: Watch, outcome: NoAnswer, asked: Asked) -> bool:
    """Note that a question had no answer; tell whether that is about the task rather than about any question."""
    task = str(watch.task_uuid)
    watch.is_alone = watch.is_alone or task in asked.alone
    if refuses_question(outcome) or task in asked.silent:
        watch.missing_since, watch.refused_since = None, watch.doubtful_since or time.monotonic()
        return True
    if asked.is_up is False:
        # Nobody is answered: for how long this one was silent among others counts anew.
        watch.not_silent_at = time.monotonic()
    return False


def _pause_s(context: Context, watch: Watch) -> float:
    """Say how long a task waits that takes a whole request for itself and is not answered: ever longer."""
    if not watch.is_alone or watch.refused_since is None:
        return 0.0
    silent_s = time.monotonic() - watch.refused_since
    return next_doubt_s(silent_s, minimum_s=context.tempo.poll_min_interval_s)


async def _write_progress(context: Context, told: Mapping[UUID, int]) -> None:
    """Write what answers tell that say no more than how far tasks have come: without a move, and its locks."""
    if not told:
        return

    async def once(connection: AsyncConnection) -> dict[UUID, int]:
        return await write_progress(connection, context.owner, told)

    written = await committed(context.engine, once, at_once=True)
    for job_id, progress in written.items():
        context.progress.add(job_id, progress)


async def _record(
    context: Context,
    news: Mapping[UUID, Answer],
    by_task: Mapping[str, Watch],
    unseen_s: Mapping[UUID, float],
) -> set[UUID]:
    if not news:
        return set()

    def decide(live: LiveAttempt) -> Move:
        move = after_answer(
            live,
            news[live.task_uuid],
            classify=item_error,
            random=context.random(),
            cost_per=context.cost_per,
        )
        return replace(move, unseen_s=unseen_s[live.task_uuid])

    moves = await record(context, news, decide)
    for task, move in moves.items():
        if move.attempt_to is AttemptState.ACCEPTED:
            by_task[str(task)].state = AttemptState.ACCEPTED
        if not move.live.carries_job:
            continue
        if move.job_to in FINAL:
            context.progress.stop(move.live.job_id, move.live.job_run)
        elif move.progress not in {None, move.live.progress}:
            context.progress.add(move.live.job_id, move.progress or 0)
    return ended(moves, list(news))
