"""Engines for the one database, and the schema's own life: present, migrated, partitioned."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runware_jobs.errors import DatabaseBehind

from .accounts import ensure_installation
from .tables import SCHEMA

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.pool import ConnectionPoolEntry

# Alembic keeps its context in module globals: one migration at a time in a process.
_ALEMBIC = threading.Lock()
# CREATE TABLE IF NOT EXISTS does not wait for another that is under way.
_PARTITIONS_LOCK: Final = 7_281_590_214
_PACKAGE: Final = Path(__file__).resolve().parents[1]


def sync_url(database_url: str) -> str:
    """Turn any spelling of a Postgres URL into SQLAlchemy's for psycopg 3."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if database_url.startswith(prefix):
            return "postgresql+psycopg://" + database_url.removeprefix(prefix)
    return database_url


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


_OPTIONS: Final[dict[str, Any]] = {
    "json_serializer": _dump,
    "json_deserializer": orjson.loads,
    "pool_timeout": 30,
    # Errors are logged; parameters hold prompts and secrets.
    "hide_parameters": True,
}

# A connection that rested for longer is asked before it is used: a restarted server or a
# proxy may have dropped it. One in use is not asked each time: that was every sixth round trip.
_ASKED_AFTER_S: Final = 1.0

# A server that has gone without a word is noticed in half a minute, not in two hours.
KEEPALIVES: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}


def open_engine(
    database_url: str,
    *,
    pool_size: int,
    name: str = "runware-jobs",
    longest_transaction_pause_s: float | None = None,
) -> AsyncEngine:
    """Open an engine with at most `pool_size` connections, none of them yet opened.

    `name` is how Postgres lists them (`pg_stat_activity.application_name`).

    `longest_transaction_pause_s`: a transaction in which nothing happens for so long is
    ended by the server, and so is the wait for a lock; None leaves both to the server's
    own settings. A worker that is stopped, or cut off, between two statements would else
    keep its locks, and with them every other worker, for as long as it likes.
    """
    engine = create_async_engine(
        sync_url(database_url),
        pool_size=pool_size,
        max_overflow=0,
        # A worker tries again by itself (`_ask_the_rested`); a producer's caller should not have to.
        pool_pre_ping=longest_transaction_pause_s is None,
        connect_args={"connect_timeout": 10, "application_name": name, **KEEPALIVES},
        **_OPTIONS,
    )
    if longest_transaction_pause_s is not None:
        _ask_the_rested(engine.sync_engine)
        limit_ms = max(1, int(longest_transaction_pause_s * 1000))

        @event.listens_for(engine.sync_engine, "connect")
        def _limit(connection: Any, _record: object) -> None:
            # By SET, not by `options`: poolers refuse those at the start of a session.
            cursor = connection.cursor()
            cursor.execute(f"SET idle_in_transaction_session_timeout = {limit_ms}")
            cursor.execute(f"SET lock_timeout = {limit_ms}")
            cursor.close()
            connection.commit()

    return engine


def _open_sync(database_url: str) -> Engine:
    return create_engine(sync_url(database_url), connect_args={"connect_timeout": 10}, **_OPTIONS)


def open_sync_engine(database_url: str, *, name: str) -> Engine:
    """Open an engine for threads of a sync program: one connection rests, more are opened when they are needed."""
    return create_engine(
        sync_url(database_url),
        pool_size=1,
        max_overflow=15,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 10, "application_name": name, **KEEPALIVES},
        **_OPTIONS,
    )


def _ask_the_rested(engine: Engine) -> None:
    """Replace what the server has dropped before it is used: no step fails for a stale socket alone."""

    @event.listens_for(engine, "checkin")
    def _rests(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        rests_since = record.info.pop("rests_since", None)
        if rests_since is None or time.monotonic() - rests_since < _ASKED_AFTER_S:
            return
        dialect = engine.dialect
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection, None):
                raise
            # All that rested are gone with it; the pool opens another and goes on.
            raise InvalidatePoolError from error


def migrations_folder() -> Path:
    """Find the migrations: inside the installed wheel, else at the root of a checkout."""
    inside = _PACKAGE / "migrations"
    return inside if inside.is_dir() else _PACKAGE.parent / "migrations"


def alembic_config() -> Config:
    """Configure Alembic without a file, so that it works wherever the package is installed."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def head_revision() -> str:
    """Name the revision that this code was written for."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None  # noqa: S101  a checkout or wheel without migrations is broken
    return head


def migrate(database_url: str, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to `revision` and return the revisions before and after.

    Commits. Safe to run twice, and twice at once. Also makes the event
    partitions of this and the coming months, and the installation's secret.
    """
    engine = _open_sync(database_url)
    try:
        with engine.connect() as connection:
            before = _revision(connection)
            config = alembic_config()
            config.attributes["connection"] = connection
            connection.rollback()
            with _ALEMBIC:
                if revision == "base" or _is_older(revision, before):
                    command.downgrade(config, revision)
                else:
                    command.upgrade(config, revision)
            after = _revision(connection)
            if after is not None:
                ensure_event_partitions(connection)
                ensure_installation(connection)
            connection.commit()
        return before, after
    finally:
        engine.dispose()


def _is_older(revision: str, current: str | None) -> bool:
    if revision == "head" or current is None or revision == current:
        return False
    script = ScriptDirectory.from_config(alembic_config())
    return any(step.revision == revision for step in script.iterate_revisions(current, "base"))


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    return context.get_current_revision()


def ensure_event_partitions(connection: Connection, *, months_ahead: int = 3) -> None:
    """Make the monthly partitions of `event` from now on; what is there stays.

    Runs in the caller's transaction. A default partition catches what no month
    has, so that a clock gone wrong costs a slow query, never an event. A month that
    it has caught already stays there.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PARTITIONS_LOCK})
    # In UTC, whatever zone the session is in: months must not overlap.
    months = connection.execute(
        text(
            "SELECT starts_at AT TIME ZONE 'UTC' AS starts_at,"
            " (starts_at + make_interval(months => 1)) AT TIME ZONE 'UTC' AS ends_at,"
            " to_char(starts_at, 'YYYY_MM') AS name"
            " FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n) AS starts_at"
            " FROM generate_series(0, :months) AS n) AS month"
        ),
        {"months": months_ahead},
    )
    for starts_at, ends_at, name in months.all():
        caught = connection.execute(
            text(
                f"SELECT EXISTS (SELECT FROM {SCHEMA}.event_default WHERE created_at >= :starts_at"
                " AND created_at < :ends_at)"
            ),
            {"starts_at": starts_at, "ends_at": ends_at},
        )
        if caught.scalar_one():
            continue
        connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {SCHEMA}.event_{name} PARTITION OF {SCHEMA}.event"
                f" FOR VALUES FROM ('{starts_at.isoformat()}') TO ('{ends_at.isoformat()}')"
            )
        )


async def require_schema(connection: AsyncConnection) -> None:
    """Refuse a database that this code cannot write to.

    A newer schema is fine: migrations keep the code before them running.

    Raises:
        DatabaseBehind: the schema is missing or older than this code.
    """
    current = await connection.run_sync(_revision)
    known = {step.revision for step in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is None:
        raise DatabaseBehind("The database has no runware_jobs tables: run `runware-jobs migrate`.")
    if current in known and current != head_revision():
        raise DatabaseBehind(
            f"The database is at revision {current}, this code needs {head_revision()}:"
            " run `runware-jobs migrate`."
        )


def is_unreachable(error: BaseException) -> bool:
    """Tell whether `error` says that the database could not be reached at all."""
    return isinstance(error, OperationalError)
