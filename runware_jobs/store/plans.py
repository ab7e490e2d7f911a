"""Statements apart from the connection that runs them.

Enqueue must run on whatever the caller's transaction lives on: our async engine, a
SQLAlchemy session of a web app, a bare psycopg connection. A *plan* is a generator
that yields a `Statement` and is sent the rows; the three drivers below run it. So
the SQL, and the decisions between two statements, are written once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import orjson
import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from runware_jobs.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from sqlalchemy import Result, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    Rows = Sequence[Mapping[str, Any]]

_T = TypeVar("_T")
_DEADLOCK: Final = "40P01"
_DIALECT: Final = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # untyped upstream


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `:name` parameters, and their values."""

    sql: str
    values: Mapping[str, Any] = field(default_factory=dict)


def as_json(rows: object) -> str:
    """Encode rows for `jsonb_to_recordset`: one parameter, whatever their number."""
    return orjson.dumps(rows, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


async def run_async(connection: AsyncConnection | AsyncSession, plan: Generator[Statement, Rows, _T]) -> _T:
    """Run a plan in the transaction of an async SQLAlchemy connection or session."""
    rows: Rows | None = None
    while True:
        try:
            statement = plan.send(rows) if rows is not None else next(plan)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # a generator's value is untyped at run time
        result = await connection.execute(_text(statement.sql), dict(statement.values))
        rows = _rows(result)


def run_sync(connection: object, plan: Generator[Statement, Rows, _T]) -> _T:
    """Run a plan in the transaction of a caller's sync connection; never commits.

    Raises:
        InvalidJob: `connection` is none of SQLAlchemy's Session or Connection and
            psycopg's Connection.
    """
    rows: Rows | None = None
    while True:
        try:
            statement = plan.send(rows) if rows is not None else next(plan)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # a generator's value is untyped at run time
        rows = _execute(connection, statement)


def _execute(connection: object, statement: Statement) -> Rows:
    if isinstance(connection, Session | Connection):
        result = connection.execute(_text(statement.sql), dict(statement.values))
        return _rows(result)
    if isinstance(connection, psycopg.Connection):
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(_for_psycopg(statement.sql), dict(statement.values))
            return cursor.fetchall() if cursor.description else []
    raise InvalidJob(
        f"session must be a SQLAlchemy Session or Connection, or a psycopg Connection, not {type(connection).__name__}",
        parameter="session",
    )


def _rows(result: Result[Any]) -> Rows:
    # A row by name is a view of the row: of a thousand, no thousand dicts are made.
    return cast("Rows", result.mappings().all()) if result.returns_rows else []  # type: ignore[attr-defined]  # CursorResult at run time


def is_deadlock(error: BaseException) -> bool:
    """Tell whether the server has rolled this transaction back because another waited for it in turn."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) == _DEADLOCK


@lru_cache(maxsize=64)
def _text(sql: str) -> TextClause:
    # Finding the parameters in a long statement costs as much as a round trip.
    return text(sql)


@lru_cache(maxsize=64)
def _for_psycopg(sql: str) -> bytes:
    return str(text(sql).compile(dialect=_DIALECT)).encode()
