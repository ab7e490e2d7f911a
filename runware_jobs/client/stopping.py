"""Stop work in the middle when an event is set.

One task watches each event for all the work under it: ten thousand runs that end with their client
need one watcher, and a run that nobody can stop needs none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    Reason = Callable[[], Exception]

Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _Work:
    """A task that is in the middle of some work, and whether the event has stopped it."""

    task: asyncio.Task[Any]
    reason: Reason
    is_stopped: bool = False


class _Watcher:
    """Waits for one event as long as there is work under it."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event
        self._work: dict[_Work, None] = {}
        self._waiting = asyncio.create_task(self._wait(), name="runware-stop")

    @property
    def is_over(self) -> bool:
        """Whether it has stopped its work; an event that is cleared and used again needs another one."""
        return self._waiting.done()

    def add(self, work: _Work) -> None:
        self._work[work] = None

    def remove(self, work: _Work) -> None:
        del self._work[work]
        if not self._work:
            self._waiting.cancel()
            if _WATCHERS.get(self._event) is self:
                del _WATCHERS[self._event]

    async def _wait(self) -> None:
        await self._event.wait()
        for work in self._work:
            work.is_stopped = True
            work.task.cancel()


# An event belongs to one event loop; its watcher leaves with the last work under it.
_WATCHERS: dict[asyncio.Event, _Watcher] = {}


async def until_set(work: Coroutine[Any, Any, Value], events: Mapping[asyncio.Event, Reason]) -> Value:
    """Await `work`; when an event is set first, cancel it, wait for its end and raise what the event's reason makes.

    The work runs in the caller's task. With an event that is set already nothing of it is begun.
    """
    for event, reason in events.items():
        if event.is_set():
            work.close()
            raise reason()
    task = asyncio.current_task()
    if task is None or not events:
        return await work
    cancelled_before = task.cancelling()
    entries = [(_watcher_of(event), _Work(task, reason)) for event, reason in events.items()]
    for watcher, entry in entries:
        watcher.add(entry)
    try:
        return await work
    except asyncio.CancelledError:
        stopped = [entry for _, entry in entries if entry.is_stopped]
        # A caller that cancels at the same time means to be obeyed: then this stays a cancellation.
        if stopped and task.cancelling() - len(stopped) <= cancelled_before:
            raise stopped[0].reason() from None
        raise
    finally:
        for watcher, entry in entries:
            watcher.remove(entry)
            if entry.is_stopped:
                task.uncancel()


def _watcher_of(event: asyncio.Event) -> _Watcher:
    watcher = _WATCHERS.get(event)
    if watcher is None or watcher.is_over:
        watcher = _WATCHERS[event] = _Watcher(event)
    return watcher
