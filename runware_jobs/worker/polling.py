"""Polling: asks about what this process follows, a group for each turn that it gets.

What is due is collected when the turn has come, not before: where turns are scarce,
groups grow by themselves.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.steps.expecting import learn_again
from runware_jobs.steps.poll import poll

from .following import Following
from .waiting import pause, unless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from runware_jobs.steps.context import Context
    from runware_jobs.steps.watch import Watch

_log = structlog.get_logger()
_AT_ONCE: Final = 4
_LONGEST_PAUSE_S: Final = 60.0
_AFTER_ERROR_S: Final = 1.0


class Polling:
    """The polls of one process; `run` until `draining` is set.

    `context` gives the lease of the moment; `ended` is called when attempts have ended.
    """

    def __init__(
        self, context: Callable[[], Context], *, draining: asyncio.Event, ended: Callable[[], None]
    ) -> None:
        self._context = context
        self._draining = draining
        self._ended = ended
        self._following = Following()
        self._due = asyncio.Event()
        self._has_learned = False

    def __len__(self) -> int:
        return len(self._following)

    @property
    def lag_s(self) -> float:
        """How late the oldest due poll is, in seconds."""
        due_at = self._following.first_due_at()
        return 0.0 if due_at is None else max(0.0, time.monotonic() - due_at)

    def follow(self, watches: Iterable[Watch]) -> None:
        """Ask about these when they are due."""
        self._following.add(watches)
        self._due.set()

    def hasten(self, task_uuids: Iterable[UUID]) -> None:
        """Ask about these now, where they are followed and were not asked about a moment ago."""
        minimum_s = self._context().tempo.poll_min_interval_s
        self._following.hasten(task_uuids, time.monotonic(), minimum_s=minimum_s)
        self._due.set()

    def drop(self) -> None:
        """Follow nothing any more: it is somebody else's."""
        self._following.clear()

    async def run(self) -> None:
        """Ask until the process drains; requests on the wire are finished."""
        places = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as asking:
            while not self._draining.is_set():
                self._due.clear()
                wait_s = self._waits_s()
                if wait_s > 0:
                    await pause(wait_s, self._due, self._draining)
                    continue
                await places.acquire()
                group = self._take_group(await self._turn())
                if group:
                    task = asking.create_task(self._ask(group))
                    task.add_done_callback(lambda _: places.release())
                else:
                    places.release()

    async def learn(self) -> None:
        """Look up how long tasks take, when that may have changed."""
        if self._has_learned:
            self._has_learned = False
            await learn_again(self._context(), {watch.learned_as for watch in self._following.followed()})

    def _waits_s(self) -> float:
        now = time.monotonic()
        next_at = self._following.next_at(now, size=self._context().tempo.poll_group_size)
        return _LONGEST_PAUSE_S if next_at is None else next_at - now

    async def _turn(self) -> float | None:
        try:
            return await unless(self._draining, self._context().pace.turn())
        except Exception as error:  # noqa: BLE001  what is due stays due
            _log.warning("turn_failed", error=type(error).__name__, detail=str(error)[:200])
            await pause(_AFTER_ERROR_S, self._draining)
            return None

    def _take_group(self, turn: float | None) -> list[Watch]:
        if turn is None:
            return []
        context = self._context()
        group = self._following.take_group(time.monotonic(), size=context.tempo.poll_group_size)
        if not group:
            context.pace.give_back(turn)
        return group

    async def _ask(self, group: list[Watch]) -> None:
        context = self._context()
        try:
            left = await poll(context, group)
        except Exception as error:  # noqa: BLE001  nothing was concluded: ask again
            _log.warning("poll_failed", tasks=len(group), error=type(error).__name__, detail=str(error)[:200])
            for watch in group:
                watch.forget()
                watch.put_off(context, at_least_s=_AFTER_ERROR_S)
            left = group
        self._following.put_back(group, left)
        self._due.set()
        if len(left) < len(group):
            self._has_learned = True
            self._ended()
