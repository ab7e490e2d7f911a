"""Call what a caller wants called: plain functions and coroutine functions, in order, without harm.

A callback that raises is logged; it never changes what happens to the task.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .log import ClientLog


class Teller:
    """Tell items to callbacks one after the other. Leaving the block waits until all have been told."""

    def __init__(self, log: ClientLog, default: Callable[[Any], object] | None = None) -> None:
        self.told = 0
        self._log = log
        self._default = default
        self._queue: asyncio.Queue[Awaitable[object] | None] = asyncio.Queue()
        self._awaiting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_rest: object) -> None:
        if self._awaiting is None:
            return
        if kind is not None:
            self._awaiting.cancel()
            await asyncio.gather(self._awaiting, return_exceptions=True)
            return
        self._queue.put_nowait(None)
        await self._awaiting

    def tell(self, item: Any) -> None:
        """Tell the default callback."""
        self.told += 1
        self.call(self._default, item)

    def call(self, callback: Callable[[Any], object] | None, item: Any) -> None:
        """Call now; what a coroutine function has to do is awaited in order, beside the request."""
        if callback is None:
            return
        try:
            outcome = callback(item)
        except Exception as error:  # noqa: BLE001 - a caller's code: it may raise anything
            self._log.write("error", "callback_failed", {"reason": repr(error)})
            return
        if inspect.isawaitable(outcome):
            self._queue.put_nowait(outcome)
            if self._awaiting is None:
                self._awaiting = asyncio.create_task(self._await_in_order())

    async def _await_in_order(self) -> None:
        while (awaitable := await self._queue.get()) is not None:
            try:
                await awaitable
            except Exception as error:  # noqa: BLE001 - a caller's code: it may raise anything
                self._log.write("error", "callback_failed", {"reason": repr(error)})
