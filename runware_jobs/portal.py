"""The one place where ordinary code meets the async producer: a loop in a thread of its own.

The thread is a daemon, so that a program that forgets to close its `Jobs` ends all
the same; what was committed is there, and the last wake is worth a second.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Portal:
    """Runs awaitables on its own loop; `call` may be used from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="runware-jobs", daemon=True)
        self._thread.start()

    def call(self, awaitable: Awaitable[Any]) -> Any:
        """Give what `awaitable` gives, or raise what it raises; an interrupt cancels it."""

        async def run() -> Any:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop; what still runs on it is abandoned."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
