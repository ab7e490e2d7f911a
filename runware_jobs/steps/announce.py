"""Announce: what follows a job in Celery, published when the job has ended.

A row of the outbox stands for one ended job. Its messages are published one after
another; then the row goes, in one transaction with the parts of chords and the failed
tasks that belong to it. A crash in between repeats the messages, under the same ids;
nothing else does: what has left before an error is noted on the row.

Chords whose parts are all in are ended here too, when whoever brought the last part
has died before it sent the body.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from runware_jobs.core.canvas import chord_parts, failed_results, next_try, what_follows
from runware_jobs.store import celery_chords, celery_links, outbox
from runware_jobs.store.celery_results import store_results
from runware_jobs.store.database import is_unreachable
from runware_jobs.store.plans import run_async

from .record import committed
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.core.canvas import Message
    from runware_jobs.store.celery_chords import Chord
    from runware_jobs.store.celery_links import DueLink

    from .context import Context

_log = structlog.get_logger()
_BATCH: Final = 50
_CHORDS: Final = 2
_HOLD_S: Final = 60.0
# A broker that is slow: what is left of a batch goes back long before somebody else may take it.
_BATCH_WITHIN_S: Final = 30.0
# A broker that takes a connection and then says nothing must not hold up the others.
_PUBLISH_WITHIN_S: Final = 20.0
_AGAIN_S: Final = 5.0


async def announce(context: Context) -> int:
    """Publish what follows ended jobs, and the bodies of complete chords; give how many rows were claimed."""
    return await _links(context) + await _chords(context)


async def _links(context: Context) -> int:
    async with context.engine.begin() as connection:
        due = await celery_links.claim_links(connection, limit=_BATCH, hold_s=_HOLD_S)
    done: list[DueLink] = []
    ends_at = time.monotonic() + _BATCH_WITHIN_S
    try:
        for place, link in enumerate(due):
            if time.monotonic() > ends_at:
                await _hand_back(context, due[place:], delay_s=0)
                break
            sent = set(link.sent)
            error = await _publish(context, link, sent)
            if error is None:
                done.append(link)
                continue
            await _put_off(context, link, sent, error)
            if _passes(error):
                # Each of the others would wait for the same broker.
                await _hand_back(context, due[place + 1 :], delay_s=_AGAIN_S)
                break
    finally:
        # Also when the process drains: what has left must not leave again.
        if done:
            await committed(context.engine, lambda connection: _finish(connection, done))
    return len(done)


async def _hand_back(context: Context, links: Sequence[DueLink], *, delay_s: float) -> None:
    async with context.engine.begin() as connection:
        await celery_links.hand_back_links(connection, [link.id for link in links], delay_s=delay_s)


async def _put_off(context: Context, link: DueLink, sent: set[str], error: Exception) -> None:
    delay_s = next_try(link.tries, passes=_passes(error), age_s=link.age_s)
    (_log.error if delay_s is None else _log.warning)(
        "link_not_published",
        job_id=str(link.ended.job_id),
        error=type(error).__name__,
        detail=str(error)[:200],
        again_in_s=delay_s,
    )
    async with context.engine.begin() as connection:
        await celery_links.put_off_link(connection, link.id, sent=sent, delay_s=delay_s)


async def _publish(context: Context, link: DueLink, sent: set[str]) -> Exception | None:
    """Publish what of a link has not left yet, and add it to `sent`; give what kept the rest from leaving."""
    first: Exception | None = None
    for message in what_follows(link.ended):
        if message.key in sent:
            continue
        try:
            async with asyncio.timeout(_PUBLISH_WITHIN_S):
                await _publish_one(context, link, message)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one, the others leave
            first = first or error
            if _passes(error):
                break
        else:
            sent.add(message.key)
    return first


async def _publish_one(context: Context, link: DueLink, message: Message) -> None:
    if message.kind == "link":
        await in_thread(context.publish_link, message.signature, {"id": str(link.ended.job_id)})
    else:
        await in_thread(context.celery.go_on, message, link.ended)


async def _finish(connection: AsyncConnection, links: Sequence[DueLink]) -> None:
    """Take the rows from the outbox, and note what ends with them: parts of chords, tasks that will never run."""
    failed = [_stored(one) for link in links for one in failed_results(link.ended)]
    if failed:
        await run_async(connection, store_results(failed))
    parts = [part | {"result": _json(part["result"])} for link in links for part in chord_parts(link.ended)]
    if parts:
        # Due at once: `_chords` is what comes next.
        await run_async(connection, celery_chords.add_parts(parts, hold_s=0))
    await outbox.done(connection, [link.id for link in links])


def _stored(result: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": result["task_id"], "status": result["status"], "meta": _json(result)}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _chords(context: Context) -> int:
    chords: list[Chord] = await committed(
        context.engine,
        lambda connection: run_async(connection, celery_chords.claim_chords(limit=_CHORDS, hold_s=_HOLD_S)),
    )
    ended = 0
    for chord in chords:
        try:
            async with asyncio.timeout(_PUBLISH_WITHIN_S):
                await in_thread(context.celery.end_chord, chord)
        except Exception as error:  # noqa: BLE001  the broker or the database may be away for any reason
            _log.warning("chord_not_ended", group_id=chord.group_id, error=type(error).__name__)
            async with context.engine.begin() as connection:
                await run_async(connection, celery_chords.put_off_chord(chord.group_id, delay_s=_AGAIN_S))
            continue
        await _end(context, chord.group_id)
        ended += 1
    return ended


async def _end(context: Context, group_id: str) -> None:
    await committed(
        context.engine, lambda connection: run_async(connection, celery_chords.end_chord(group_id))
    )


def _passes(error: Exception) -> bool:
    return isinstance(error, OSError) or is_unreachable(error)  # TimeoutError is an OSError
