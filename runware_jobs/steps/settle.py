"""Settle: what became of attempts that the platform, when asked, did not know.

For an unclear attempt, in this order, each step recorded on it: a grace, because a
fresh task may not be visible yet; `getResponse` (the poll that brought it here);
the archive; and only when both answered and both said unknown, one resend with the
same UUID. An error while asking is no answer. What stays unknown for too long ends
as lost, `billing: unclear`, for a person to decide (DESIGN 4, decision 0011).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from runware_jobs.core.decisions import SendOutcome, Sent, after_loss, after_send
from runware_jobs.core.moves import Move
from runware_jobs.core.settling import after_doubt, next_doubt_s, stuck_after_s
from runware_jobs.core.states import AttemptState
from runware_jobs.store import pauses
from runware_jobs.store.jobs import read_sent

from .ask_archive import ask_archive_about
from .record import ended, record
from .tasks import Made, make_tasks
from .window import SendWindow
from .words import item_error, send_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runware_jobs.core.answers import Answer
    from runware_jobs.core.moves import LiveAttempt

    from .context import Context
    from .watch import Watch

_log = structlog.get_logger()
# Archive questions of one round: they have no grouped form, and the polls of those that
# came along wait for the round.
_AT_ONCE: Final = 32
# A task that was just accepted may not be shown yet, or only once it has begun.
_YOUNG_S: Final = 30.0
_STUCK: Final = "The platform has said for too long that it works on this task; it may have been billed."


async def settle(context: Context, watches: Sequence[Watch]) -> set[UUID]:
    """Go on with attempts whose last poll said unknown; give those that are done with."""
    now = time.monotonic()
    due = sorted((watch for watch in watches if _is_due(context, watch, now)), key=lambda one: one.doubt_at)
    doubtful = {watch.task_uuid: watch for watch in due[:_AT_ONCE]}
    if not doubtful:
        return set()
    for watch in doubtful.values():
        unknown_s = now - (now if watch.doubtful_since is None else watch.doubtful_since)
        watch.doubt_at = now + next_doubt_s(unknown_s, minimum_s=context.tempo.poll_min_interval_s)
    archived = await ask_archive_about(context, list(doubtful))
    # Waited for before the window opens, or that would be over when the turn comes.
    turn = await context.pace.turn() if _may_send(doubtful, archived) else None
    window = SendWindow(context.tempo.send_window_s)
    async with context.engine.connect() as connection:
        # Looked at after the window was opened: whoever pauses later has this promise,
        # that nothing leaves after the window's length from then.
        is_open = await pauses.is_open(connection, context.owner.account_id)
    marked: set[UUID] = set()

    def decide(live: LiveAttempt) -> Move:
        task = live.task_uuid
        if task in marked and live.was_resent:
            return Move(live=live)  # done twice, because the answer to the commit was lost
        move = after_doubt(
            live,
            archived[task],
            context.tempo.patience,
            account_is_open=is_open,
            late_s=_late_s(context, doubtful[task]),
            classify=item_error,
            random=context.random(),
            was_refused=(refused_since := doubtful[task].refused_since) is not None,
            refused_here_s=0.0
            if refused_since is None
            else now - max(refused_since, doubtful[task].not_silent_at),
            cost_per=context.cost_per,
        )
        if move.resent:
            marked.add(task)
        return move

    moves = await record(context, doubtful, decide)
    _remember(doubtful, moves)
    gone = ended(moves, list(doubtful))
    to_send = {task: doubtful[task] for task in marked if task in moves and _is_marked(moves[task])}
    if to_send:
        return gone | await _resend(context, to_send, window)
    if turn is not None:
        context.pace.give_back(turn)
    return gone


async def give_up(context: Context, watches: Sequence[Watch]) -> set[UUID]:
    """End attempts of which the platform has said for too long that they go on; give those.

    `watches` are those whose last poll was answered so.
    """
    now = time.monotonic()
    old = {
        watch.task_uuid: watch
        for watch in watches
        if now >= watch.doubt_at and now - watch.sent_at >= _stuck_after_s(context, watch)
    }
    if not old:
        return set()
    for watch in old.values():
        watch.doubt_at = now + next_doubt_s(now - watch.sent_at, minimum_s=context.tempo.poll_min_interval_s)

    def decide(live: LiveAttempt) -> Move:
        waited_s = live.age_s if live.accepted_s is None else live.accepted_s
        if waited_s < _stuck_after_s(context, old[live.task_uuid]):
            return Move(live=live)
        return after_loss(live, _STUCK, code="timeout")

    return ended(await record(context, old, decide), list(old))


def _may_send(watches: Mapping[UUID, Watch], archived: Mapping[UUID, Answer | None]) -> bool:
    return any(
        watch.is_unclear
        and watch.refused_since is None
        and answer is not None
        and not (answer.items or answer.is_known)
        for watch, answer in zip(watches.values(), archived.values(), strict=True)
    )


def _is_due(context: Context, watch: Watch, now: float) -> bool:
    if now < watch.doubt_at:
        return False
    if watch.is_unclear:
        return True
    # Unknown for a moment is nothing; for a while, its results may be in the archive only.
    young_s = min(_YOUNG_S, context.tempo.patience.lost_after_s)
    since = watch.doubtful_since
    return (
        since is not None
        and now - since >= min(context.tempo.reconcile_grace_s, young_s)
        and now - watch.sent_at >= young_s
    )


def _late_s(context: Context, watch: Watch) -> float | None:
    expected = context.expected.get(watch.learned_as)
    return None if expected is None else expected.late_s


def _stuck_after_s(context: Context, watch: Watch) -> float:
    return stuck_after_s(watch.lane, context.tempo.patience, _late_s(context, watch))


def _is_marked(move: Move) -> bool:
    return move.resent is True or move.live.was_resent


def _remember(watches: Mapping[UUID, Watch], moves: Mapping[UUID, Move]) -> None:
    for task, move in moves.items():
        if move.attempt_to is AttemptState.ACCEPTED:
            watches[task].state = AttemptState.ACCEPTED


async def _resend(context: Context, watches: Mapping[UUID, Watch], window: SendWindow) -> set[UUID]:
    """Send once more under the same UUIDs; the mark that says so is committed already.

    What fails before anything could leave takes the mark back; only a process that dies
    in between leaves it there, and then nobody knows whether it was sent.
    """
    try:
        async with context.engine.connect() as connection:
            sent = await read_sent(connection, watches)
        made = await make_tasks(context, sent, is_resend=True)
    except Exception as error:  # noqa: BLE001  whatever it was, nothing has left
        _log.warning("resend_not_made", error=type(error).__name__, detail=str(error)[:200])
        made = Made()
    outcomes = await context.client.submit_many(
        made.tasks, send_before=window.send_before(), before_more=context.pace.turn
    )
    context.doubts.hear(outcomes.values())
    answers: dict[UUID, SendOutcome] = dict.fromkeys(watches, SendOutcome(Sent.NOT_SENT)) | made.withheld
    answers |= {UUID(task): send_outcome(outcome) for task, outcome in outcomes.items()}

    def decide(live: LiveAttempt) -> Move:
        return after_send(
            live,
            answers[live.task_uuid],
            classify=item_error,
            random=context.random(),
            cost_per=context.cost_per,
        )

    moves = await record(context, answers, decide)
    _remember(watches, moves)
    return ended(moves, list(watches))
