"""Events that leave again for one endpoint: those of a time, or one; never twice while they are still to leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import text

from runware_jobs.core.events import DEFAULT_WEBHOOK_EVENTS, EventType

from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


class EventPlace(NamedTuple):
    """Where an event stands among all events: a job's keep their order, also those of one moment."""

    created_at: datetime
    seq: int
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which events: of `since` up to, and not with, `until`; `only_failed` those never answered with 2xx.

    What was never tried counts as failed, and so does what the log has forgotten.
    """

    since: datetime
    until: datetime
    only_failed: bool


async def read_span(
    connection: AsyncConnection,
    endpoint: Mapping[str, Any],
    span: Span,
    *,
    after: EventPlace | None,
    limit: int,
) -> list[dict[str, Any]]:
    """List the events of a time that this endpoint asks for, oldest first, from just after `after`.

    Each has `event_id, event_created_at, seq, job_id, url`. A tenant's default endpoint
    has asked for what each job's `webhook_url` is told.
    """
    wanted = _SPAN if endpoint["url"] is not None else _SPAN_OF_JOBS
    rows = await connection.execute(
        text(f"{wanted} {_NEVER_TAKEN if span.only_failed else ''} {_IN_ORDER}"),
        {
            "tenant": endpoint["tenant"],
            "endpoint_id": endpoint["id"],
            "url": endpoint["url"],
            "events": list(endpoint["events"]) or sorted(DEFAULT_WEBHOOK_EVENTS),
            "since": span.since,
            "until": span.until,
            "after_at": after.created_at if after is not None else span.since,
            "after_seq": after.seq if after is not None else -1,
            "after_id": after.id if after is not None else None,
            "limit": limit,
        },
    )
    return [dict(row) for row in rows.mappings()]


async def queue_again(
    connection: AsyncConnection, endpoint_id: UUID, events: Sequence[Mapping[str, Any]]
) -> int:
    """Put events into the outbox for one endpoint, in this order, and give how many leave because of it.

    Each needs `event_id, event_created_at, job_id, url`. The caller has locked the
    endpoint (`read_endpoint`), so that of two who ask at once the second finds what the
    first has put. What waits there leaves once: a dead one begins its tries anew, one
    that was put off is due now, and one that somebody is sending stays as it is. A
    receiver that rests is tried.
    """
    asked = [
        {
            "place": place,
            "event_id": str(event["event_id"]),
            "event_created_at": event["event_created_at"].isoformat(),
            "job_id": None if event["job_id"] is None else str(event["job_id"]),
            "url": event["url"],
        }
        for place, event in enumerate(events)
    ]
    counted = await connection.execute(text(_QUEUE), {"events": as_json(asked), "endpoint_id": endpoint_id})
    return int(counted.scalar_one())


def end_rests(receivers: str) -> str:
    """Write the part of a statement that lets these receivers be tried at once, however long they rest.

    What a deliverer has locked is left to it: it locks what was failing before the
    endpoint, and who asks here has locked the endpoint before.
    """
    return f"""resting AS (
    SELECT id FROM {SCHEMA}.receiver WHERE id IN ({receivers}) FOR UPDATE SKIP LOCKED
),
rested AS (DELETE FROM {SCHEMA}.receiver USING resting WHERE receiver.id = resting.id)"""


_WANTED: Final = f"""
event.tenant = :tenant AND event.type = ANY (CAST(:events AS text[]))
  -- Of progress only the newest is worth anything, and nobody is told of his own end.
  AND event.type <> '{EventType.JOB_PROGRESS}'
  AND NOT (event.type = '{EventType.ENDPOINT_DISABLED}'
           AND event.data ->> 'endpoint_id' = CAST(CAST(:endpoint_id AS uuid) AS text))
  AND event.created_at >= :since AND event.created_at < :until
  AND event.created_at >= :after_at AND (event.created_at > :after_at OR event.seq > :after_seq
       OR (event.seq = :after_seq AND event.id > CAST(:after_id AS uuid)))
"""

# Words of its own, not a condition on a parameter, which no planner could turn into a join.
_NEVER_TAKEN: Final = f"""AND NOT EXISTS (
    SELECT FROM {SCHEMA}.delivery WHERE delivery.event_id = event.id AND delivery.state = 'delivered'
      -- Spelled so that no index on the endpoint is looked into, for each event, for all of its tries.
      AND delivery.endpoint_id IS NOT DISTINCT FROM :endpoint_id)
"""

_IN_ORDER: Final = "ORDER BY event.created_at, event.seq, event.id LIMIT :limit"

_SPAN: Final = f"""
SELECT event.id AS event_id, event.created_at AS event_created_at, event.seq, event.job_id,
    CAST(:url AS text) AS url
FROM {SCHEMA}.event WHERE {_WANTED}
"""

_SPAN_OF_JOBS: Final = f"""
SELECT event.id AS event_id, event.created_at AS event_created_at, event.seq, event.job_id,
    job.webhook_url AS url
FROM {SCHEMA}.event JOIN {SCHEMA}.job ON job.id = event.job_id AND job.webhook_url IS NOT NULL WHERE {_WANTED}
"""

_QUEUE: Final = f"""
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS asked(
        place integer, event_id uuid, event_created_at timestamptz, job_id uuid, url text)
),
waiting AS (
    SELECT outbox.id, asked.place FROM asked JOIN {SCHEMA}.outbox ON outbox.job_id = asked.job_id
        AND outbox.sink = 'webhook' AND outbox.endpoint_id = :endpoint_id
        AND outbox.event_id = asked.event_id AND outbox.url = asked.url
    UNION ALL
    SELECT outbox.id, asked.place FROM asked JOIN {SCHEMA}.outbox ON outbox.job_id IS NULL
        AND outbox.sink = 'webhook' AND outbox.endpoint_id = :endpoint_id
        AND outbox.event_id = asked.event_id AND outbox.url = asked.url
    WHERE asked.job_id IS NULL
),
found AS (
    SELECT outbox.id FROM {SCHEMA}.outbox JOIN waiting USING (id)
    -- Who has waited for the endpoint is in a transaction that began before what it finds.
    WHERE outbox.is_dead OR (outbox.holder IS NULL AND outbox.due_at > clock_timestamp())
    ORDER BY outbox.id FOR UPDATE OF outbox SKIP LOCKED
),
woken AS (
    UPDATE {SCHEMA}.outbox SET is_dead = false, attempts = 0, due_at = now() FROM found
    WHERE outbox.id = found.id RETURNING outbox.receiver
),
added AS (
    INSERT INTO {SCHEMA}.outbox (sink, event_id, event_created_at, job_id, endpoint_id, url)
    SELECT 'webhook', event_id, event_created_at, job_id, :endpoint_id, url FROM asked
    WHERE place NOT IN (SELECT place FROM waiting) ORDER BY place RETURNING receiver
),
{end_rests("SELECT receiver FROM woken UNION SELECT receiver FROM added")}
SELECT (SELECT count(*) FROM woken) + (SELECT count(*) FROM added)
"""
