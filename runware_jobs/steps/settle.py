"""Settle: what became of attempts that the platform, when asked, did not know.

For an unclear attempt, in this order, each step recorded on it: a grace, because a
fresh task may not be visible yet; `getResponse` (the poll that brought it here);
the archive; and only when both answered and both said unknown, one resend with the
same UUID. An error while asking is no answer. What stays unknown for too long ends
as lost, `billing: unclear`, for a person to decide (DESIGN 4).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from runware_jobs.client import RunwareError
from runware_jobs.core.answers import Answer
from runware_jobs.core.decisions import after_answer, after_loss, after_send, note_settlement
from runware_jobs.core.moves import Move
from runware_jobs.core.states import AttemptState
from runware_jobs.store.jobs import read_sent

from .record import ended, record
from .tasks import make_task
from .words import item_error, send_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from runware_jobs.core.decisions import SendOutcome
    from runware_jobs.core.moves import LiveAttempt

    from .context import Context
    from .watch import Watch

# How many archive questions are on the wire at once: there is no grouped form of them.
_ARCHIVE_CONCURRENCY = 8


async def settle(context: Context, watches: Sequence[Watch]) -> set[UUID]:
    """Go on with attempts whose last poll said unknown; give those that are done with."""
    doubtful = [watch for watch in watches if watch.is_unclear or _is_overdue(context, watch)]
    if not doubtful:
        return set()
    gate = asyncio.Semaphore(_ARCHIVE_CONCURRENCY)
    archived = await asyncio.gather(*(_ask_archive(context, watch, gate) for watch in doubtful))
    answers = {
        watch.task_uuid: answer
        for watch, answer in zip(doubtful, archived, strict=True)
        if answer is not None
    }
    by_task = {watch.task_uuid: watch for watch in doubtful}
    to_resend: list[UUID] = []

    def decide(live: LiveAttempt) -> Move:
        answer = answers[live.task_uuid]
        if _is_proof(live, answer):
            move = after_answer(live, answer, classify=item_error, random=context.random())
            if not move.changes_nothing:
                return move
        elif live.state is AttemptState.UNCLEAR and _may_resend(context, live):
            to_resend.append(live.task_uuid)
            return note_settlement(live, "archive", "unknown", resent=True)
        if _is_overdue(context, by_task[live.task_uuid]):
            return after_loss(live, "The platform does not know this task any more; it may have been billed.")
        return Move(live=live)

    moves = await record(context, answers, decide)
    decided = list(moves)
    gone = ended(moves, list(answers))
    for task in decided:
        if moves[task].attempt_to is AttemptState.ACCEPTED:
            by_task[task].state = AttemptState.ACCEPTED
    if to_resend:
        gone |= await _resend(context, {task: by_task[task] for task in to_resend})
    return gone


def _is_proof(live: LiveAttempt, answer: Answer) -> bool:
    """Tell whether what the archive has is about the send in question."""
    if live.was_resent:
        # A rejected duplicate overwrites what was there (PROTOCOL 6.2).
        return False
    if answer.items:
        return True
    # An error alone may be the one that handed this attempt back before (429): taken
    # for the end of the later send, it would license a second task beside the first.
    return bool(answer.errors) and live.times_busy == 0


def _is_overdue(context: Context, watch: Watch) -> bool:
    since = watch.missing_since
    return since is not None and time.monotonic() - since > context.tempo.lost_after_s


def _may_resend(context: Context, live: LiveAttempt) -> bool:
    tempo = context.tempo
    return (
        tempo.resends and not live.was_resent and live.carries_job and live.age_s < tempo.reconcile_max_age_s
    )


async def _ask_archive(context: Context, watch: Watch, gate: asyncio.Semaphore) -> Answer | None:
    """Ask the archive; an empty answer means that it does not know, None that it did not answer."""
    async with gate:
        try:
            details = await context.client.get_task_details({"taskUUID": str(watch.task_uuid)})
        except RunwareError as error:
            return Answer() if error.code == "notFound" else None
    return _read_details(details)


def _read_details(details: Any) -> Answer:
    """Read the archived envelope: `{"response": {"data": [...]}}` or `{"errors": [...]}` (PROTOCOL 6.2)."""
    entry = details[0] if isinstance(details, list) and details else details
    response = entry.get("response") if isinstance(entry, dict) else None
    if not isinstance(response, dict):
        return Answer()
    items = tuple(item for item in response.get("data") or () if isinstance(item, dict))
    errors = tuple(
        item_error({"error": error}) for error in response.get("errors") or () if isinstance(error, dict)
    )
    return Answer(items, errors)


async def _resend(context: Context, watches: Mapping[UUID, Watch]) -> set[UUID]:
    """Send once more under the same UUIDs; the mark that says so is committed already."""
    send_before = time.time() + context.tempo.send_window_s
    async with context.engine.connect() as connection:
        made = [
            await make_task(connection, account_id=context.owner.account_id, **sent)
            for sent in await read_sent(connection, watches)
        ]
    tasks = [task for task in made if task is not None]
    outcomes = await context.client.submit_many(tasks, send_before=send_before)
    answers: dict[UUID, SendOutcome] = {
        watch.task_uuid: send_outcome(outcomes[str(watch.task_uuid)])
        for watch in watches.values()
        if str(watch.task_uuid) in outcomes
    }

    def decide(live: LiveAttempt) -> Move:
        return after_send(live, answers[live.task_uuid], classify=item_error, random=context.random())

    moves = await record(context, answers, decide)
    for task, move in moves.items():
        if move.attempt_to is AttemptState.ACCEPTED:
            watches[task].state = AttemptState.ACCEPTED
    return ended(moves, list(moves))
