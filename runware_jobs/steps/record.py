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

    Gives the moves by task UUID. What is missing is no longer ours, has ended, or could
    not be written.

    An attempt whose move cannot be made or written (the database refuses a value) costs
    the others nothing: they are recorded apart from it. It is logged with its task UUID and
    stays as it was, ours, so that `rescue.catch_up` finds it again.

    Raises:
        Exception: none of several could be written, which is no fault of one of them;
            the error of the last, a DBAPIError where the database has refused it.
    """
    wanted = list(task_uuids)
    groups = [wanted] if wanted else []
    moves: dict[UUID, Move] = {}
    refused = 0
    while groups:
        group = groups.pop()
        try:
            recorded, is_told = await committed(context.engine, _recording(context, group, decide))
        except Exception as error:
            # Whatever it is, it does not pass: of several, they are tried apart.
            if len(group) > 1:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
                continue
            # Of what the database says the first line: those after it quote the row, a user's.
            reason = str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]
            _log.error("attempt_not_recorded", task_uuid=str(group[0]), error=reason[:200])
            refused += 1
            if refused == len(wanted) > 1:
                raise
            continue
        if is_told:
            context.outbox_due.set()
        moves |= recorded
    for move in moves.values():
        if not move.changes_nothing:
            _tell(move)
    return moves


def _recording(
    context: Context, task_uuids: Sequence[UUID], decide: Callable[[LiveAttempt], Move | None]
) -> Callable[[AsyncConnection], Awaitable[tuple[dict[UUID, Move], bool]]]:
    async def once(connection: AsyncConnection) -> tuple[dict[UUID, Move], bool]:
        live = await store.lock_owned(connection, context.owner, task_uuids)
        decided = {task: move for task, attempt in live.items() if (move := decide(attempt)) is not None}
        return decided, await store.carry_out(connection, list(decided.values()))

    return once


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
