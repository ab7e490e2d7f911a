"""How Alembic reaches the database: a connection handed in, or RUNWARE_JOBS_DATABASE_URL.

Only objects of the schema `runware_jobs` are looked at: a host application's
own tables, and its own Alembic history, live beside ours untouched. Partitions of
`event` come and go with the months and belong to no revision.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, text

from runware_jobs.store.database import sync_url
from runware_jobs.store.tables import SCHEMA, metadata

# Two `runware-jobs migrate` at once: the second waits, then finds nothing to do.
_LOCK = 7_281_590_213


def _ours(thing: Any, name: str | None, type_: str, reflected: bool, _compare_to: Any) -> bool:
    if type_ == "index":
        # Postgres spells an expression in its own way: comparing the text finds a change where there is none.
        return all(hasattr(part, "name") for part in thing.expressions)
    return not (type_ == "table" and reflected and (name or "").startswith("event_"))


def _schemas(name: str | None, type_: str, _parents: Any) -> bool:
    return name == SCHEMA if type_ == "schema" else True


def _migrate(connection: Connection) -> None:
    with connection.begin():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_object=_ours,
            include_name=_schemas,
            compare_server_default=True,
        )
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    engine = create_engine(sync_url(os.environ["RUNWARE_JOBS_DATABASE_URL"]))
    with engine.connect() as opened:
        _migrate(opened)
