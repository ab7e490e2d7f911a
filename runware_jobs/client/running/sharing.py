"""What concurrent runs of one client send at about the same time, sent in few requests.

Each task says from when on it may be sent and until when it has to be. One departure takes along all
whose time has come, so that ten thousand runs need some hundred requests where each alone would need
several of its own. A task alone waits for nobody: it leaves in the next turn of the event loop.

Nothing is decided here: each task gets its own outcome, and a task is in at most one request at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from runware_jobs.client.parts import disconnected
from runware_jobs.client.wire.grouping import EncodedTask, TaskGroup, cut_groups

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

Outcome = TypeVar("Outcome")
IsAwaited = Callable[[str], bool]


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Outcome]):
    """A task that has not left yet. Instants are the event loop's."""

    task: EncodedTask
    earliest_at: float
    outcome: asyncio.Future[Outcome]
    latest_at: float


class SharedRequests(Generic[Outcome]):
    """One kind of request of one client.

    `carry` sends a group once and gives the outcome of each task by UUID; its second argument says of a UUID
    whether anybody still waits for that outcome.
    """

    def __init__(
        self, carry: Callable[[TaskGroup, IsAwaited], Awaitable[Mapping[str, Outcome]]], *, max_tasks: int
    ) -> None:
        self._carry = carry
        self._max_tasks = max_tasks
        self._waiting: dict[_Waiting[Outcome], None] = {}
        self._departure: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def send(self, task: EncodedTask, *, earliest_s: float = 0.0, latest_s: float = 0.0) -> Outcome:
        """Send a task between `earliest_s` and `latest_s` from now, with others if there are, and give its outcome.

        Cancelled before it was written it is never sent; afterwards its answer is dropped and the others' are not.
        A request that nobody waits for any more ends.

        Errors:
            RunwareError (connection): the client was closed.
        """
        if self._is_closed:
            raise disconnected()
        loop = asyncio.get_running_loop()
        now = loop.time()
        waiting: _Waiting[Outcome] = _Waiting(task, now + earliest_s, loop.create_future(), now + latest_s)
        self._waiting[waiting] = None
        self._depart_by(waiting.latest_at)
        try:
            return await waiting.outcome
        finally:
            self._waiting.pop(waiting, None)

    async def close(self) -> None:
        """Send nothing more, and end what waits or is under way with a `connection` error."""
        self._is_closed = True
        if self._departure is not None:
            self._departure.cancel()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._fail(list(self._waiting), disconnected())

    def _depart_by(self, at: float) -> None:
        if self._departure is not None:
            if self._departure.when() <= at:
                return
            self._departure.cancel()
        self._departure = asyncio.get_running_loop().call_at(at, self._depart)

    def _depart(self) -> None:
        self._departure = None
        now = asyncio.get_running_loop().time()
        leaving: dict[str, _Waiting[Outcome]] = {}
        for waiting in self._waiting:
            # An answer names a task by its UUID only: of two tasks with the same one the second takes the next request.
            if waiting.earliest_at <= now and waiting.task.task_uuid not in leaving:
                leaving[waiting.task.task_uuid] = waiting
        for waiting in leaving.values():
            del self._waiting[waiting]
        for group in cut_groups((one.task for one in leaving.values()), max_tasks=self._max_tasks):
            self._start(group, {task_uuid: leaving[task_uuid] for task_uuid in group.task_uuids})
        if self._waiting:
            self._depart_by(min(waiting.latest_at for waiting in self._waiting))

    def _start(self, group: TaskGroup, members: dict[str, _Waiting[Outcome]]) -> None:
        request = asyncio.create_task(self._send(group, members), name="runware-shared-request")
        self._under_way.add(request)
        request.add_done_callback(self._under_way.discard)

        def end_if_deserted(outcome: asyncio.Future[Outcome]) -> None:
            if outcome.cancelled() and all(waiting.outcome.done() for waiting in members.values()):
                request.cancel()

        for waiting in members.values():
            waiting.outcome.add_done_callback(end_if_deserted)

    async def _send(self, group: TaskGroup, members: dict[str, _Waiting[Outcome]]) -> None:
        try:
            outcomes = await self._carry(group, lambda task_uuid: not members[task_uuid].outcome.done())
            for task_uuid, waiting in members.items():
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcomes[task_uuid])
        except asyncio.CancelledError:
            self._fail(members.values(), disconnected())
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for an answer that will not come
            self._fail(members.values(), error)

    @staticmethod
    def _fail(members: Iterable[_Waiting[Outcome]], error: Exception) -> None:
        for waiting in members:
            if not waiting.outcome.done():
                waiting.outcome.set_exception(error)
