"""Archive: copy outputs before their URLs expire, and note where the copies are.

A copy that fails is tried again on the schedule of webhooks; the result itself is
there in any case. The same bytes under the same key are written once.
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from runware_jobs.core.delivery import next_delivery
from runware_jobs.errors import RunwareJobsError
from runware_jobs.store import outbox

from .record import committed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.store.outbox import Due

    from .context import Context

_log = structlog.get_logger()
_BATCH: Final = 16
# Longer than the largest output may take to copy.
_HOLD_S: Final = 900.0
_MAX_OUTPUT_BYTES: Final = 5_000_000_000


async def archive(context: Context) -> int:
    """Copy the outputs of results that are due; give how many were claimed. Nothing without an archive."""
    if context.archive is None:
        return 0
    async with context.engine.begin() as connection:
        due = await outbox.claim_due(connection, "archive", limit=_BATCH, hold_s=_HOLD_S)
    async with asyncio.TaskGroup() as group:
        for row in due:
            group.create_task(_one(context, row))
    return len(due)


async def _one(context: Context, due: Due) -> None:
    assert context.archive is not None  # noqa: S101  for the type checker: archive() looked
    url = output_url(due.item or {})
    if url is None:
        await committed(context.engine, lambda connection: outbox.done(connection, [due.id]))
        return
    try:
        stored = await context.archive.fetch_and_store(url, _key(due, url), max_bytes=_MAX_OUTPUT_BYTES)
    except RunwareJobsError as error:
        delay_s = (
            next_delivery(due.attempts + 1, retry_after_s=None, random=context.random())
            if error.retryable
            else None
        )
        _log.warning("archive_failed", job_id=str(due.job_id), error=error.message, next_in_s=delay_s)
        await committed(
            context.engine, lambda connection: outbox.put_off(connection, due.id, delay_s=delay_s)
        )
        return
    await committed(context.engine, lambda connection: outbox.record_archived(connection, due, stored.url))


def output_url(item: Mapping[str, Any]) -> str | None:
    """Find where an item's output is; None when it has none to copy (text, a failed item)."""
    for name in sorted(item):
        if name.endswith("URL") and isinstance(item[name], str):
            return str(item[name])
    files = (item.get("outputs") or {}).get("files") if isinstance(item.get("outputs"), dict) else None
    for file in files or ():
        url = file.get("url") or file.get("fileURL") if isinstance(file, dict) else None
        if isinstance(url, str):
            return url
    return None


def _key(due: Due, url: str) -> str:
    name = PurePosixPath(urlsplit(url).path).name or "output"
    return f"{due.job_id}/{due.run}-{name[-120:]}"
