"""Links: ended jobs that something follows in Celery, claimed from the outbox with all that is needed to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.canvas import Ended
from runware_jobs.core.events import EventType
from runware_jobs.core.views import moment

from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLink:
    """A job that has ended, and which of its messages have left already; `tries` that failed, `age_s` since the end."""

    id: int
    ended: Ended
    sent: frozenset[str]
    tries: int
    age_s: float


async def claim_links(connection: AsyncConnection, *, limit: int, hold_s: float) -> list[DueLink]:
    """Take due links, oldest first; whoever dies holding one loses it after `hold_s`."""
    rows = await connection.execute(text(_CLAIM), {"limit": limit, "hold_s": hold_s})
    return sorted((_due(row) for row in rows.mappings()), key=lambda due: due.id)


async def put_off_link(
    connection: AsyncConnection, link_id: int, *, sent: Collection[str], delay_s: float | None
) -> None:
    """Count a failed try and note what has left all the same; due again after `delay_s`, or dead and kept (None)."""
    await connection.execute(
        text(_PUT_OFF), {"id": link_id, "sent": sorted(sent), "delay_s": delay_s, "is_dead": delay_s is None}
    )


async def hand_back_links(connection: AsyncConnection, link_ids: Iterable[int], *, delay_s: float) -> None:
    """Make claimed links due after `delay_s`, as if they had not been claimed."""
    await connection.execute(text(_HAND_BACK), {"ids": list(link_ids), "delay_s": delay_s})


def _due(row: Any) -> DueLink:
    return DueLink(
        id=row["id"],
        ended=Ended(
            job_id=row["job_id"],
            event=EventType(row["type"]),
            results=row["results"],
            error=row["error"],
            link=row["link"],
            link_error=row["link_error"],
            canvas=row["canvas"],
            ended_at=moment(row["ended_at"]) or "",
            took_s=float(row["took_s"]),
        ),
        sent=frozenset(row["sent"] or ()),
        tries=row["attempts"],
        age_s=float(row["age_s"]),
    )


# The last error of the first run: a retry by hand has taken it off the job.
_CLAIM: Final = f"""
WITH due AS (
    SELECT id FROM {SCHEMA}.outbox WHERE sink = 'link' AND NOT is_dead AND due_at <= now()
    ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
),
held AS (
    UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :hold_s)
    FROM due WHERE outbox.id = due.id
    RETURNING outbox.id, event_id, event_created_at, outbox.job_id, attempts, sent
)
SELECT held.id, held.job_id, held.attempts, held.sent, event.type, event.created_at AS ended_at,
    EXTRACT(EPOCH FROM now() - event.created_at) AS age_s,
    EXTRACT(EPOCH FROM event.created_at - job.created_at) AS took_s,
    job.link, job.link_error, job.canvas,
    COALESCE(job.error, (SELECT attempt.error FROM {SCHEMA}.attempt
        WHERE attempt.job_id = job.id AND attempt.run = 1 ORDER BY number DESC LIMIT 1)) AS error,
    CASE event.type WHEN 'job.succeeded' THEN (
        SELECT COALESCE(jsonb_agg(item || CASE WHEN archived_url IS NULL THEN '{{}}'
            ELSE jsonb_build_object('archived_url', archived_url) END ORDER BY run, position, key), '[]')
        FROM {SCHEMA}.result WHERE result.job_id = job.id AND result.state = 'success') ELSE '[]' END AS results
FROM held JOIN {SCHEMA}.event ON event.id = held.event_id AND event.created_at = held.event_created_at
JOIN {SCHEMA}.job ON job.id = held.job_id
"""

_PUT_OFF: Final = f"""
UPDATE {SCHEMA}.outbox SET attempts = LEAST(attempts + 1, 1000), sent = CAST(:sent AS text[]), is_dead = :is_dead,
    due_at = now() + make_interval(secs => COALESCE(CAST(:delay_s AS float8), 0))
WHERE id = :id
"""

_HAND_BACK: Final = f"""
UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :delay_s)
WHERE id = ANY (CAST(:ids AS bigint[]))
"""
