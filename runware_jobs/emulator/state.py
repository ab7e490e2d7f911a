"""The state file: tasks, money, the ledger and uploads in SQLite, so that a restart keeps them.

Written once a second when something changed, and on shutdown: a killed emulator forgets at most its last
second. Faults, latencies and switches are not kept; they belong to a run.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from .accounts import Account
from .ledger import Entry, Requests, Totals
from .media import Media
from .tasks import task_from_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .protocol import Platform

_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (uuid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (uuid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS media (uuid TEXT PRIMARY KEY, record BLOB NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS book (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
"""
_UPSERT = "INSERT OR REPLACE INTO {table} VALUES ({marks})"


class StateFile:
    """One open state file. `load` first, then `save` as often as wanted, then `close`."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises sqlite3.DatabaseError for a file that is none of ours."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self._saved_requests = -1

    def load(self, platform: Platform) -> None:
        """Fill an empty platform; its running tasks go on, and what ended meanwhile is booked."""
        for record in self._records("book", "name = 'accounts'"):
            for fields in record:
                account = Account(**fields)
                platform.accounts.by_uuid[account.organization_uuid] = account
        for record in self._records("book", "name = 'ledger'"):
            platform.ledger.requests = Requests(**record["requests"])
            platform.ledger.totals = Totals(**record["totals"])
            platform.archive_overrides.update(record["archive_overrides"])
        for uuid, blob in self._database.execute("SELECT uuid, record FROM entry"):
            platform.ledger.entries[uuid] = Entry(*orjson.loads(blob))
        for uuid, blob, body in self._database.execute("SELECT uuid, record, body FROM media"):
            platform.media[uuid] = Media(uuid, body=body, **orjson.loads(blob))
        for record in self._records("task", "TRUE"):
            platform.adopt(task_from_record(record))
        for record in self._records("book", "name = 'models'"):
            for air, slug, task_type in record:
                platform.catalogue.add_private(air, slug, task_type)

    def save(self, platform: Platform) -> None:
        """Write what changed since the last save, in one transaction."""
        requests = platform.ledger.requests.total
        if requests == self._saved_requests and not platform.dirty_tasks and not platform.dirty_media:
            return
        tasks = [
            (uuid, orjson.dumps(platform.tasks[uuid].to_record()))
            for uuid in platform.dirty_tasks
            if uuid in platform.tasks
        ]
        entries = [
            (uuid, orjson.dumps(platform.ledger.entries[uuid].to_record())) for uuid in platform.dirty_tasks
        ]
        with self._transaction():
            self._database.executemany(_UPSERT.format(table="task", marks="?, ?"), tasks)
            self._database.executemany(_UPSERT.format(table="entry", marks="?, ?"), entries)
            for uuid in platform.dirty_media:
                self._save_media(uuid, platform.media.get(uuid))
            for name, record in _books(platform).items():
                self._database.execute(
                    _UPSERT.format(table="book", marks="?, ?"), (name, orjson.dumps(record))
                )
        platform.dirty_tasks.clear()
        platform.dirty_media.clear()
        self._saved_requests = requests

    def clear(self) -> None:
        """Forget everything, after the platform was reset."""
        with self._transaction():
            for table in ("task", "entry", "media", "book"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608  # names of our own tables
        self._saved_requests = -1

    def close(self) -> None:
        self._database.close()

    def _save_media(self, uuid: str, media: Media | None) -> None:
        if media is None:
            self._database.execute("DELETE FROM media WHERE uuid = ?", (uuid,))
            return
        record = {
            "account": media.account,
            "content_type": media.content_type,
            "extension": media.extension,
            "source_url": media.source_url,
        }
        self._database.execute(
            _UPSERT.format(table="media", marks="?, ?, ?"), (uuid, orjson.dumps(record), media.body)
        )

    def _records(self, table: str, condition: str) -> Iterator[Any]:
        rows = self._database.execute(f"SELECT record FROM {table} WHERE {condition}")  # noqa: S608  # both are literals of this file
        for (blob,) in rows.fetchall():
            yield orjson.loads(blob)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _books(platform: Platform) -> dict[str, Any]:
    return {
        "accounts": [asdict(account) for account in platform.accounts.by_uuid.values()],
        "ledger": {
            "requests": asdict(platform.ledger.requests),
            "totals": asdict(platform.ledger.totals),
            "archive_overrides": platform.archive_overrides,
        },
        "models": [(model.air, model.slug, model.task_type) for model in platform.catalogue if model.private],
    }
