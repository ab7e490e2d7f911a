"""Jobs that somebody watches: one small query for all of them, however many streams are open."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
import structlog
from sqlalchemy.exc import SQLAlchemyError

from runware_jobs.store.reading import Mark, read_marks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncEngine

_log = structlog.get_logger()

_LOOK_EVERY_S: Final = 0.3
_LOOK_AGAIN_S: Final = 2.0
"""After the database did not answer."""


@dataclass(slots=True)
class _Watched:
    watchers: int = 0
    mark: Mark | None = None
    is_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class LiveJobs:
    """Tells how far jobs have come. Looks only while somebody watches.

    Setting `leaving`, or `aclose()`, ends every stream as if its job were gone: the
    client sees a complete answer, and asks again after the last event it heard of.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.leaving = anyio.Event()
        self._engine = engine
        self._watched: dict[UUID, _Watched] = {}
        self._nudge = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def marks(self, job_id: UUID) -> AsyncIterator[Mark]:
        """Yield how far a job has come, at once and after each change; the newest wins.

        Ends when the job is no longer there, or we leave.
        """
        watched = self._watched.setdefault(job_id, _Watched())
        watched.watchers += 1
        self._nudge.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="live-jobs")
        seen: Mark | None = None
        try:
            while not watched.is_gone:
                changed = watched.changed
                if watched.mark is not None and watched.mark != seen:
                    seen = watched.mark
                    yield seen
                else:
                    await changed.wait()
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                self._watched.pop(job_id, None)

    async def aclose(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._end_all()

    async def _look(self) -> None:
        while self._watched:
            if self.leaving.is_set():
                self._end_all()
                return
            self._nudge.clear()
            try:
                async with self._engine.connect() as connection:
                    asked = list(self._watched)
                    marks = await read_marks(connection, asked)
            except SQLAlchemyError as error:
                _log.warning("live_jobs_not_read", error=type(error).__name__, retry_in_s=_LOOK_AGAIN_S)
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            for job_id in asked:
                self._tell(job_id, marks.get(job_id))
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._nudge.wait()

    def _end_all(self) -> None:
        for job_id in list(self._watched):
            self._tell(job_id, None)

    def _tell(self, job_id: UUID, mark: Mark | None) -> None:
        watched = self._watched.get(job_id)
        if watched is None or (mark is not None and mark == watched.mark):
            return
        watched.is_gone = mark is None
        watched.mark = mark
        watched.changed.set()
        watched.changed = asyncio.Event()
