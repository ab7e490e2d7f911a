"""News: which jobs a committed transaction has changed, and the hint about it that listeners hear.

A hint (NOTIFY) says where to look and nothing else; what happened stands in the tables.
It is never part of the transaction it tells of: the server lets commits with a NOTIFY
through one by one. So a move only notes its jobs on its connection, and they are handed
on when that goes back to its pool, after the commit. A transaction that was rolled back
is noted as well: whoever looks then finds nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from sqlalchemy import event, text

from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

CHANNEL: Final = "runware_jobs_news"

MOST_NAMED: Final = 60
"""How many jobs a hint names; with a batch of its own for each it still fits into a NOTIFY (8,000 bytes)."""

_NOTED: Final = "runware_jobs_noted"


@dataclass(frozen=True, slots=True)
class Hint:
    """Where to look: at these jobs and batches. `is_many`: they were too many to name, so at all.

    `echo` is what a listener sends to itself, to find out whether it hears.
    """

    jobs: frozenset[UUID] = frozenset()
    batches: frozenset[UUID] = frozenset()
    is_many: bool = False
    echo: str | None = None


def read_hint(payload: str) -> Hint:
    """Read a notification; what cannot be read, a newer program's, says to look at everything."""
    try:
        told = orjson.loads(payload)
        return Hint(
            jobs=frozenset(UUID(one) for one in told.get("jobs", ())),
            batches=frozenset(UUID(one) for one in told.get("batches", ())),
            is_many=bool(told.get("many", False)),
            echo=told.get("echo"),
        )
    except (ValueError, TypeError, AttributeError):
        return Hint(is_many=True)


def note(connection: AsyncConnection, job_ids: Iterable[UUID | str]) -> None:
    """Note that this transaction changes these jobs; forgotten where nobody wants to know (`hear_commits`)."""
    noted: set[UUID] | None = connection.info.get(_NOTED)
    if noted is not None:
        noted.update(one if isinstance(one, UUID) else UUID(one) for one in job_ids)


def hear_commits(engine: AsyncEngine, hear: Callable[[set[UUID]], None]) -> None:
    """Call `hear` with the noted jobs of each transaction of this engine, once it is over.

    For an engine that has no connection yet. `hear` runs on the engine's loop and must not wait.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def _begin(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_NOTED] = set()

    @event.listens_for(engine.sync_engine, "checkin")
    def _hand_on(_connection: object, record: ConnectionPoolEntry) -> None:
        noted: set[UUID] | None = record.info.get(_NOTED)
        if noted:
            record.info[_NOTED] = set()
            hear(noted)


async def tell(connection: AsyncConnection, job_ids: Collection[UUID]) -> None:
    """Send the hint about these jobs, and the batches they are in; `connection` commits each statement."""
    if len(job_ids) > MOST_NAMED:
        await _notify(connection, {"many": True})
        return
    values = {"channel": CHANNEL, "ids": [str(job_id) for job_id in job_ids]}
    await connection.execute(text(_TELL), values)


async def send_echo(connection: AsyncConnection, echo: str) -> None:
    """Send what a listener waits to hear from itself; `connection` commits each statement."""
    await _notify(connection, {"echo": echo})


async def _notify(connection: AsyncConnection, told: dict[str, Any]) -> None:
    payload = orjson.dumps(told).decode()
    await connection.execute(
        text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
    )


_TELL: Final = f"""
SELECT pg_notify(:channel, CAST(json_build_object('jobs', CAST(:ids AS text[]), 'batches', COALESCE((
    SELECT json_agg(DISTINCT batch_id) FROM {SCHEMA}.job
    WHERE id = ANY (CAST(:ids AS uuid[])) AND batch_id IS NOT NULL), '[]')) AS text))
"""
