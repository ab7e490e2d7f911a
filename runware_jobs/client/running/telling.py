"""Call what a caller wants called: plain functions and coroutine functions, in order, without harm.

A callback that raises is logged; it never changes what happens to the task.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runware_jobs.client.log import ClientLog

    _Queue = asyncio.Queue[Awaitable[object] | None]


class Teller:
    """Call callbacks one after the other. Leaving the block waits until all of them are done.

    Also when the block ends with an error, since a callback hears of it before the caller does. Only when it
    is cancelled are coroutines that still wait cut off.
    """

    def __init__(self, log: ClientLog) -> None:
        self._log = log
        # Made for the first coroutine that is to be awaited: most runs have none, and thousands may be under way.
        self._queue: _Queue | None = None
        self._awaiting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if self._awaiting is None or self._queue is None:
            return
        if kind is not None and not issubclass(kind, Exception):
            await _cut_off(self._awaiting, self._queue)
            return
        self._queue.put_nowait(None)
        try:
            await self._awaiting
        except asyncio.CancelledError:
            await _cut_off(self._awaiting, self._queue)
            raise

    def call(self, callback: Callable[..., object] | None, *arguments: object) -> None:
        """Call now; what a coroutine function has to do is awaited in order, beside the request."""
        if callback is None:
            return
        try:
            outcome = callback(*arguments)
        except Exception as error:  # noqa: BLE001 - a caller's code: it may raise anything
            self._log.write("error", "callback_failed", {"reason": repr(error)})
            return
        if inspect.isawaitable(outcome):
            if self._queue is None:
                self._queue = asyncio.Queue()
                self._awaiting = asyncio.create_task(self._await_in_order(self._queue))
            self._queue.put_nowait(outcome)

    async def _await_in_order(self, queue: _Queue) -> None:
        while (awaitable := await queue.get()) is not None:
            try:
                await awaitable
            except Exception as error:  # noqa: BLE001 - a caller's code: it may raise anything
                self._log.write("error", "callback_failed", {"reason": repr(error)})


async def _cut_off(awaiting: asyncio.Task[None], queue: _Queue) -> None:
    awaiting.cancel()
    await asyncio.gather(awaiting, return_exceptions=True)
    while not queue.empty():
        unheard = queue.get_nowait()
        if inspect.iscoroutine(unheard):
            unheard.close()  # or Python warns that it was never awaited
