"""Results as Celery sees them: a job's from its row, anything else as it was stored.

Plans, so that one SQL serves the worker's async engine and the sync processes of
Celery, which `CelerySession` is for.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from .database import open_sync_engine
from .plans import Statement, as_json, run_sync
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from .plans import Rows

_T = TypeVar("_T")


class CelerySession:
    """Runs plans on a database from any thread, each in a transaction of its own.

    All sessions of a process share one engine per database: Celery makes a backend for
    each of its threads. After a fork the child opens connections of its own.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def run(self, plan: Generator[Statement, Rows, _T]) -> _T:
        """Run a plan, commit, and give what it gives.

        Raises:
            OperationalError: the database is away; nothing was written.
        """
        with _engine(self._database_url).begin() as connection:
            return run_sync(connection, plan)


_engines: dict[str, Engine] = {}
_lock = threading.Lock()


def _engine(database_url: str) -> Engine:
    with _lock:
        if database_url not in _engines:
            _engines[database_url] = open_sync_engine(database_url, name="runware-jobs-celery")
        return _engines[database_url]


def _forget_the_parents() -> None:
    """Leave the connections of the process that was forked to it: closing them here would end its sessions."""
    global _lock  # noqa: PLW0603  another thread may have held it when the process was forked
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)
    _engines.clear()


os.register_at_fork(after_in_child=_forget_the_parents)


def read_results(task_ids: Iterable[str]) -> Generator[Statement, Rows, Rows]:
    """Plan to read what is known of tasks: `task_id`, and either a job's columns or `status` and `meta`.

    A job has `state`, `progress`, `error`, `finished_at`, its `results` once it has
    succeeded, and `group_id` and `parent_id` where Celery sent it. An id that nobody
    knows has `state` and `status` None.
    """
    rows = as_json([{"task_id": task_id, "job_id": job_id_of(task_id)} for task_id in task_ids])
    return (yield Statement(_READ, {"rows": rows}))


def store_results(results: Sequence[Mapping[str, Any]]) -> Generator[Statement, Rows, None]:
    """Plan to keep what tasks gave: `task_id`, `status` and `meta`, the text that Celery made of it.

    A success is never overwritten, by a worker that was taken for lost, say; and of a
    task that is a job nothing is kept: its row says more.
    """
    rows = [{**result, "job_id": job_id_of(result["task_id"])} for result in results]
    yield Statement(_STORE, {"rows": as_json(rows)})


def point_to_job(task_id: str, job_id: UUID) -> Generator[Statement, Rows, None]:
    """Plan to note that a task asked for a job that was there, under a key that both have."""
    yield Statement(_POINT, {"task_id": task_id, "job_id": job_id})


def forget_result(task_id: str) -> Generator[Statement, Rows, None]:
    """Plan to drop what was kept of a task; a job stays."""
    yield Statement(f"DELETE FROM {SCHEMA}.celery_result WHERE task_id = :task_id", {"task_id": task_id})


def save_group(group_id: str, meta: str) -> Generator[Statement, Rows, None]:
    """Plan to keep which tasks a group is made of."""
    yield Statement(_SAVE_GROUP, {"group_id": group_id, "meta": meta})


def read_group(group_id: str) -> Generator[Statement, Rows, str | None]:
    """Plan to read which tasks a group is made of; None: it was not saved."""
    rows = yield Statement(
        f"SELECT meta FROM {SCHEMA}.celery_group WHERE group_id = :group_id", {"group_id": group_id}
    )
    return rows[0]["meta"] if rows else None


def forget_group(group_id: str) -> Generator[Statement, Rows, None]:
    """Plan to drop a saved group."""
    yield Statement(f"DELETE FROM {SCHEMA}.celery_group WHERE group_id = :group_id", {"group_id": group_id})


def prune_celery(*, older_than_s: float, limit: int) -> Generator[Statement, Rows, int]:
    """Plan to remove at most `limit` results, groups and chords each that are older than that; give how many went.

    A chord that is still waiting for a part stays for a year: a job of its header may be long.
    """
    values = {"older_than_s": older_than_s, "limit": limit, "given_up_after_s": _GIVEN_UP_AFTER_S}
    removed = 0
    for sql in (_PRUNE_RESULTS, _PRUNE_GROUPS, _PRUNE_CHORDS):
        removed += len((yield Statement(sql, values)))
    return removed


def job_id_of(task_id: str) -> str | None:
    """Give the id of the job that a task would be; None: its id is none that a job could have."""
    try:
        return str(UUID(task_id))
    except ValueError:
        return None


_GIVEN_UP_AFTER_S: Final = 366 * 86_400.0

_READ: Final = f"""
SELECT asked.task_id, celery_result.status, celery_result.meta, job.state, job.progress, job.error, job.finished_at,
    job.id AS job_id, job.canvas ->> 'group' AS group_id, job.canvas ->> 'parent_id' AS parent_id,
    CASE job.state WHEN 'succeeded' THEN (
        SELECT COALESCE(jsonb_agg(item || CASE WHEN archived_url IS NULL THEN '{{}}'
            ELSE jsonb_build_object('archived_url', archived_url) END ORDER BY run, position, key), '[]')
        FROM {SCHEMA}.result WHERE result.job_id = job.id AND result.state = 'success') END AS results
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS asked(task_id text, job_id uuid)
LEFT JOIN {SCHEMA}.celery_result USING (task_id)
LEFT JOIN {SCHEMA}.job ON job.id = COALESCE(celery_result.job_id, asked.job_id)
"""

_STORE: Final = f"""
INSERT INTO {SCHEMA}.celery_result (task_id, status, meta)
SELECT task_id, status, meta
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item(task_id text, status text, meta text, job_id uuid)
WHERE NOT EXISTS (SELECT FROM {SCHEMA}.job WHERE job.id = item.job_id)
ORDER BY task_id
ON CONFLICT (task_id) DO UPDATE SET status = EXCLUDED.status, meta = EXCLUDED.meta, job_id = NULL, updated_at = now()
WHERE celery_result.status IS DISTINCT FROM 'SUCCESS'
"""

_POINT: Final = f"""
INSERT INTO {SCHEMA}.celery_result (task_id, job_id) VALUES (:task_id, CAST(:job_id AS uuid))
ON CONFLICT (task_id) DO UPDATE SET status = NULL, meta = NULL, job_id = EXCLUDED.job_id, updated_at = now()
"""

_SAVE_GROUP: Final = f"""
INSERT INTO {SCHEMA}.celery_group (group_id, meta) VALUES (:group_id, :meta)
ON CONFLICT (group_id) DO UPDATE SET meta = EXCLUDED.meta, updated_at = now()
"""


def _old(table: str, key: str, condition: str) -> str:
    return (
        f"DELETE FROM {SCHEMA}.{table} WHERE {key} IN (SELECT {key} FROM {SCHEMA}.{table}"
        f" WHERE {condition} LIMIT :limit FOR UPDATE SKIP LOCKED) RETURNING 1 AS removed"
    )


_PRUNE_RESULTS: Final = _old(
    "celery_result", "task_id", "updated_at < now() - make_interval(secs => :older_than_s)"
)
_PRUNE_GROUPS: Final = _old(
    "celery_group", "group_id", "updated_at < now() - make_interval(secs => :older_than_s)"
)
_PRUNE_CHORDS: Final = _old(
    "celery_chord",
    "group_id",
    "created_at < now() - make_interval(secs => :older_than_s)"
    " AND (ended_at < now() - make_interval(secs => :older_than_s)"
    " OR created_at < now() - make_interval(secs => :given_up_after_s))",
)
