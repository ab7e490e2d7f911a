"""The outbox: what has to leave because of an event, claimed, done, or put off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One thing to send, with its event; `secrets` are encrypted, newest first."""

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


async def claim_due(connection: AsyncConnection, sink: str, *, limit: int, hold_s: float) -> list[Due]:
    """Take due rows of a sink, oldest first; whoever dies holding one loses it after `hold_s`.

    Of one job's rows for one target only the first is given: the next is due when
    the one before it is gone, so that `seq` never runs backwards for a receiver.
    What is for a disabled endpoint stays, in case somebody enables it again.
    """
    rows = await connection.execute(text(_CLAIM), {"sink": sink, "limit": limit, "hold_s": hold_s})
    found = [
        Due(
            id=row["id"],
            event_id=row["event_id"],
            event_created_at=row["event_created_at"],
            type=row["type"],
            tenant=row["tenant"],
            job_id=row["job_id"],
            batch_id=row["batch_id"],
            run=row["run"],
            seq=row["seq"],
            data=row["data"],
            item=row["item"],
            endpoint_id=row["endpoint_id"],
            url=row["url"],
            secrets=tuple(bytes(secret) for secret in row["secrets"] or ()),
            attempts=row["attempts"],
        )
        for row in rows.mappings()
    ]
    return sorted(found, key=lambda due: due.id)


async def done(connection: AsyncConnection, ids: Iterable[int]) -> None:
    """Delete rows that have left."""
    await connection.execute(
        text(f"DELETE FROM {SCHEMA}.outbox WHERE id = ANY (CAST(:ids AS bigint[]))"), {"ids": list(ids)}
    )


async def hand_back(connection: AsyncConnection, outbox_id: int, *, delay_s: float) -> None:
    """Make a claimed row due after `delay_s`, as if it had not been claimed."""
    await connection.execute(
        text(f"UPDATE {SCHEMA}.outbox SET due_at = now() + make_interval(secs => :delay_s) WHERE id = :id"),
        {"id": outbox_id, "delay_s": delay_s},
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


async def record_delivery(connection: AsyncConnection, due: Due, **values: Any) -> None:
    """Log one try of a webhook: state, status_code, reason, duration_ms, answer, next_in_s.

    Writes nothing when its endpoint was removed meanwhile.
    """
    await connection.execute(
        text(_LOG),
        {
            "event_id": due.event_id,
            "event_created_at": due.event_created_at,
            "tenant": due.tenant,
            "job_id": due.job_id,
            "endpoint_id": due.endpoint_id,
            "url": due.url,
            "number": due.attempts + 1,
            **values,
        },
    )


async def ensure_default_endpoint(connection: AsyncConnection, tenant: str, secret: bytes) -> None:
    """Give a tenant its default signing secret, once; `secret` is encrypted already."""
    await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.endpoint (tenant, secrets) VALUES (:tenant, ARRAY[CAST(:secret AS bytea)])"
            " ON CONFLICT DO NOTHING"
        ),
        {"tenant": tenant, "secret": secret},
    )


async def add_endpoint(
    connection: AsyncConnection, *, tenant: str, url: str, events: Sequence[str], secret: bytes
) -> UUID:
    """Add a standing endpoint; `events` empty means the default ones."""
    row = await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.endpoint (tenant, url, events, secrets)"
            " VALUES (:tenant, :url, CAST(:events AS text[]), ARRAY[CAST(:secret AS bytea)]) RETURNING id"
        ),
        {"tenant": tenant, "url": url, "events": list(events), "secret": secret},
    )
    endpoint_id: UUID = row.scalar_one()
    return endpoint_id


async def read_endpoints(connection: AsyncConnection, *, tenant: str | None) -> list[dict[str, Any]]:
    """List endpoints; secrets come encrypted."""
    rows = await connection.execute(
        text(
            f"SELECT * FROM {SCHEMA}.endpoint WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant"
            " ORDER BY created_at"
        ),
        {"tenant": tenant},
    )
    return [dict(row) for row in rows.mappings()]


async def disable_endpoint(connection: AsyncConnection, endpoint_id: UUID, *, reason: str) -> None:
    """Stop sending to an endpoint (410, or a person); a tenant's default cannot be disabled."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.endpoint SET is_enabled = false, disabled_reason = :reason"
            " WHERE id = :id AND url IS NOT NULL"
        ),
        {"id": endpoint_id, "reason": reason},
    )


async def change_endpoint(
    connection: AsyncConnection,
    endpoint_id: UUID,
    *,
    events: Sequence[str] | None = None,
    is_enabled: bool | None = None,
    keeps_old_secret: bool = True,
) -> None:
    """Change what is given and leave the rest; enabling forgets why it was disabled.

    `keeps_old_secret` False: only the newest secret signs from now on. A tenant's
    default endpoint cannot be disabled.
    """
    await connection.execute(
        text(_CHANGE),
        {
            "id": endpoint_id,
            "events": None if events is None else list(events),
            "is_enabled": is_enabled,
            "keeps_old_secret": keeps_old_secret,
        },
    )


async def rotate_secret(connection: AsyncConnection, endpoint_id: UUID, secret: bytes) -> None:
    """Sign with a new secret and, beside it, with the one before; an older one signs no more."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.endpoint SET secrets = ARRAY[CAST(:secret AS bytea), secrets[1]],"
            " rotated_at = now() WHERE id = :id"
        ),
        {"id": endpoint_id, "secret": secret},
    )


async def remove_endpoint(connection: AsyncConnection, endpoint_id: UUID, *, tenant: str | None) -> bool:
    """Remove an endpoint with its log and what was still to leave for it."""
    row = await connection.execute(
        text(
            f"WITH gone AS (DELETE FROM {SCHEMA}.endpoint WHERE id = :id AND url IS NOT NULL"
            " AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) RETURNING id),"
            f" left_over AS (DELETE FROM {SCHEMA}.outbox USING gone WHERE endpoint_id = gone.id)"
            " SELECT count(*) FROM gone"
        ),
        {"id": endpoint_id, "tenant": tenant},
    )
    return bool(row.scalar_one())


async def list_deliveries(
    connection: AsyncConnection,
    *,
    tenant: str | None,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[dict[str, Any]]:
    """List tries, newest first, from just before the place `before` (created_at, id)."""
    created_at, before_id = before or (None, None)
    rows = await connection.execute(
        text(_DELIVERIES),
        {"tenant": tenant, "limit": limit, "created_at": created_at, "before_id": before_id},
    )
    return [dict(row) for row in rows.mappings()]


async def redeliver(connection: AsyncConnection, delivery_id: UUID, *, tenant: str | None) -> bool:
    """Send a delivery's event again, now; False when there is no such delivery."""
    row = await connection.execute(
        text(
            f"INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, job_id, endpoint_id, url)"
            f" SELECT 'webhook', event_id, event_created_at, job_id, endpoint_id, url FROM {SCHEMA}.delivery"
            " WHERE id = :id AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) RETURNING id"
        ),
        {"id": delivery_id, "tenant": tenant},
    )
    return row.first() is not None


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
    event.run, event.seq, event.data, result.item, held.endpoint_id, held.url, endpoint.secrets, held.attempts
FROM held JOIN {SCHEMA}.event ON event.id = held.event_id AND event.created_at = held.event_created_at
LEFT JOIN {SCHEMA}.endpoint ON endpoint.id = held.endpoint_id
LEFT JOIN {SCHEMA}.result ON event.type = 'job.result'
    AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid) AND result.key = event.data ->> 'key'
"""

_LOG: Final = f"""
INSERT INTO {SCHEMA}.delivery (event_id, event_created_at, tenant, job_id, endpoint_id, url, number, state,
    status_code, reason, duration_ms, answer, next_at)
SELECT :event_id, :event_created_at, CAST(:tenant AS text), CAST(:job_id AS uuid), id, CAST(:url AS text),
    CAST(:number AS smallint), CAST(:state AS text), CAST(:status_code AS smallint), CAST(:reason AS text),
    CAST(:duration_ms AS integer), CAST(:answer AS text), now() + make_interval(secs => CAST(:next_in_s AS float8))
-- Removed while its webhook was on the way, an endpoint has no log any more.
FROM {SCHEMA}.endpoint WHERE id = :endpoint_id FOR KEY SHARE
"""

_CHANGE: Final = f"""
UPDATE {SCHEMA}.endpoint SET
    events = COALESCE(CAST(:events AS text[]), events),
    is_enabled = url IS NULL OR COALESCE(CAST(:is_enabled AS boolean), is_enabled),
    disabled_reason = CASE WHEN url IS NULL OR CAST(:is_enabled AS boolean) THEN NULL
        WHEN NOT CAST(:is_enabled AS boolean) AND is_enabled THEN 'user' ELSE disabled_reason END,
    failing_since = CASE WHEN CAST(:is_enabled AS boolean) AND NOT is_enabled THEN NULL ELSE failing_since END,
    secrets = CASE WHEN :keeps_old_secret THEN secrets ELSE secrets[1:1] END
WHERE id = :id
"""

_DELIVERIES: Final = f"""
SELECT delivery.*, event.type FROM {SCHEMA}.delivery
LEFT JOIN {SCHEMA}.event ON event.id = delivery.event_id AND event.created_at = delivery.event_created_at
WHERE (CAST(:tenant AS text) IS NULL OR delivery.tenant = :tenant)
  AND (CAST(:created_at AS timestamptz) IS NULL
       OR (delivery.created_at, delivery.id) < (CAST(:created_at AS timestamptz), CAST(:before_id AS uuid)))
ORDER BY delivery.created_at DESC, delivery.id DESC LIMIT :limit
"""
