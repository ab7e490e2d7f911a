"""Recount: what counters say against the attempts that are alive, and put right where they differ.

Counters are kept by claims and ends. Old code during an upgrade, or a defect, may leave
one off; nothing else would ever notice a place that is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.states import AttemptState

from .columns import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Correction:
    """One counter that was off: of which row, and what it was and is."""

    table: str
    row: str
    counter: str
    was: Decimal
    now: Decimal


async def recount(connection: AsyncConnection, account_id: int) -> list[Correction]:
    """Recompute places and holds of an account, its flows and buckets, and of batches and tenants.

    From attempts that are alive, under the account's lock, which is held to the commit.
    What was spent is not touched.
    """
    values = {"account_id": account_id}
    # Whoever changes a counter has its row locked: locks first, then a statement that
    # sees what they have committed.
    for statement in _LOCKS:
        await connection.execute(text(statement), values)
    found: list[Correction] = []
    for table, statement in _RECOUNTS.items():
        for row in await connection.execute(text(statement), values):
            found += [
                Correction(table, row.name, counter, Decimal(was), Decimal(now))
                for counter, was, now in (
                    ("in_flight", row.was_in_flight, row.in_flight),
                    ("held_usd", row.was_held_usd, row.held_usd),
                )
                if was != now
            ]
    return found


_ALIVE: Final = f"attempt.state NOT IN ('{AttemptState.PREPARED}', '{AttemptState.ENDED}')"

_LOCKS: Final = (
    f"SELECT id FROM {SCHEMA}.account WHERE id = :account_id FOR NO KEY UPDATE",
    f"""
    SELECT id FROM {SCHEMA}.batch WHERE held_usd <> 0 OR id IN (
        SELECT job.batch_id FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id WHERE {_ALIVE})
    ORDER BY id FOR NO KEY UPDATE""",
    f"SELECT name FROM {SCHEMA}.tenant ORDER BY name FOR NO KEY UPDATE",
    # Of attempts that old code has claimed.
    f"""
    INSERT INTO {SCHEMA}.flow (account_id, lane, model)
    SELECT DISTINCT attempt.account_id, job.lane, job.model
    FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id
    WHERE attempt.account_id = :account_id AND {_ALIVE} ON CONFLICT DO NOTHING""",
)


def _recounting(table: str, name: str, key: str, *, where: str, counts: tuple[str, ...]) -> str:
    """Write the UPDATE of one table, whose row called `name` counts the attempts of `key`."""
    sets = ", ".join(f"{counter} = due.{counter}" for counter in counts)
    before, now = (
        ", ".join(
            f"{source.format(counter)} AS {prefix}{counter}"
            if counter in counts
            else f"0 AS {prefix}{counter}"
            for counter in ("in_flight", "held_usd")
        )
        for source, prefix in ((f"{table}.{{}}", "was_"), ("COALESCE(alive.{}, 0)", ""))
    )
    differs = " OR ".join(f"due.was_{counter} <> due.{counter}" for counter in counts)
    return f"""
    WITH alive AS (
        SELECT {key} AS name, count(*) AS in_flight, COALESCE(sum(hold_usd), 0) AS held_usd
        FROM {SCHEMA}.attempt JOIN {SCHEMA}.job ON job.id = attempt.job_id WHERE {_ALIVE} GROUP BY 1
    ),
    due AS (
        SELECT {name} AS name, {before}, {now}
        FROM {SCHEMA}.{table} LEFT JOIN alive ON alive.name = {name} WHERE {where}
    )
    UPDATE {SCHEMA}.{table} SET {sets} FROM due WHERE {name} = due.name AND {where} AND ({differs}) RETURNING due.*
    """


_OURS: Final = "account_id = :account_id"

_RECOUNTS: Final[dict[str, str]] = {
    "account": _recounting(
        "account",
        "CAST(account.id AS text)",
        "CAST(attempt.account_id AS text)",
        where="account.id = :account_id",
        counts=("in_flight", "held_usd"),
    ),
    "flow": _recounting(
        "flow",
        "concat_ws(' ', flow.account_id, flow.lane, flow.model)",
        "concat_ws(' ', attempt.account_id, job.lane, job.model)",
        where=f"flow.{_OURS}",
        counts=("in_flight",),
    ),
    "bucket": _recounting(
        "bucket",
        "CAST(bucket.id AS text)",
        "CAST(job.bucket_id AS text)",
        where=f"bucket.{_OURS}",
        counts=("in_flight",),
    ),
    "batch": _recounting(
        "batch", "CAST(batch.id AS text)", "CAST(job.batch_id AS text)", where="true", counts=("held_usd",)
    ),
    "tenant": _recounting("tenant", "tenant.name", "job.tenant", where="true", counts=("held_usd",)),
}
