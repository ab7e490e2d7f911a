"""Rows as they stand, read past our own store, so that a test sees what was written and not what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from runware_jobs.store.tables import SCHEMA

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


async def read_rows(connection: AsyncConnection, statement: str, **values: Any) -> list[dict[str, Any]]:
    """Run a SELECT in which bare table names are those of our schema."""
    await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}, public"))
    rows = await connection.execute(text(statement), values)
    return [dict(row) for row in rows.mappings()]


async def change_rows(connection: AsyncConnection, statement: str, **values: Any) -> None:
    """Write past our store: what time, a crash or a person at the database would have done."""
    await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}, public"))
    await connection.execute(text(statement), values)


async def read_job(connection: AsyncConnection, job_id: UUID) -> dict[str, Any]:
    """Read one job's row."""
    [row] = await read_rows(connection, "SELECT * FROM job WHERE id = :id", id=job_id)
    return row


async def read_attempts(connection: AsyncConnection, job_id: UUID) -> list[dict[str, Any]]:
    """Read a job's attempts, in order."""
    return await read_rows(
        connection, "SELECT * FROM attempt WHERE job_id = :id ORDER BY run, number", id=job_id
    )


async def read_event_types(connection: AsyncConnection, job_id: UUID) -> list[str]:
    """Read the types of a job's events by `seq`, and check that no number is missing or doubled."""
    rows = await read_rows(
        connection, "SELECT type, seq FROM event WHERE job_id = :id ORDER BY seq", id=job_id
    )
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "seq has gaps"
    return [row["type"] for row in rows]


async def read_counters(connection: AsyncConnection) -> dict[str, Any]:
    """Sum what is counted as being under way, over all accounts, buckets and batches."""
    [row] = await read_rows(
        connection,
        """
        SELECT (SELECT COALESCE(sum(in_flight), 0) FROM account) AS account_in_flight,
               (SELECT COALESCE(sum(in_flight), 0) FROM bucket) AS bucket_in_flight,
               (SELECT COALESCE(sum(held_usd), 0) FROM account) AS account_held_usd,
               (SELECT COALESCE(sum(held_usd), 0) FROM batch) AS batch_held_usd
        """,
    )
    return {name: float(value) for name, value in row.items()}


NOTHING_UNDER_WAY = {
    "account_in_flight": 0.0,
    "bucket_in_flight": 0.0,
    "account_held_usd": 0.0,
    "batch_held_usd": 0.0,
}
