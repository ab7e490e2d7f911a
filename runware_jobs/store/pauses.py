"""Pauses of an account: whose they are, when they may end, and who is told.

A pause is one UPDATE of the account's row, which every claim locks: once it is
committed, no claim begins, and what was claimed before is fenced (DESIGN 6). A
person's pause is never ended or overwritten by the platform's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.events import EventType
from runware_jobs.core.standing import PauseKind

from .tables import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

FIRST_PROBE_S: Final = 3.0
PROBE_HELD_S: Final = 10.0
"""No second question within this time: whoever asks must have given up by then."""
LONGEST_PROBE_S: Final = 900.0


async def pause_by_hand(connection: AsyncConnection, account_id: int, *, reason: str) -> bool:
    """Stop every claim of this account until a person resumes it; False when one had paused it already.

    Takes over a pause of the platform's: that one does not end by itself any more.
    """
    values = {"id": account_id, "kind": PauseKind.HAND, "reason": reason}
    return await _moved(connection, _PAUSE_BY_HAND, values, EventType.ACCOUNT_PAUSED)


async def pause_for(connection: AsyncConnection, account_id: int, kind: PauseKind, *, reason: str) -> bool:
    """Pause because the platform takes nothing; False when the account is paused, by whomever."""
    values = {
        "id": account_id,
        "kind": kind,
        "reason": reason,
        "first_s": FIRST_PROBE_S,
        "longest_s": LONGEST_PROBE_S,
    }
    return await _moved(connection, _PAUSE_FOR, values, EventType.ACCOUNT_PAUSED)


async def resume_by_hand(connection: AsyncConnection, account_id: int) -> bool:
    """Let claims go on, whoever paused; False when it was not paused."""
    return await _moved(connection, _RESUME, {"id": account_id, "kind": None, "tries": False}, _RESUMED)


async def resume_from(
    connection: AsyncConnection, account_id: int, kind: PauseKind, *, tries: bool = False
) -> bool:
    """End an automatic pause of this kind; False when it is not there any more.

    `tries`: nobody knows whether the reason is gone; if not, the next pause asks later.
    """
    return await _moved(connection, _RESUME, {"id": account_id, "kind": kind, "tries": tries}, _RESUMED)


async def take_probe(connection: AsyncConnection, account_id: int) -> PauseKind | None:
    """Take the turn to ask the platform whether an automatic pause may end; None: it is not due.

    Whoever takes it puts the next turn off, further the longer the pause has lasted:
    of many processes one asks.
    """
    values = {"id": account_id, "held_s": PROBE_HELD_S, "longest_s": LONGEST_PROBE_S}
    kind = (await connection.execute(text(_TAKE_PROBE), values)).scalar_one_or_none()
    return None if kind is None else PauseKind(kind)


async def is_open(connection: AsyncConnection, account_id: int) -> bool:
    """Tell whether this account may send."""
    row = await connection.execute(
        text(f"SELECT state = 'open' FROM {SCHEMA}.account WHERE id = :id"), {"id": account_id}
    )
    return bool(row.scalar_one())


async def _moved(
    connection: AsyncConnection, statement: str, values: dict[str, object], event: EventType
) -> bool:
    row = (await connection.execute(text(statement), values)).one_or_none()
    if row is None:
        return False
    await connection.execute(text(_TELL), {"type": event, "id": values["id"], "kind": row.pause_kind})
    return True


_RESUMED: Final = EventType.ACCOUNT_RESUMED

_PAUSE_BY_HAND: Final = f"""
UPDATE {SCHEMA}.account SET state = 'paused', pause_kind = :kind, pause_reason = :reason, probe_at = NULL,
    -- Taken over, it has lasted since the platform's pause began.
    paused_at = CASE state WHEN 'paused' THEN paused_at ELSE clock_timestamp() END
WHERE id = :id AND (state = 'open' OR pause_kind <> '{PauseKind.HAND}')
RETURNING pause_kind
"""

# Resumed only to try (`_RESUME`), the account still has both times of its last pause:
# refused again before that pause would have asked again, it is the same trouble.
_PAUSE_FOR: Final = f"""
UPDATE {SCHEMA}.account SET state = 'paused', pause_kind = :kind, pause_reason = :reason,
    probe_at = clock_timestamp() + make_interval(secs => CASE WHEN probe_at > clock_timestamp()
        THEN LEAST(CAST(:longest_s AS float8), 2 * EXTRACT(EPOCH FROM clock_timestamp() - paused_at))
        ELSE CAST(:first_s AS float8) END),
    paused_at = clock_timestamp()
WHERE id = :id AND state = 'open'
RETURNING pause_kind
"""

_RESUME: Final = f"""
UPDATE {SCHEMA}.account SET state = 'open', pause_reason = NULL, pause_kind = NULL,
    paused_s = account.paused_s
        + COALESCE(GREATEST(0, EXTRACT(EPOCH FROM clock_timestamp() - account.paused_at)), 0),
    paused_at = CASE WHEN :tries THEN account.paused_at END,
    probe_at = CASE WHEN :tries THEN account.probe_at END
FROM (SELECT id, pause_kind FROM {SCHEMA}.account WHERE id = :id FOR NO KEY UPDATE) AS before
WHERE account.id = before.id AND account.state = 'paused'
  AND (CAST(:kind AS text) IS NULL OR account.pause_kind = :kind)
RETURNING before.pause_kind
"""

_TAKE_PROBE: Final = f"""
UPDATE {SCHEMA}.account SET probe_at = clock_timestamp() + make_interval(secs => LEAST(
    CAST(:longest_s AS float8), GREATEST(CAST(:held_s AS float8),
        EXTRACT(EPOCH FROM clock_timestamp() - paused_at) / 2)))
WHERE id = :id AND state = 'paused' AND pause_kind IN ('{PauseKind.AUTH}', '{PauseKind.CREDITS}')
  AND probe_at <= clock_timestamp()
RETURNING pause_kind
"""

# Told are the endpoints that ask for it by name, of whatever tenant: everybody's jobs
# wait, and everybody may want to say so; but nobody who asked for the default events
# expects one without a job. No balance, no key, no reason: they are the operator's. In
# the log it stands under '*', once, and under each tenant that is told.
_TELL: Final = f"""
WITH wanted AS (
    SELECT id, tenant, url FROM {SCHEMA}.endpoint
    WHERE is_enabled AND url IS NOT NULL AND CAST(:type AS text) = ANY (events)
),
told AS (
    INSERT INTO {SCHEMA}.event (id, type, tenant, seq, data)
    SELECT gen_random_uuid(), :type, tenant, 1,
        jsonb_build_object('account_id', CAST(:id AS bigint), 'kind', CAST(:kind AS text))
    FROM (SELECT '*' AS tenant UNION SELECT tenant FROM wanted) AS tenants
    RETURNING id, created_at, tenant
)
INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, endpoint_id, url)
SELECT 'webhook', told.id, told.created_at, wanted.id, wanted.url FROM told JOIN wanted USING (tenant)
"""
