"""Webhook endpoints: their filters, their encrypted secrets, their health, and the log of each try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from runware_jobs.core.endpoints import GIVEN_UP_AFTER_S, OVERLAP_S, TEST_EVENT, DisabledReason, is_given_up
from runware_jobs.core.events import EventType

from .redelivery import end_rests, queue_again
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


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
    """Add a standing endpoint; `events` empty means the default ones. It is told what happens from now on."""
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
    """List endpoints, oldest first; secrets come encrypted, newest first."""
    rows = await connection.execute(
        text(
            f"SELECT endpoint.*, {SIGNING_SECRETS} AS signing FROM {SCHEMA}.endpoint"
            " WHERE CAST(:tenant AS text) IS NULL OR tenant = :tenant ORDER BY created_at, id"
        ),
        {"tenant": tenant},
    )
    return [dict(row) for row in rows.mappings()]


async def read_endpoint(
    connection: AsyncConnection, endpoint_id: UUID | None, *, tenant: str | None, locks: bool = False
) -> dict[str, Any] | None:
    """Read one endpoint, as `read_endpoints` does; None: this tenant has none such.

    `endpoint_id` None is the default endpoint of `tenant`, which has to be named then.
    `locks`: until the commit nobody else changes it, and nobody queues again for it.
    """
    rows = await connection.execute(
        text(_ONE + (" FOR NO KEY UPDATE" if locks else "")), {"id": endpoint_id, "tenant": tenant}
    )
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)


async def change_endpoint(
    connection: AsyncConnection,
    endpoint_id: UUID,
    *,
    events: Sequence[str] | None = None,
    is_enabled: bool | None = None,
    keeps_old_secret: bool = True,
) -> None:
    """Change what is given and leave the rest; enabling forgets why it was disabled.

    What stayed in the outbox of an endpoint that is enabled again is due at once, in
    its order, begins its tries anew, and its receiver is tried however long it rests. `keeps_old_secret` False: only the newest
    secret signs from now on. A tenant's default endpoint cannot be disabled.
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


async def rotate_secret(
    connection: AsyncConnection, endpoint_id: UUID, secret: bytes, *, keeps_old_secret: bool = True
) -> None:
    """Sign with a new secret and, for a day, with the one before beside it; an older one signs no more.

    Of two rotations at once the later one's secret is the newest, the other's the one before.
    """
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.endpoint SET rotated_at = now(), secrets = ARRAY[CAST(:secret AS bytea)]"
            " || CASE WHEN :keeps_old_secret THEN secrets[1:1] ELSE '{}' END WHERE id = :id"
        ),
        {"id": endpoint_id, "secret": secret, "keeps_old_secret": keeps_old_secret},
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


async def note_failure(connection: AsyncConnection, endpoint_ids: Iterable[UUID]) -> list[UUID]:
    """Note that a try for each of these failed; give those that are disabled now, having failed for days.

    The first failure after a success is remembered; further ones write nothing. Those
    disabled leave `endpoint.disabled` for the tenant's other endpoints. A tenant's
    default endpoint has many receivers and is never disabled; of an unknown id
    nothing is noted.
    """
    ids = _sorted(endpoint_ids)
    if not ids:
        return []
    rows = (await connection.execute(text(_HEALTH), {"ids": ids})).all()
    healthy = [row.id for row in rows if row.failing_since is None]
    if healthy:
        await connection.execute(text(_BEGIN_TO_FAIL), {"ids": _sorted(healthy)})
    given_up = [row.id for row in rows if is_given_up(row.failing_since, row.now)]
    if not given_up:
        return []
    return await _disable(connection, given_up, DisabledReason.FAILING, failing_for_s=GIVEN_UP_AFTER_S)


async def note_success(connection: AsyncConnection, endpoint_ids: Iterable[UUID]) -> None:
    """Note that each of these answered 2xx; writes and locks nothing where none of them was failing."""
    ids = _sorted(endpoint_ids)
    if ids:
        await connection.execute(text(_RECOVER), {"ids": ids})


async def disable_endpoint(connection: AsyncConnection, endpoint_id: UUID, *, reason: str) -> bool:
    """Stop sending to an endpoint and tell the tenant's others (`endpoint.disabled`); False: nothing changed.

    False is an endpoint that was disabled before, or removed, or a tenant's default
    one, which cannot be disabled. What is in its outbox stays.
    """
    return bool(await _disable(connection, [endpoint_id], reason, failing_for_s=None))


async def tell_test(connection: AsyncConnection, endpoint_id: UUID) -> UUID | None:
    """Leave a test event for this endpoint alone and give its id; None: it is disabled, removed, or a default one."""
    row = await connection.execute(text(_TEST), {"id": endpoint_id})
    event_id: UUID | None = row.scalar_one_or_none()
    return event_id


async def list_deliveries(
    connection: AsyncConnection,
    *,
    tenant: str | None,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
    endpoint_id: UUID | None = None,
    state: str | None = None,
    event_type: str | None = None,
    job_id: UUID | None = None,
) -> list[dict[str, Any]]:
    """List tries, newest first, from just before the place `before` (created_at, id); a filter that is None lets all pass."""
    wanted: dict[str, tuple[str, object]] = {
        "tenant": ("delivery.tenant = :tenant", tenant),
        "endpoint_id": ("delivery.endpoint_id = :endpoint_id", endpoint_id),
        "state": ("delivery.state = :state", state),
        "event_type": ("event.type = :event_type", event_type),
        "job_id": (f"delivery.event_id IN (SELECT id FROM {SCHEMA}.event WHERE job_id = :job_id)", job_id),
    }
    given = {name: value for name, (_, value) in wanted.items() if value is not None}
    conditions = [wanted[name][0] for name in given]
    if before is not None:
        conditions.append("(delivery.created_at, delivery.id) < (:created_at, :before_id)")
        given |= {"created_at": before[0], "before_id": before[1]}
    rows = await connection.execute(
        text(_DELIVERIES.format(conditions=" AND ".join(conditions) or "true")), given | {"limit": limit}
    )
    return [dict(row) for row in rows.mappings()]


async def read_delivery(
    connection: AsyncConnection, delivery_id: UUID, *, tenant: str | None
) -> dict[str, Any] | None:
    """Read one try; its `type` is None when its event is gone. None: this tenant has none such."""
    rows = await connection.execute(
        text(
            _DELIVERIES.format(
                conditions="delivery.id = :id AND (CAST(:tenant AS text) IS NULL OR delivery.tenant = :tenant)"
            )
        ),
        {"id": delivery_id, "tenant": tenant, "limit": 1},
    )
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)


async def redeliver(connection: AsyncConnection, delivery_id: UUID, *, tenant: str | None) -> bool:
    """Send a delivery's event again, now; False when there is no such delivery, or its event is gone.

    Asked twice while it is still to leave, it leaves once.
    """
    delivery = await read_delivery(connection, delivery_id, tenant=tenant)
    if delivery is None or delivery["type"] is None:
        return False
    await read_endpoint(connection, delivery["endpoint_id"], tenant=None, locks=True)
    await queue_again(connection, delivery["endpoint_id"], [delivery])
    return True


async def _disable(
    connection: AsyncConnection, ids: Iterable[UUID], reason: str, *, failing_for_s: float | None
) -> list[UUID]:
    """Disable those that may be; `failing_for_s` only those that still fail for so long."""
    rows = await connection.execute(
        text(_DISABLE), {"ids": _sorted(ids), "reason": reason, "failing_for_s": failing_for_s}
    )
    return list(rows.scalars())


def _sorted(ids: Iterable[UUID]) -> list[str]:
    return sorted({str(one) for one in ids})


# Compared with the clock of the database, as every other time is.
SIGNING_SECRETS: Final = (
    f"CASE WHEN endpoint.rotated_at > now() - make_interval(secs => {OVERLAP_S})"
    " THEN endpoint.secrets ELSE endpoint.secrets[1:1] END"
)
"""The secrets of an `endpoint` that sign now, newest first: a day after a rotation the old one does not."""

_ONE: Final = f"""
SELECT endpoint.*, {SIGNING_SECRETS} AS signing FROM {SCHEMA}.endpoint
WHERE CASE WHEN CAST(:id AS uuid) IS NULL THEN url IS NULL ELSE id = CAST(:id AS uuid) END
  AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
"""

_CHANGE: Final = f"""
WITH before AS (SELECT id, is_enabled FROM {SCHEMA}.endpoint WHERE id = :id FOR NO KEY UPDATE),
stayed AS (
    SELECT outbox.id FROM {SCHEMA}.outbox JOIN before ON outbox.endpoint_id = before.id
    WHERE CAST(:is_enabled AS boolean) AND NOT before.is_enabled AND NOT outbox.is_dead AND outbox.holder IS NULL
    ORDER BY outbox.id FOR UPDATE OF outbox SKIP LOCKED
),
woken AS (
    UPDATE {SCHEMA}.outbox SET due_at = now(), attempts = 0 FROM stayed WHERE outbox.id = stayed.id
    RETURNING outbox.receiver
),
{end_rests("SELECT receiver FROM woken")}
UPDATE {SCHEMA}.endpoint SET
    events = COALESCE(CAST(:events AS text[]), events),
    is_enabled = url IS NULL OR COALESCE(CAST(:is_enabled AS boolean), endpoint.is_enabled),
    disabled_reason = CASE WHEN url IS NULL OR CAST(:is_enabled AS boolean) THEN NULL
        WHEN NOT CAST(:is_enabled AS boolean) AND endpoint.is_enabled THEN '{DisabledReason.USER}'
        ELSE disabled_reason END,
    failing_since = CASE WHEN CAST(:is_enabled AS boolean) AND NOT endpoint.is_enabled THEN NULL
        ELSE failing_since END,
    secrets = CASE WHEN :keeps_old_secret THEN secrets ELSE secrets[1:1] END
FROM before WHERE endpoint.id = before.id
"""

_HEALTH: Final = f"""
SELECT id, failing_since, now() AS now FROM {SCHEMA}.endpoint
WHERE id = ANY (CAST(:ids AS uuid[])) AND url IS NOT NULL AND is_enabled
"""

# Locked in one order, or two deliverers with the same endpoints would wait for each other.
_BEGIN_TO_FAIL: Final = f"""
WITH mine AS (
    SELECT id FROM {SCHEMA}.endpoint WHERE id = ANY (CAST(:ids AS uuid[])) AND failing_since IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE {SCHEMA}.endpoint SET failing_since = now() FROM mine WHERE endpoint.id = mine.id
"""

_RECOVER: Final = f"""
WITH mine AS (
    SELECT id FROM {SCHEMA}.endpoint WHERE id = ANY (CAST(:ids AS uuid[])) AND failing_since IS NOT NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE {SCHEMA}.endpoint SET failing_since = NULL FROM mine WHERE endpoint.id = mine.id
"""

# Of its address only the host is told: the rest may be a secret of the receiver's, and
# this goes to another. It sees itself enabled still, so it is left out by its id.
_DISABLE: Final = f"""
WITH mine AS (
    SELECT id FROM {SCHEMA}.endpoint
    WHERE id = ANY (CAST(:ids AS uuid[])) AND url IS NOT NULL AND is_enabled
      AND (CAST(:failing_for_s AS float8) IS NULL
           OR failing_since <= now() - make_interval(secs => CAST(:failing_for_s AS float8)))
    ORDER BY id FOR NO KEY UPDATE
),
off AS (
    UPDATE {SCHEMA}.endpoint SET is_enabled = false, disabled_reason = :reason FROM mine
    WHERE endpoint.id = mine.id RETURNING endpoint.id, tenant, url, failing_since
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, seq, data)
    SELECT gen_random_uuid(), '{EventType.ENDPOINT_DISABLED}', tenant, 1, jsonb_build_object(
        'endpoint_id', id, 'host', substring(url FROM '://([^/?]*)'),
        'reason', CAST(:reason AS text),
        'failing_since', to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    FROM off RETURNING id, created_at, tenant
),
sent AS (
    INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, endpoint_id, url)
    SELECT 'webhook', told.id, told.created_at, endpoint.id, endpoint.url
    FROM told JOIN {SCHEMA}.endpoint ON endpoint.tenant = told.tenant
    WHERE endpoint.is_enabled AND endpoint.url IS NOT NULL AND endpoint.id NOT IN (SELECT id FROM off)
      AND (endpoint.events = '{{}}' OR '{EventType.ENDPOINT_DISABLED}' = ANY (endpoint.events))
)
SELECT id FROM off
"""

_TEST: Final = f"""
WITH target AS (
    SELECT id, tenant, url FROM {SCHEMA}.endpoint WHERE id = :id AND url IS NOT NULL AND is_enabled
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, seq, data)
    SELECT gen_random_uuid(), '{TEST_EVENT}', tenant, 1, jsonb_build_object('endpoint_id', id) FROM target
    RETURNING id, created_at
),
added AS (
    INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, endpoint_id, url)
    SELECT 'webhook', told.id, told.created_at, target.id, target.url FROM told CROSS JOIN target
    RETURNING event_id, receiver
),
{end_rests("SELECT receiver FROM added")}
SELECT event_id FROM added
"""

_DELIVERIES: Final = f"""
SELECT delivery.*, event.type FROM {SCHEMA}.delivery
LEFT JOIN {SCHEMA}.event ON event.id = delivery.event_id AND event.created_at = delivery.event_created_at
WHERE {{conditions}} ORDER BY delivery.created_at DESC, delivery.id DESC LIMIT :limit
"""
