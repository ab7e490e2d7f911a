"""The schema's own life: made, compared with the tables, taken down, and beside somebody else's."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from runware_jobs.errors import DatabaseBehind
from runware_jobs.store.database import (
    alembic_config,
    ensure_event_partitions,
    head_revision,
    migrate,
    open_engine,
    require_schema,
    sync_url,
)
from runware_jobs.store.tables import SCHEMA, metadata
from tests.support.polling import poll_until
from tests.support.queued import enqueue_jobs

REVISIONS = [step.revision for step in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


def rows(url, statement):
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def run(url, *statements):
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def tables(url, schema=SCHEMA):
    return {
        name
        for (name,) in rows(
            url, f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"
        )
    }


def partitions(url):
    return {name for name in tables(url) if name.startswith("event_")}


@pytest.fixture
def host_application(empty_database):
    """A database in which another application lives, with an Alembic history of its own."""
    run(
        empty_database,
        "CREATE TABLE job (id int PRIMARY KEY, note text)",
        "INSERT INTO job VALUES (1, 'not ours')",
        "CREATE TABLE event_log (id int)",
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('theirs')",
    )
    return empty_database


def what_the_host_has(url):
    return (
        rows(url, "SELECT * FROM public.job"),
        rows(url, "SELECT version_num FROM public.alembic_version"),
        tables(url, "public"),
    )


UNTOUCHED = ([(1, "not ours")], [("theirs",)], {"job", "event_log", "alembic_version"})


def differences(url):
    """What `alembic revision --autogenerate` would write."""

    def compared(thing, name, kind, reflected, _compare_to):
        if kind == "table":
            return not (reflected and name.startswith("event_"))
        # Postgres spells an expression in its own way, so its text tells nothing: `catalogue` compares it.
        return not (kind == "index" and any(not hasattr(part, "name") for part in thing.expressions))

    engine = create_engine(sync_url(url))
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _parents: name == SCHEMA if kind == "schema" else True,
            "include_object": compared,
            "compare_server_default": True,
            "version_table_schema": SCHEMA,
        }
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    return found


def catalogue(url):
    """Our tables as Postgres describes them: columns, constraints, indexes and comments; partitions left out."""
    with psycopg.connect(url) as connection:
        return {
            kind: set(connection.execute(statement, {"schema": SCHEMA}).fetchall())
            for kind, statement in CATALOGUE.items()
        }


OURS = """pg_class AS t WHERE t.relnamespace = %(schema)s::regnamespace AND t.relkind IN ('r', 'p')
    AND NOT t.relispartition AND t.relname <> 'alembic_version'"""
CATALOGUE = {
    "columns": f"""SELECT t.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
        pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute AS a
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        JOIN (SELECT oid, relname FROM {OURS}) AS t ON t.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": f"""SELECT t.relname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        JOIN (SELECT oid, relname FROM {OURS}) AS t ON t.oid = c.conrelid WHERE c.contype <> 'n'""",
    "indexes": f"""SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i
        JOIN (SELECT oid FROM {OURS}) AS t ON t.oid = i.indrelid""",
    "comments": f"SELECT t.relname, obj_description(t.oid), pg_get_partkeydef(t.oid) FROM {OURS}",
}


def test_migrations_make_exactly_the_tables(empty_database):
    assert migrate(empty_database) == (None, head_revision())

    assert differences(empty_database) == []


def test_migrations_make_exactly_what_the_tables_would(empty_database):
    migrate(empty_database)
    migrated = catalogue(empty_database)
    run(empty_database, f"DROP SCHEMA {SCHEMA} CASCADE", f"CREATE SCHEMA {SCHEMA}")
    engine = create_engine(sync_url(empty_database))
    metadata.create_all(engine)
    engine.dispose()

    assert migrated == catalogue(empty_database)
    assert all(migrated.values())


def test_second_migrate_changes_nothing(empty_database):
    migrate(empty_database)
    secret = rows(empty_database, f"SELECT secret FROM {SCHEMA}.installation")

    assert migrate(empty_database) == (head_revision(), head_revision())
    assert rows(empty_database, f"SELECT secret FROM {SCHEMA}.installation") == secret


def test_two_migrates_at_once_both_succeed(empty_database):
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: migrate(empty_database)[1], range(2)))

    assert ended == [head_revision()] * 2
    assert rows(empty_database, f"SELECT count(*) FROM {SCHEMA}.installation") == [(1,)]


@pytest.mark.slow
def test_two_processes_that_migrate_at_once_both_succeed(empty_database):
    program = "import sys; from runware_jobs.store.database import migrate; migrate(sys.argv[1])"
    command = [sys.executable, "-c", program, empty_database]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in started]

    assert errors == [b""] * 3
    assert [process.returncode for process in started] == [0] * 3
    assert differences(empty_database) == []


def test_down_and_up_leave_a_host_application_alone(host_application):
    migrate(host_application)
    assert what_the_host_has(host_application) == UNTOUCHED

    migrate(host_application, "base")
    assert tables(host_application) <= {"alembic_version"}
    assert what_the_host_has(host_application) == UNTOUCHED

    migrate(host_application)
    assert differences(host_application) == []
    assert what_the_host_has(host_application) == UNTOUCHED


async def test_down_and_up_work_with_jobs_in_the_tables(empty_database):
    migrate(empty_database)
    engine = open_engine(empty_database, pool_size=2)
    async with engine.begin() as connection:
        await enqueue_jobs(connection, 3)
    await engine.dispose()

    migrate(empty_database, "base")
    migrate(empty_database)

    assert rows(empty_database, f"SELECT count(*) FROM {SCHEMA}.job") == [(0,)]
    assert differences(empty_database) == []


def test_each_revision_can_be_taken_back_alone(empty_database):
    for revision in reversed(REVISIONS):
        assert migrate(empty_database, revision)[1] == revision
    for revision in REVISIONS[1:]:
        assert migrate(empty_database, revision)[1] == revision
    migrate(empty_database)

    assert differences(empty_database) == []


async def schema_error(url):
    engine = open_engine(url, pool_size=2)
    try:
        async with engine.connect() as connection:
            await require_schema(connection)
    finally:
        await engine.dispose()


async def test_database_without_tables_is_refused_with_the_remedy(empty_database):
    with pytest.raises(DatabaseBehind, match="run `runware-jobs migrate`"):
        await schema_error(empty_database)


async def test_migrated_database_is_accepted(empty_database):
    migrate(empty_database)

    await schema_error(empty_database)


async def test_newer_schema_is_accepted(empty_database):
    migrate(empty_database)
    run(empty_database, f"UPDATE {SCHEMA}.alembic_version SET version_num = 'from_tomorrow'")

    await schema_error(empty_database)


async def test_every_older_schema_is_refused(empty_database):
    # The first revision has none before it: what is older than that is the empty database above.
    for revision in REVISIONS[1:]:
        migrate(empty_database, revision)
        with pytest.raises(DatabaseBehind, match=f"at revision {revision}"):
            await schema_error(empty_database)


def test_months_to_come_have_their_partitions(empty_database):
    migrate(empty_database)
    [months] = rows(
        empty_database,
        "SELECT array_agg(to_char(date_trunc('month', now()) + make_interval(months => n), 'YYYY_MM'))"
        " FROM generate_series(0, 3) AS n",
    )

    assert partitions(empty_database) == {"event_default", *(f"event_{month}" for month in months[0])}


def test_partitions_are_made_once_and_further_ahead_when_asked(empty_database):
    migrate(empty_database)
    before = partitions(empty_database)
    engine = create_engine(sync_url(empty_database))
    with engine.begin() as connection:
        ensure_event_partitions(connection)
        ensure_event_partitions(connection, months_ahead=5)
    engine.dispose()

    assert len(partitions(empty_database) - before) == 2
    assert before < partitions(empty_database)


def test_partitions_that_somebody_else_is_making_are_waited_for(empty_database):
    migrate(empty_database)
    engine = create_engine(sync_url(empty_database))

    def make_them():
        with engine.begin() as connection:
            ensure_event_partitions(connection, months_ahead=5)

    with ThreadPoolExecutor(1) as pool, engine.begin() as first:
        ensure_event_partitions(first, months_ahead=5)
        second = pool.submit(make_them)
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        poll_until(lambda: rows(empty_database, waiting), what="the second at the lock")
        first.commit()
        second.result(timeout=10)
    engine.dispose()


@pytest.mark.parametrize(
    ("when", "partition"),
    [
        (datetime(2999, 1, 1, tzinfo=UTC), "event_default"),
        (datetime(1999, 1, 1, tzinfo=UTC), "event_default"),
        (datetime.now(UTC), f"event_{datetime.now(UTC):%Y_%m}"),
    ],
    ids=["a clock far ahead", "a clock far behind", "now"],
)
def test_event_of_any_time_has_a_place(empty_database, when, partition):
    migrate(empty_database)
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            f"INSERT INTO {SCHEMA}.event (id, created_at, type, tenant) VALUES (%s, %s, 'job.queued', 'acme')",
            (uuid4(), when),
        )
        [(place,)] = connection.execute(f"SELECT tableoid::regclass::text FROM {SCHEMA}.event").fetchall()

    assert place == f"{SCHEMA}.{partition}"


def test_database_url_is_read_in_any_spelling():
    spellings = ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"]

    assert {sync_url(url) for url in spellings} == {"postgresql+psycopg://u@h/d"}
