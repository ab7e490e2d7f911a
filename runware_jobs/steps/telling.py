"""Tell: hints to whoever listens, about the jobs that transactions of this process have changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.store.news import MOST_NAMED, hear_commits, tell

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncEngine

_log = structlog.get_logger()
_EVERY_S: Final = 0.05  # the server queues all commits behind one with a NOTIFY
_WITHIN_S: Final = 5.0
_AFTER_ERROR_S: Final = 1.0
_LEAVE_WITHIN_S: Final = 1.0


class Teller:
    """Sends a process's hints: the first at once, then at most twenty in a second, none without news.

    Made with an engine before its first connection. Nothing waits for it, and a hint that
    is lost costs its listeners some seconds: they look by themselves, too.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._news: set[UUID] = set()
        self._telling: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._fails = False
        hear_commits(engine, self._hear)

    async def aclose(self) -> None:
        """Send what is left, for a second; then close the engine."""
        telling = self._telling
        if telling is not None and not telling.done():
            self._leaving.set()
            await asyncio.wait({telling}, timeout=_LEAVE_WITHIN_S)
            telling.cancel()
            await asyncio.wait({telling})

    def _hear(self, job_ids: set[UUID]) -> None:
        # More than a hint can name are not kept: it will not name them.
        if len(self._news) <= MOST_NAMED:
            self._news |= job_ids
        if self._telling is None or self._telling.done():
            with suppress(RuntimeError):  # no loop runs any more: a connection that nobody closed
                self._leaving = asyncio.Event()
                self._telling = asyncio.get_running_loop().create_task(self._tell(), name="teller")

    async def _tell(self) -> None:
        while self._news:
            is_sent = await self._send()
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S if is_sent else _AFTER_ERROR_S):
                    await self._leaving.wait()
            if self._leaving.is_set() and not is_sent:
                return

    async def _send(self) -> bool:
        news, self._news = self._news, set()
        try:
            async with asyncio.timeout(_WITHIN_S), self._engine.connect() as connection:
                await tell(connection, news)
        except Exception as error:  # noqa: BLE001  whatever is away, the moves are through
            if not self._fails:
                _log.warning("hint_not_sent", error=type(error).__name__)
            self._fails = True
            self._news |= news
            return False
        self._fails = False
        return True
