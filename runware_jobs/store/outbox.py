"""The outbox: what has to leave because of an event, claimed, done, or put off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .endpoints import SIGNING_SECRETS
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One thing to send, with its event; `secrets` are encrypted, newest first.

    Of a webhook: `receiver` and `holder` (the claim's token), and how it stands with the
    receiver: `rest_s` above zero when it is tried after a rest of so long, `is_failing`
    when its endpoint's last noted try failed.
    """

    id: int
    event_id: UUID
    event_created_at: datetime
    type: str
    tenant: str
    job_id: UUID | None
    batch_id: UUID | None
    run: int | None
    seq: int
    data: dict[str, Any]
    item: dict[str, Any] | None
    endpoint_id: UUID | None
    url: str | None
    secrets: tuple[bytes, ...]
    attempts: int
    receiver: int | None = None
    holder: UUID | None = None
    rest_s: float = 0.0
    is_failing: bool = False


def due_of(row: Mapping[str, Any]) -> Due:
    """Read a claimed row."""
    return Due(**{**row, "secrets": tuple(bytes(secret) for secret in row["secrets"] or ())})


async def claim_due(connection: AsyncConnection, sink: str, *, limit: int, hold_s: float) -> list[Due]:
    """Take due rows of a sink, oldest first; whoever dies holding one loses it after `hold_s`.

    Of one job's rows for one target only the first is given: the next is due when
    the one before it is gone, so that `seq` never runs backwards for a receiver.
    What is for a disabled endpoint stays, in case somebody enables it again.
    """
    rows = await connection.execute(text(_CLAIM), {"sink": sink, "limit": limit, "hold_s": hold_s})
    return sorted((due_of(dict(row)) for row in rows.mappings()), key=lambda due: due.id)


async def done(connection: AsyncConnection, ids: Iterable[int]) -> None:
    """Delete rows that have left."""
    await connection.execute(
        text(f"DELETE FROM {SCHEMA}.outbox WHERE id = ANY (CAST(:ids AS bigint[]))"), {"ids": list(ids)}
    )


async def put_off(connection: AsyncConnection, outbox_id: int, *, delay_s: float | None) -> None:
    """Count a failed try; due again after `delay_s`, or dead and kept (None)."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.outbox SET attempts = attempts + 1, is_dead = CAST(:delay_s AS float8) IS NULL,"
            " due_at = now() + make_interval(secs => COALESCE(CAST(:delay_s AS float8), 0)) WHERE id = :id"
        ),
        {"id": outbox_id, "delay_s": delay_s},
    )


async def record_archived(connection: AsyncConnection, due: Due, url: str) -> None:
    """Note where the copy of a result's output is, and take the row from the outbox."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.result SET archived_url = :url"
            " WHERE task_uuid = CAST(:task_uuid AS uuid) AND key = :key"
        ),
        {"url": url, "task_uuid": due.data["task_uuid"], "key": due.data["key"]},
    )
    await done(connection, [due.id])


_CLAIM: Final = f"""
WITH due AS (
    SELECT id FROM {SCHEMA}.outbox AS mine
    WHERE sink = :sink AND NOT is_dead AND due_at <= now() AND NOT EXISTS (
        SELECT FROM {SCHEMA}.outbox AS earlier
        WHERE earlier.job_id = mine.job_id AND earlier.sink = mine.sink AND NOT earlier.is_dead
          AND earlier.endpoint_id IS NOT DISTINCT FROM mine.endpoint_id
          AND earlier.url IS NOT DISTINCT FROM mine.url AND earlier.id < mine.id)
      AND NOT EXISTS (
        SELECT FROM {SCHEMA}.endpoint WHERE endpoint.id = mine.endpoint_id AND NOT endpoint.is_enabled)
    ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
),
held AS (
    UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :hold_s)
    FROM due WHERE outbox.id = due.id RETURNING outbox.*
)
SELECT held.id, held.event_id, held.event_created_at, event.type, event.tenant, event.job_id, event.batch_id,
    event.run, event.seq, event.data, result.item, held.endpoint_id, held.url, {SIGNING_SECRETS} AS secrets,
    held.attempts
FROM held JOIN {SCHEMA}.event ON event.id = held.event_id AND event.created_at = held.event_created_at
LEFT JOIN {SCHEMA}.endpoint ON endpoint.id = held.endpoint_id
LEFT JOIN {SCHEMA}.result ON event.type = 'job.result'
    AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid) AND result.key = event.data ->> 'key'
"""
