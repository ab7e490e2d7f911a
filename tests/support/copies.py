"""A copy of the database as it was at one moment, to be put back later."""

from __future__ import annotations

from typing import Final

import psycopg

from runware_jobs.store.tables import SCHEMA, metadata


class Copy:
    """All rows of our tables, read in one snapshot; the writers go on meanwhile."""

    def __init__(self, database_url: str) -> None:
        self._url: Final = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._rows: dict[str, bytes] = {}
        with psycopg.connect(self._url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.taken_at = connection.execute("SELECT now()").fetchone()[0]  # type: ignore[index]  # always a row
            for name in _TABLES:
                with connection.cursor().copy(f"COPY (SELECT * FROM {SCHEMA}.{name}) TO STDOUT") as reading:
                    self._rows[name] = b"".join(bytes(block) for block in reading)

    def restore(self) -> None:
        """Put everything back as it was; nobody may be connected who writes."""
        with psycopg.connect(self._url) as connection:
            connection.execute("SET lock_timeout = '10s'")
            connection.execute(f"TRUNCATE {', '.join(f'{SCHEMA}.{name}' for name in _TABLES)} CASCADE")
            for name in _TABLES:
                with connection.cursor().copy(f"COPY {SCHEMA}.{name} FROM STDIN") as writing:
                    writing.write(self._rows[name])


_TABLES: Final = tuple(table.name for table in metadata.sorted_tables)
