"""Announce: what happened, to the receivers in this process and to Celery's links.

Signals and links leave the outbox like webhooks do: claimed, sent, deleted. A crash
between the sending and the deleting repeats them; nothing else does.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from runware_jobs.core.events import FINAL_EVENTS, EventType
from runware_jobs.core.views import event_view, job_view
from runware_jobs.store import outbox
from runware_jobs.store.jobs import read_jobs

from .record import committed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from runware_jobs.store.outbox import Due

    from .context import Context

_log = structlog.get_logger()
_BATCH: Final = 100
_HOLD_S: Final = 60.0
# A receiver is the user's code: one that hangs must not keep the next event from
# the others for ever.
_RECEIVER_LIMIT_S: Final = 30.0


async def announce(context: Context) -> int:
    """Send due signals and links; give how many rows were claimed."""
    return await _signals(context) + await _links(context)


async def announce_progress(context: Context, job_id: UUID, progress: int) -> None:
    """Tell receivers of `on_progress` in this process: no row, newest wins, never repeated."""
    event = {"type": EventType.JOB_PROGRESS, "job_id": str(job_id), "data": {"progress": progress}}
    await _send(context, "on_progress", {"id": str(job_id), "progress": progress}, event)


async def _signals(context: Context) -> int:
    if not context.signals:
        # Left to the processes that have receivers: sent here, nobody would hear them.
        return 0
    due, jobs = await _claim(context, "signal")
    sent: list[int] = []
    for row in due:
        name = "on_result" if row.type == EventType.JOB_RESULT else "on_state"
        await _send(context, name, jobs.get(row.job_id), event_view(row))
        sent.append(row.id)
    await _done(context, sent)
    return len(due)


async def _links(context: Context) -> int:
    due, jobs = await _claim(context, "link")
    sent: list[int] = []
    for row in due:
        job = jobs.get(row.job_id)
        if job is None or row.type not in FINAL_EVENTS:
            sent.append(row.id)
            continue
        name = "link" if row.type == EventType.JOB_SUCCEEDED else "link_error"
        if job["_links"][name] is not None:
            try:
                await _in_thread(context.publish_link, job["_links"][name], job)
            except Exception as error:  # noqa: BLE001  the broker may be away for any reason: the row stays
                _log.warning("link_not_published", job_id=str(row.job_id), error=type(error).__name__)
                continue
        sent.append(row.id)
    await _done(context, sent)
    return len(due)


async def _claim(context: Context, sink: str) -> tuple[list[Due], Mapping[UUID | None, dict[str, Any]]]:
    async with context.engine.begin() as connection:
        due = await outbox.claim_due(connection, sink, limit=_BATCH, hold_s=_HOLD_S)
        ids = {row.job_id for row in due if row.job_id is not None}
        rows = await read_jobs(connection, ids) if ids else {}
    return due, {
        job_id: job_view(row) | {"_links": {"link": row["link"], "link_error": row["link_error"]}}
        for job_id, row in rows.items()
    }


async def _done(context: Context, ids: list[int]) -> None:
    if ids:
        await committed(context.engine, lambda connection: outbox.done(connection, ids))


async def _send(context: Context, name: str, job: Mapping[str, Any] | None, event: Mapping[str, Any]) -> None:
    public = None if job is None else {field: value for field, value in job.items() if field != "_links"}
    try:
        await asyncio.wait_for(_in_thread(context.send_signal, name, public, dict(event)), _RECEIVER_LIMIT_S)
    except TimeoutError:
        _log.error("receiver_hangs", signal=name, limit_s=_RECEIVER_LIMIT_S)


async def _in_thread(call: Callable[..., None], *arguments: Any) -> None:
    """Run what may block in a thread that nobody waits for when the process ends."""
    # Not asyncio.to_thread: Python joins the threads of an executor before it exits,
    # and one receiver that hangs would keep a drained worker alive.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            call(*arguments)
        except Exception as raised:  # noqa: BLE001  raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(answer, error)

    threading.Thread(target=run, name="runware-jobs-receiver", daemon=True).start()
    await done
