"""The state file: tasks, money, the ledger, uploads and trained models in SQLite, so that a restart keeps them.

Kept at every answer: what an answer promises (a task accepted, a file stored, a UUID refused as taken) is
committed before it leaves, in one transaction with the money and the ledger; a killed process (kill -9)
loses none of it. SQLite's write-ahead log is not flushed to the disk each time, so a machine that loses
its power may lose the last moments, as a whole. What ends without anybody asking is written once a second
and lost by nobody: it follows from the task and the time, and is booked again after the restart.

Not kept: sessions and their undelivered frames, callbacks that are being made, counts of polls of the
last second, single requests of the ledger (their sums are kept), faults, latencies and switches.
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
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .protocol import Platform

# Tables of (key, JSON); media has the bytes beside them.
_TABLES = ("task", "entry", "media", "archive", "book")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (uuid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (uuid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS archive (uuid TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS media (uuid TEXT PRIMARY KEY, record BLOB NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS book (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
"""


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
        for fields in self._book("accounts") or ():
            account = Account(**fields)
            platform.accounts.by_uuid[account.organization_uuid] = account
        ledger = self._book("ledger")
        if ledger is not None:
            platform.ledger.requests = Requests(**ledger["requests"])
            platform.ledger.totals = Totals(**ledger["totals"])
        for uuid, record in self._records("entry"):
            platform.ledger.entries[uuid] = Entry(*record)
        platform.archive_overrides.update(self._records("archive"))
        for uuid, blob, body in self._database.execute("SELECT uuid, record, body FROM media"):
            platform.media[uuid] = Media(uuid, body=body, **orjson.loads(blob))
        for _, record in self._records("task"):
            platform.adopt(task_from_record(record))
        for model in self._book("models") or ():
            platform.catalogue.restore_private(model)

    def save_promises(self, platform: Platform) -> None:
        """Save if anything changed that an answer may tell of; polls and pings alone are none."""
        if platform.dirty_tasks or platform.dirty_media or platform.dirty_archive:
            self.save(platform)

    def save(self, platform: Platform) -> None:
        """Write what changed since the last save, in one transaction."""
        requests = platform.ledger.requests.total
        is_dirty = platform.dirty_tasks or platform.dirty_media or platform.dirty_archive
        if requests == self._saved_requests and not is_dirty:
            return
        changed, tasks = platform.dirty_tasks, platform.tasks
        with self._transaction():
            self._put("task", ((uuid, tasks[uuid].to_record()) for uuid in changed if uuid in tasks))
            self._put("entry", ((uuid, platform.ledger.entries[uuid].to_record()) for uuid in changed))
            self._put(
                "archive", ((uuid, platform.archive_overrides[uuid]) for uuid in platform.dirty_archive)
            )
            for uuid in platform.dirty_media:
                self._put_media(uuid, platform.media.get(uuid))
            self._put("book", _books(platform).items())
        platform.dirty_tasks.clear()
        platform.dirty_media.clear()
        platform.dirty_archive.clear()
        self._saved_requests = requests

    def clear(self) -> None:
        """Forget everything, after the platform was reset."""
        with self._transaction():
            for table in _TABLES:
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608  # names of our own tables
        self._saved_requests = -1

    def close(self) -> None:
        self._database.close()

    def _put(self, table: str, records: Iterable[tuple[str, Any]]) -> None:
        self._database.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",  # noqa: S608  # names of our own tables
            ((key, orjson.dumps(record)) for key, record in records),
        )

    def _put_media(self, uuid: str, media: Media | None) -> None:
        if media is None:
            self._database.execute("DELETE FROM media WHERE uuid = ?", (uuid,))
            return
        record = {name: value for name, value in asdict(media).items() if name not in {"uuid", "body"}}
        self._database.execute(
            "INSERT OR REPLACE INTO media VALUES (?, ?, ?)", (uuid, orjson.dumps(record), media.body)
        )

    def _book(self, name: str) -> Any:
        row = self._database.execute("SELECT record FROM book WHERE name = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row is not None else None

    def _records(self, table: str) -> Iterator[tuple[str, Any]]:
        for key, blob in self._database.execute(f"SELECT * FROM {table}").fetchall():  # noqa: S608  # names of our own tables
            yield key, orjson.loads(blob)

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
    """The few records that are no bigger for more tasks."""
    return {
        "accounts": [asdict(account) for account in platform.accounts.by_uuid.values()],
        "ledger": {
            "requests": asdict(platform.ledger.requests),
            "totals": asdict(platform.ledger.totals),
        },
        "models": [model.to_record() for model in platform.catalogue if model.private],
    }
