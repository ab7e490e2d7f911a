"""Webhooks in the outbox: claimed fairly between receivers, marked in sets, with the log of each try.

A *receiver* is one host of one endpoint (`outbox.receiver`). What is due is looked for
receiver by receiver, so that ten thousand rows of one cost the others nothing. One
that failed several times in a row rests: a row of `receiver` says until when.

A claim puts its token (`holder`) on a row and its `due_at` ahead; a mark names the
token, so that who is late changes nothing that somebody else holds by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import text

from .endpoints import SIGNING_SECRETS
from .outbox import Due, due_of
from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

FIRST_RECEIVER: Final = -(2**63)
"""Where a walk over all receivers begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A receiver for which something is due; `host` is scheme and authority of its URLs.

    `rest_s` above zero: it failed again and again, has rested for so long, and may be
    tried with one row.
    """

    id: int
    endpoint_id: UUID
    host: str
    rest_s: float


class Walk(NamedTuple):
    """Receivers with something due, and where the walk goes on; None: it came to the end."""

    found: list[Receiver]
    next_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many rows of a receiver are claimed at most; `rest_s` as it was found."""

    receiver: int
    room: int
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What came of a claimed row.

    `is_done`: it leaves the outbox. Else it is due again after `delay_s`, or dead and
    kept (None). `state` is what the log says (`delivered`, `failed`, `dead`); None:
    nothing was tried, no attempt is used up and nothing logged.
    """

    due: Due
    is_done: bool = False
    delay_s: float | None = 0.0
    state: str | None = None
    status_code: int | None = None
    reason: str | None = None
    duration_ms: int = 0
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A receiver that is left alone for `wait_s`; `rest_s` is what the next rest grows from.

    `is_probe`: the one row failed that was tried after a rest.
    """

    receiver: int
    rest_s: float
    wait_s: float
    is_probe: bool


async def walk_receivers(connection: AsyncConnection, *, after: int, limit: int) -> Walk:
    """Look at the next `limit` receivers that anything is for; give those that may be sent to now.

    Left out are those that rest, those whose rows are not due yet, and what is for a
    disabled endpoint: it stays, in case somebody enables it again.
    """
    rows = (await connection.execute(text(_WALK), {"after": after, "limit": limit})).all()
    found = [
        Receiver(id=row.receiver, endpoint_id=row.endpoint_id, host=row.host or "", rest_s=row.rest_s)
        for row in rows
        if row.endpoint_id is not None
    ]
    return Walk(found, rows[-1].receiver if len(rows) == limit else None)


async def claim_webhooks(
    connection: AsyncConnection, wanted: Sequence[Wanted], *, holder: UUID, limit: int, hold_s: float
) -> list[Due]:
    """Take due webhooks, of each receiver its oldest; whoever dies holding one loses it after `hold_s`.

    Of one job's rows for one URL of an endpoint only the first is given: the next is
    due when the one before it is gone, so that `seq` never runs backwards for a
    receiver. A receiver that is tried after its rest is left alone by others meanwhile.
    """
    rows = await connection.execute(
        text(_CLAIM),
        {
            "wanted": as_json(
                [{"receiver": one.receiver, "room": one.room, "rest_s": one.rest_s} for one in wanted]
            ),
            "holder": holder,
            "limit": limit,
            "hold_s": hold_s,
            "spare": _SPARE,
            "crowd": _CROWD,
        },
    )
    return sorted((due_of(dict(row)) for row in rows.mappings()), key=lambda due: due.id)


async def release(connection: AsyncConnection, holders: Iterable[UUID]) -> None:
    """Give back all that these claims hold, as if they had not been made."""
    await connection.execute(
        text(
            f"UPDATE {SCHEMA}.outbox SET holder = NULL, due_at = now() WHERE holder = ANY (CAST(:holders AS uuid[]))"
        ),
        {"holders": [str(holder) for holder in holders]},
    )


async def settle_webhooks(connection: AsyncConnection, marks: Iterable[Mark]) -> bool:
    """Write what came of claimed rows, and the log; True: something waited behind one of them.

    A row that is not held by the claim of its mark any more is left alone, and so is
    one whose endpoint was removed. What waited behind a row that left is due now.
    """
    found = await connection.execute(text(_SETTLE), {"marks": as_json([_row(mark) for mark in marks])})
    return bool(found.scalar_one())


async def let_rest(connection: AsyncConnection, rests: Iterable[Rest]) -> None:
    """Leave these receivers alone for a while; one that rests already rests on."""
    rows = [
        {"id": rest.receiver, "rest_s": rest.rest_s, "wait_s": rest.wait_s, "is_probe": rest.is_probe}
        for rest in sorted(rests, key=lambda rest: rest.receiver)
    ]
    await connection.execute(text(_REST), {"rests": as_json(rows), "forget_after_s": _FORGET_AFTER_S})


async def end_rest(connection: AsyncConnection, receivers: Iterable[int]) -> None:
    """Forget that these receivers failed: they have answered."""
    await connection.execute(
        text(f"DELETE FROM {SCHEMA}.receiver WHERE id = ANY (CAST(:ids AS bigint[]))"),
        {"ids": sorted(receivers)},
    )


async def bury(connection: AsyncConnection, receivers: Iterable[int], *, stale_s: float, limit: int) -> int:
    """Give up rows that were due for `stale_s` at receivers that fail all the time: dead, logged and kept."""
    buried = await connection.execute(
        text(_BURY), {"ids": sorted(receivers), "stale_s": stale_s, "limit": limit}
    )
    return int(buried.scalar_one())


def _row(mark: Mark) -> dict[str, object]:
    return {
        "id": mark.due.id,
        "holder": mark.due.holder,
        "endpoint_id": mark.due.endpoint_id,
        "number": mark.due.attempts + 1,
        "is_done": mark.is_done,
        "delay_s": mark.delay_s,
        "state": mark.state,
        "status_code": mark.status_code,
        "reason": mark.reason,
        "duration_ms": mark.duration_ms,
        "answer": mark.answer,
    }


# Looked at beyond what is wanted, since of a job's rows only the first can be taken.
_SPARE: Final = 32
# So many that wait behind others are put behind them in time too, out of the way of a claim.
_CROWD: Final = 16
# A receiver that nothing was for in so long is not worth a row.
_FORGET_AFTER_S: Final = 86_400.0

_OPEN: Final = "sink = 'webhook' AND NOT is_dead"

# Each step is one look into outbox_receiver_idx, however many rows lie between.
_WALK: Final = f"""
WITH RECURSIVE known AS (
    (SELECT receiver, 1 AS place FROM {SCHEMA}.outbox WHERE {_OPEN} AND receiver > :after
     ORDER BY receiver LIMIT 1)
    UNION ALL
    SELECT following.receiver, known.place + 1 FROM known CROSS JOIN LATERAL (
        SELECT outbox.receiver FROM {SCHEMA}.outbox WHERE {_OPEN} AND outbox.receiver > known.receiver
        ORDER BY outbox.receiver LIMIT 1) AS following
    WHERE known.place < :limit
)
SELECT known.receiver, endpoint.id AS endpoint_id, first.host, COALESCE(resting.rest_s, 0) AS rest_s
FROM known LEFT JOIN {SCHEMA}.receiver AS resting ON resting.id = known.receiver
LEFT JOIN LATERAL (
    SELECT outbox.endpoint_id, lower(substring(outbox.url from '^[^:]*://[^/?#]*')) AS host FROM {SCHEMA}.outbox
    WHERE {_OPEN} AND outbox.receiver = known.receiver AND outbox.due_at <= now() ORDER BY outbox.due_at LIMIT 1
) AS first ON resting.id IS NULL OR resting.rests_until <= now()
LEFT JOIN {SCHEMA}.endpoint ON endpoint.id = first.endpoint_id AND endpoint.is_enabled
ORDER BY known.place
"""

_CLAIM: Final = f"""
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted(receiver bigint, room integer, rest_s float8)
),
seen AS MATERIALIZED (
    SELECT mine.id, wanted.receiver, wanted.room, earlier.id AS earlier_id, row_number() OVER (
        PARTITION BY wanted.receiver, earlier.id IS NULL ORDER BY mine.due_at, mine.id) AS place
    FROM wanted CROSS JOIN LATERAL (
        SELECT outbox.id, job_id, endpoint_id, url, due_at FROM {SCHEMA}.outbox
        WHERE {_OPEN} AND outbox.receiver = wanted.receiver AND due_at <= now()
        ORDER BY due_at LIMIT wanted.room + :spare FOR UPDATE SKIP LOCKED
    ) AS mine
    LEFT JOIN LATERAL (
        SELECT earlier.id FROM {SCHEMA}.outbox AS earlier
        WHERE earlier.job_id = mine.job_id AND earlier.sink = 'webhook' AND NOT earlier.is_dead
          AND earlier.endpoint_id = mine.endpoint_id AND earlier.url = mine.url AND earlier.id < mine.id
        ORDER BY earlier.id LIMIT 1
    ) AS earlier ON true
),
taken AS (
    SELECT id, receiver FROM seen WHERE earlier_id IS NULL AND place <= room ORDER BY place LIMIT :limit
),
held AS (
    UPDATE {SCHEMA}.outbox SET holder = CAST(:holder AS uuid), due_at = now() + make_interval(secs => :hold_s)
    FROM taken WHERE outbox.id = taken.id RETURNING outbox.*
),
tried_after_rest AS (
    UPDATE {SCHEMA}.receiver SET rests_until = now() + make_interval(secs => :hold_s)
    WHERE id IN (SELECT receiver FROM taken)
),
blocking AS MATERIALIZED (
    -- Locked, so that who deletes it finds what was put behind it. Nobody is waited for.
    SELECT id, due_at FROM {SCHEMA}.outbox WHERE due_at > now() AND id IN (
        SELECT earlier_id FROM seen WHERE receiver IN (
            SELECT receiver FROM seen WHERE earlier_id IS NOT NULL GROUP BY receiver HAVING count(*) >= :crowd))
    FOR KEY SHARE SKIP LOCKED
),
put_behind AS (
    UPDATE {SCHEMA}.outbox SET due_at = blocking.due_at
    FROM seen JOIN blocking ON blocking.id = seen.earlier_id WHERE outbox.id = seen.id
)
SELECT held.id, held.event_id, held.event_created_at, event.type, event.tenant, event.job_id, event.batch_id,
    event.run, event.seq, event.data, result.item, held.endpoint_id, held.url, {SIGNING_SECRETS} AS secrets,
    held.attempts, held.receiver, held.holder, wanted.rest_s, endpoint.failing_since IS NOT NULL AS is_failing
FROM held JOIN wanted USING (receiver)
JOIN {SCHEMA}.event ON event.id = held.event_id AND event.created_at = held.event_created_at
LEFT JOIN {SCHEMA}.endpoint ON endpoint.id = held.endpoint_id
LEFT JOIN {SCHEMA}.result ON event.type = 'job.result'
    AND result.task_uuid = CAST(event.data ->> 'task_uuid' AS uuid) AND result.key = event.data ->> 'key'
"""

_LOGGED: Final = """event_id, event_created_at, tenant, job_id, endpoint_id, url, number, state, status_code,
        reason, duration_ms, answer, next_at"""

_SETTLE: Final = f"""
WITH mark AS (
    SELECT * FROM jsonb_to_recordset(CAST(:marks AS jsonb)) AS mark(id bigint, holder uuid, endpoint_id uuid,
        number smallint, is_done boolean, delay_s float8, state text, status_code smallint, reason text,
        duration_ms integer, answer text)
),
-- Before their rows, as whoever removes an endpoint does; and the log refers to them.
known AS MATERIALIZED (
    SELECT id, tenant FROM {SCHEMA}.endpoint WHERE id IN (SELECT endpoint_id FROM mark) ORDER BY id FOR KEY SHARE
),
gone AS (
    DELETE FROM {SCHEMA}.outbox USING mark JOIN known ON known.id = mark.endpoint_id
    WHERE mark.is_done AND outbox.id = mark.id AND outbox.holder = mark.holder RETURNING outbox.*
),
kept AS (
    UPDATE {SCHEMA}.outbox SET holder = NULL, due_at = now() + make_interval(secs => COALESCE(mark.delay_s, 0)),
        attempts = attempts + CASE WHEN mark.state IS NULL THEN 0 ELSE 1 END, is_dead = mark.delay_s IS NULL
    FROM mark JOIN known ON known.id = mark.endpoint_id
    WHERE NOT mark.is_done AND outbox.id = mark.id AND outbox.holder = mark.holder RETURNING outbox.*
),
settled AS (SELECT * FROM gone UNION ALL SELECT * FROM kept),
logged AS (
    INSERT INTO {SCHEMA}.delivery ({_LOGGED})
    SELECT event_id, event_created_at, known.tenant, job_id, known.id, url, number, mark.state, status_code, reason,
        duration_ms, answer, CASE WHEN NOT is_done THEN now() + make_interval(secs => delay_s) END
    FROM settled JOIN mark ON mark.id = settled.id JOIN known ON known.id = settled.endpoint_id
    WHERE mark.state IS NOT NULL
),
behind AS MATERIALIZED (
    SELECT behind.id FROM settled JOIN mark ON mark.id = settled.id JOIN {SCHEMA}.outbox AS behind
        ON behind.job_id = settled.job_id AND behind.sink = settled.sink AND NOT behind.is_dead
        AND behind.endpoint_id = settled.endpoint_id AND behind.url = settled.url AND behind.id > settled.id
    WHERE mark.is_done OR mark.delay_s IS NULL
),
freed AS (
    UPDATE {SCHEMA}.outbox SET due_at = now() FROM behind
    WHERE outbox.id = behind.id AND outbox.due_at > now() AND outbox.holder IS NULL AND outbox.attempts = 0
)
SELECT EXISTS (SELECT FROM behind)
"""

_REST: Final = f"""
WITH rest AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rests AS jsonb)) AS rest(
        id bigint, rest_s float8, wait_s float8, is_probe boolean)
),
forgotten AS (
    DELETE FROM {SCHEMA}.receiver WHERE rests_until < now() - make_interval(secs => :forget_after_s)
      AND id NOT IN (SELECT id FROM rest)
),
-- It rests already, for as long as its probe may take: from now on for as long as the rest says.
rested AS (
    UPDATE {SCHEMA}.receiver SET rest_s = rest.rest_s, rests_until = now() + make_interval(secs => rest.wait_s)
    FROM rest WHERE rest.is_probe AND receiver.id = rest.id
)
INSERT INTO {SCHEMA}.receiver AS known (id, rest_s, rests_until)
SELECT id, rest_s, now() + make_interval(secs => wait_s) FROM rest WHERE NOT is_probe
ON CONFLICT (id) DO UPDATE SET rest_s = GREATEST(known.rest_s, excluded.rest_s),
    rests_until = GREATEST(known.rests_until, excluded.rests_until)
"""

_BURY: Final = f"""
WITH stale AS (
    UPDATE {SCHEMA}.outbox SET is_dead = true, holder = NULL WHERE id IN (
        SELECT outbox.id FROM {SCHEMA}.outbox WHERE {_OPEN} AND receiver = ANY (CAST(:ids AS bigint[]))
            AND due_at < now() - make_interval(secs => :stale_s)
        LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING *
),
logged AS (
    INSERT INTO {SCHEMA}.delivery ({_LOGGED})
    SELECT event_id, event_created_at, endpoint.tenant, job_id, endpoint.id, stale.url, LEAST(attempts + 1, 32767),
        'dead', NULL, 'not tried: the receiver has failed for days', 0, '', NULL
    FROM stale JOIN {SCHEMA}.endpoint ON endpoint.id = stale.endpoint_id FOR KEY SHARE OF endpoint
)
SELECT count(*) FROM stale
"""
