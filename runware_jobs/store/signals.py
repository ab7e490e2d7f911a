"""The outbox's rows for signals: claimed by processes that have receivers, held, given back, forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.events import EventType

from .jobs import StoredEvent
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSignal(StoredEvent):
    """One event to tell; `id` is its row's in the outbox."""

    id: int


async def claim_signals(
    connection: AsyncConnection, signals: Collection[str], *, limit: int, hold_s: float
) -> list[DueSignal]:
    """Take due rows that are for one of these signals, oldest first; whoever dies loses them after `hold_s`.

    Of one job's rows for these signals only the first is given: the next is due when
    the one before it is gone, so that receivers hear a job's events by `seq`.
    """
    rows = await connection.execute(
        text(_CLAIM), {"signals": sorted(signals), "limit": limit, "hold_s": hold_s}
    )
    return sorted((DueSignal(**row) for row in rows.mappings()), key=lambda due: due.id)


async def hold(connection: AsyncConnection, ids: Iterable[int], *, for_s: float) -> None:
    """Keep rows that are being told from others for `for_s` more; 0 gives them back."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :for_s)"
            " WHERE id = ANY (CAST(:ids AS bigint[]))"
        ),
        {"ids": list(ids), "for_s": for_s},
    )


async def forget_signals(connection: AsyncConnection, *, older_than_s: float, limit: int) -> int:
    """Remove at most `limit` rows older than that for signals that no live process has receivers for."""
    removed = await connection.execute(text(_FORGET), {"older_than_s": older_than_s, "limit": limit})
    return removed.rowcount


_SIGNAL_OF: Final = (
    f"CASE WHEN {{event}}.type = '{EventType.JOB_RESULT}' THEN 'on_result' ELSE 'on_state' END"
)

_CLAIM: Final = f"""
WITH due AS (
    SELECT mine.id FROM {SCHEMA}.outbox AS mine
    JOIN {SCHEMA}.event ON event.id = mine.event_id AND event.created_at = mine.event_created_at
    WHERE mine.sink = 'signal' AND NOT mine.is_dead AND mine.due_at <= now()
      AND {_SIGNAL_OF.format(event="event")} = ANY (CAST(:signals AS text[]))
      AND NOT EXISTS (
        SELECT FROM {SCHEMA}.outbox AS earlier
        JOIN {SCHEMA}.event AS first ON first.id = earlier.event_id AND first.created_at = earlier.event_created_at
        WHERE earlier.job_id = mine.job_id AND earlier.sink = 'signal' AND NOT earlier.is_dead
          AND earlier.id < mine.id AND {_SIGNAL_OF.format(event="first")} = ANY (CAST(:signals AS text[])))
    ORDER BY mine.due_at, mine.id LIMIT :limit FOR UPDATE OF mine SKIP LOCKED
),
held AS (
    UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :hold_s)
    FROM due WHERE outbox.id = due.id RETURNING outbox.id, outbox.event_id, outbox.event_created_at
)
SELECT held.id, held.event_id, held.event_created_at, event.type, event.job_id, event.batch_id,
    event.run, event.seq, event.data, result.item
FROM held JOIN {SCHEMA}.event ON event.id = held.event_id AND event.created_at = held.event_created_at
LEFT JOIN {SCHEMA}.result ON event.type = '{EventType.JOB_RESULT}'
    AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid) AND result.key = event.data ->> 'key'
"""

_FORGET: Final = f"""
DELETE FROM {SCHEMA}.outbox WHERE id IN (
    SELECT mine.id FROM {SCHEMA}.outbox AS mine
    LEFT JOIN {SCHEMA}.event ON event.id = mine.event_id AND event.created_at = mine.event_created_at
    WHERE mine.sink = 'signal' AND mine.event_created_at < now() - make_interval(secs => :older_than_s)
      AND NOT EXISTS (
        SELECT FROM {SCHEMA}.process
        WHERE stopped_at IS NULL AND {_SIGNAL_OF.format(event="event")} = ANY (signals))
    ORDER BY mine.id LIMIT :limit FOR UPDATE OF mine SKIP LOCKED)
"""
