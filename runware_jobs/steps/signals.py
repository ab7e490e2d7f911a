"""Signals: what happened, to the receivers in this process.

Signals leave the outbox like webhooks do: claimed, told, deleted. A crash between the
telling and the deleting repeats them, and so does an end of the process that a receiver
was too slow for; nothing else does. A receiver that raises or hangs was told.

Of one job nothing is told before what came earlier is done with; of different jobs
several are told side by side, so that a receiver which hangs holds up one of them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from runware_jobs.core.events import FINAL_EVENTS, EventType
from runware_jobs.core.views import event_view, job_view
from runware_jobs.store import outbox
from runware_jobs.store import signals as store
from runware_jobs.store.jobs import read_jobs

from .record import committed
from .threads import Hung

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.store.signals import DueSignal

    from .context import Context

_log = structlog.get_logger()
_AT_ONCE: Final = 100
_HOLD_S: Final = 60.0
# Whoever is told within that is marked with all others in one statement; the slower
# ones are left to themselves while the next are claimed.
_QUICK_S: Final = 0.25
_COMPLAINS_EVERY_S: Final = 60.0
# Nobody who has receivers has been there for so long.
_FORGOTTEN_AFTER_S: Final = 7 * 86_400.0
_FORGOTTEN_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class InHand:
    """The signals that this process has claimed: being told, or told and still to be marked."""

    telling: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    told: list[int] = field(default_factory=list)
    held_at: float = 0.0
    complained_at: float | None = None


async def send_signals(context: Context) -> int:
    """Tell the receivers of this process what is due; give how many events were taken for it.

    Returns when all but the slow receivers have been told. Claims nothing for signals
    that have no receivers here: sent here, nobody would hear them.
    """
    hand = context.signals_in_hand
    wanted = {
        name for name in ("on_result", "on_state") if name in context.signals and context.receivers(name)
    }
    await _mark(context)
    room = _AT_ONCE - len(hand.telling)
    if not wanted or room <= 0 or _is_stuck(context):
        await _keep_hold(context)
        return 0
    async with context.engine.begin() as connection:
        due = await store.claim_signals(connection, wanted, limit=room, hold_s=_HOLD_S)
        ids = {row.job_id for row in due if row.job_id is not None}
        rows = await read_jobs(connection, ids) if ids else {}
    # One that is being told already was claimed again because the database was away for
    # longer than the hold.
    fresh = [row for row in due if row.id not in hand.telling]
    for row in fresh:
        job = job_view(rows[row.job_id]) if row.job_id in rows else None
        telling = asyncio.create_task(_tell(context, row, job), name="signal")
        hand.telling[row.id] = telling
        telling.add_done_callback(partial(_told, context, row.id))
    if fresh:
        await asyncio.wait([hand.telling[row.id] for row in fresh], timeout=_QUICK_S)
    await _mark(context)
    await _keep_hold(context)
    return len(fresh)


async def finish_signals(context: Context, *, within_s: float) -> None:
    """Wait for the receivers that are being told, mark what they were told, give the rest back to others."""
    hand = context.signals_in_hand
    for row_id, telling in hand.telling.items():
        if row_id not in hand.begun:
            telling.cancel()
    idle = [row_id for row_id in hand.telling if row_id not in hand.begun]
    if hand.telling:
        await asyncio.wait(hand.telling.values(), timeout=within_s)
    await _mark(context)
    for telling in hand.telling.values():
        telling.cancel()
    if idle:
        await committed(context.engine, lambda connection: store.hold(connection, idle, for_s=0))


async def forget_signals(context: Context) -> int:
    """Remove what was for receivers that no process has any more; give how many events that were."""
    async with context.engine.begin() as connection:
        forgotten = await store.forget_signals(
            connection, older_than_s=_FORGOTTEN_AFTER_S, limit=_FORGOTTEN_AT_ONCE
        )
    if forgotten:
        _log.warning("signals_forgotten", events=forgotten, older_than_days=_FORGOTTEN_AFTER_S / 86_400)
    return forgotten


async def tell_receivers(
    context: Context,
    name: str,
    job: Mapping[str, Any] | None,
    event: Mapping[str, Any],
    *,
    begins: Callable[[], None] | None = None,
) -> None:
    """Call the receivers of a signal with this, one after another; whatever they do, this returns.

    `begins` is called when each of them gets its thread.
    """
    calls = context.receivers(name)
    # What one of them writes into its event is not for the others to read.
    sealed = orjson.dumps([job, event]) if len(calls) > 1 else None
    for receiver, call in calls:
        given_job, given_event = (job, event) if sealed is None else orjson.loads(sealed)
        outcome = await context.threads.call(partial(call, given_job, given_event), begins=begins)
        if outcome is None:
            continue
        said: dict[str, Any] = {"signal": name, "receiver": receiver, "job_id": event["job_id"]}
        if isinstance(outcome, Hung):
            _log.error("receiver_hangs", **said, limit_s=outcome.limit_s)
        else:
            # Neither its message nor its values: they may quote a job.
            _log.error("receiver_failed", **said, error=type(outcome).__name__, at=_place_of(outcome))


async def _tell(context: Context, row: DueSignal, job: Mapping[str, Any] | None) -> None:
    hand = context.signals_in_hand
    if row.type in FINAL_EVENTS and row.job_id is not None:
        await context.progress.end(row.job_id, row.run or 0)
    name = "on_result" if row.type == EventType.JOB_RESULT else "on_state"
    await tell_receivers(context, name, job, event_view(row), begins=lambda: hand.begun.add(row.id))


def _told(context: Context, row_id: int, telling: asyncio.Task[None]) -> None:
    hand = context.signals_in_hand
    del hand.telling[row_id]
    hand.begun.discard(row_id)
    if telling.cancelled():
        return
    error = telling.exception()
    if error is None:
        hand.told.append(row_id)
        context.outbox_due.signals.set()
    else:
        # Not a receiver's fault: the row comes again when its hold is over.
        _log.error("signal_not_told", error=type(error).__name__, detail=str(error)[:200])


async def _mark(context: Context) -> None:
    hand = context.signals_in_hand
    told = list(hand.told)
    if told:
        await committed(context.engine, lambda connection: outbox.done(connection, told))
        del hand.told[: len(told)]


async def _keep_hold(context: Context) -> None:
    """Keep what slow receivers are being told from other processes, and from this one."""
    hand = context.signals_in_hand
    now = time.monotonic()
    if not hand.telling:
        hand.held_at = now
    elif now - hand.held_at > _HOLD_S / 4:
        ids = list(hand.telling)
        await committed(context.engine, lambda connection: store.hold(connection, ids, for_s=_HOLD_S))
        hand.held_at = now


def _is_stuck(context: Context) -> bool:
    """Tell, and say from time to time, that receivers hang on every thread they may have."""
    hand = context.signals_in_hand
    if not context.threads.is_stuck:
        hand.complained_at = None
        return False
    now = time.monotonic()
    if hand.complained_at is None or now - hand.complained_at > _COMPLAINS_EVERY_S:
        hand.complained_at = now
        _log.error("receivers_hang_everywhere", threads=context.threads.most, remedy="restart this worker")
    return True


def _place_of(error: BaseException) -> str | None:
    """Name the line that raised."""
    place = error.__traceback__
    if place is None:
        return None
    while place.tb_next is not None:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
