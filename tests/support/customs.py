"""Look at each submit as it leaves: is its task UUID committed, and is a second sending of it marked?

The books are compared when all is over; this sees what left a moment too early, also
when nothing came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from tests.support.speech import Piece

_ROWS = """
    SELECT task_uuid::text, state, submitted_at, resent_at FROM runware_jobs.attempt
    WHERE task_uuid = ANY (CAST(%s AS uuid[]))"""


class Customs:
    """Shown every request on its way to the platform; `wrong` says what should not have left."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._url: str | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._left: dict[str, set[tuple[Any, Any]]] = {}

    def look_at(self, url: str | None) -> None:
        """Look at this database from now on, or (None) at nothing; forgets what was seen."""
        self._close()
        self._url, self.wrong, self._left = url, [], {}

    def inspect(self, piece: Piece) -> None:
        """Check a request that submits tasks. Called from the relays' thread, before the request is passed on."""
        if not piece.tasks or self._url is None:
            return
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True)
            rows = self._connection.execute(_ROWS, [list(piece.tasks)]).fetchall()
        except psycopg.Error:
            # The database is away, or another one now: what cannot be seen is not judged.
            self._close()
            return
        found = {row[0]: row for row in rows}
        for task in piece.tasks:
            if task not in found:
                self.wrong.append(f"task {task} left before its row was committed")
                continue
            _, state, submitted_at, resent_at = found[task]
            if state in {"prepared", "ended"}:
                self.wrong.append(f"task {task} left while its attempt was {state}")
            if (submitted_at, resent_at) in self._left.setdefault(task, set()):
                self.wrong.append(f"task {task} left again without a new claim or the mark of a resend")
            self._left[task].add((submitted_at, resent_at))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
