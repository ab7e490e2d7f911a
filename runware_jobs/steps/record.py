"""Record: decide on locked rows and write the moves, once the answer is in hand.

An answer of the platform is too dear to lose to a dropped database connection: the
transaction is tried again until it is through. If this process dies first, its
successor settles the attempts by asking the platform (DESIGN 4).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from runware_jobs.store import moves as store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from runware_jobs.core.moves import LiveAttempt, Move

    from .context import Context

_T = TypeVar("_T")
_log = structlog.get_logger()
_LONGEST_WAIT_S: Final = 5.0
_RETRIED_STATES: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock


async def record(
    context: Context,
    task_uuids: Iterable[UUID],
    decide: Callable[[LiveAttempt], Move | None],
) -> dict[UUID, Move]:
    """Carry out `decide` for each attempt of `task_uuids` that is still ours; commits.

    Gives the moves by task UUID. What is missing is no longer ours, or has ended.
    """
    wanted = list(task_uuids)

    async def once(connection: AsyncConnection) -> tuple[dict[UUID, Move], bool]:
        live = await store.lock_owned(connection, context.owner, wanted)
        decided = {task: move for task, attempt in live.items() if (move := decide(attempt)) is not None}
        return decided, await store.carry_out(connection, list(decided.values()))

    moves, is_told = await committed(context.engine, once)
    if is_told:
        context.outbox_due.set()
    for move in moves.values():
        if not move.changes_nothing:
            _tell(move)
    return moves


async def committed(
    engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[_T]], *, at_once: bool = False
) -> _T:
    """Run `work` in a transaction and commit, again and again while the database is away.

    `work` must be safe to run twice: a commit whose answer was lost may be repeated.
    `at_once`: each of its statements commits by itself, which spares two round trips.
    """
    if at_once:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    wait_s = 0.05
    while True:
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except DBAPIError as error:
            if not _is_passing(error):
                raise
            _log.warning("database_away", error=type(error.orig).__name__, retry_in_s=round(wait_s, 2))
        except PoolTimeout:
            # Every connection of this process is taken: the answer in hand waits too.
            _log.warning("database_away", error="PoolTimeout", retry_in_s=round(wait_s, 2))
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def _is_passing(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.orig, "sqlstate", None) in _RETRIED_STATES


def _tell(move: Move) -> None:
    _log.info(
        "attempt_moved",
        job_id=str(move.live.job_id),
        task_uuid=str(move.live.task_uuid),
        attempt=move.attempt_to or move.live.state,
        job=move.job_to or move.live.job_state,
        results=len(move.results),
        error_code=move.attempt_error.code if move.attempt_error else None,
    )


def ended(moves: Mapping[UUID, Move], task_uuids: Sequence[UUID]) -> set[UUID]:
    """Name those of `task_uuids` that need no more following: ended, given back, or not ours."""
    return {
        task for task in task_uuids if task not in moves or moves[task].attempt_to in {"ended", "prepared"}
    }
