"""Live streams of this process: how many a tenant may have open, and how all of them end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

from .problems import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runware_jobs.steps.live import Live

MAX_STREAMS: Final = 2_000
"""Of one tenant, in one process: each costs memory and a file descriptor, and never ends by itself."""
_RETRY_AFTER_S: Final = 10


class Streams:
    """Counts streams, and ends them when the server leaves.

    Setting `leaving` ends every stream as if its job were gone: the client sees a
    complete answer, and asks again after the last event it heard of.
    """

    def __init__(self, live: Live) -> None:
        self.leaving = anyio.Event()
        self._live = live
        self._open: Counter[str] = Counter()
        self._ending: asyncio.Task[None] | None = None

    def check(self, tenant: str | None) -> None:
        """Refuse a stream too many (None: whoever runs this machine).

        Raises:
            RequestRefused: 429.
        """
        if self._open[tenant or ""] >= MAX_STREAMS:
            raise RequestRefused(
                f"{MAX_STREAMS:,} live streams are open already: close some, or poll the job instead.",
                status=429,
                name="too-many-streams",
                code="rateLimit",
                headers={"Retry-After": str(_RETRY_AFTER_S)},
            )

    @contextmanager
    def counted(self, tenant: str | None) -> Iterator[None]:
        """Count one stream for as long as it is open."""
        name = tenant or ""
        self._open[name] += 1
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(), name="live-streams-end")
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open.total()

    async def aclose(self) -> None:
        """End every stream."""
        self._live.end()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait({self._ending})

    async def _end(self) -> None:
        await self.leaving.wait()
        self._live.end()
