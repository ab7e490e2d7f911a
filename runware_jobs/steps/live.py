"""Live: who waits for what, and one look at the tables for all of them.

A hint says where to look; without one everybody's jobs are looked at now and then all the
same. Whatever is lost, doubled or late on the way of a hint costs time, never an event.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from runware_jobs.core.events import EventType
from runware_jobs.core.states import FINAL
from runware_jobs.core.tail import KEPT, Tail
from runware_jobs.core.views import event_view
from runware_jobs.store.jobs import read_events
from runware_jobs.store.reading import read_marks, read_newest_events, read_open_batches

from .hearing import Hearing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.store.jobs import StoredEvent
    from runware_jobs.store.news import Hint
    from runware_jobs.store.reading import Mark

    View = dict[str, Any]

_log = structlog.get_logger()
_ROUND_S: Final = 0.05  # what is heard within one is looked at together
_HEARING_LOOK_EVERY_S: Final = 5.0
_DEAF_FIRST_LOOK_S: Final = 0.05
_DEAF_LOOK_EVERY_S: Final = 0.5
_LOOK_AGAIN_S: Final = 1.0  # after the database did not answer
_LOOK_WITHIN_S: Final = 15.0
_LINGER_S: Final = 30.0  # the next to wait finds the connection open
_PROGRESS_EVERY_S: Final = 0.5
_PAGE: Final = 200
_BATCHES_SHARE: Final = 0.05
"""What looking at batches may take of the database's time: each look may walk over a batch's index."""


@dataclass(slots=True)
class _Watched:
    """A job or a batch that somebody waits for; `news` is its `Mark`, or whether the batch is open.

    Followers want its events, too: the first who came, those after `wanted_after`.
    """

    watchers: int = 0
    followers: int = 0
    wanted_after: int | None = None
    news: Any = None
    tail: Tail[StoredEvent] | None = None
    is_gone: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake everybody who waits for it."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it has changed, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.changed.wait()


class Live:
    """Tells how far jobs and batches have come. Looks, and listens, only while somebody watches.

    Every iterator may be left at any time. One that ends without a final state was ended
    by `end` or `aclose`, or its job is no longer there.
    """

    def __init__(
        self, engine: AsyncEngine, *, look_every_s: float = _HEARING_LOOK_EVERY_S, linger_s: float = _LINGER_S
    ) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._look_every_s = look_every_s
        self._linger_s = linger_s
        self._jobs: dict[UUID, _Watched] = {}
        self._batches: dict[UUID, _Watched] = {}
        self._due: set[UUID] = set()
        self._is_all_due = False
        self._batches_rest_until = 0.0
        self._nudge = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing: Hearing | None = None
        self._has_ended = False

    @property
    def is_hearing(self) -> bool:
        """Whether hints arrive at present."""
        return self._hearing is not None and self._hearing.is_hearing

    @property
    def watched(self) -> int:
        """How many jobs and batches are watched."""
        return len(self._jobs) + len(self._batches)

    async def marks(self, job_id: UUID) -> AsyncGenerator[Mark]:
        """Yield how far a job has come, at once and after each change; the newest wins."""
        seen: Mark | None = None
        with self._watching(self._jobs, job_id) as watched:
            while not watched.is_gone:
                if watched.news is not None and watched.news != seen:
                    seen = watched.news
                    yield seen
                else:
                    await watched.wait()

    async def job_ended(self, job_id: UUID) -> bool:
        """Wait until a job is final; False: it is gone, or nobody looks any more."""
        async with aclosing(self.marks(job_id)) as marks:
            async for mark in marks:
                if mark.state in FINAL:
                    return True
        return False

    async def batch_ended(self, batch_id: UUID) -> None:
        """Wait until every job of a batch is final, or the batch is gone."""
        with self._watching(self._batches, batch_id) as watched:
            while not watched.is_gone and watched.news is not False:
                await watched.wait()

    async def follow(self, job_id: UUID, *, after: int = 0, progress: bool = False) -> AsyncGenerator[View]:
        """Yield a job's events with `seq` above `after`, each once and in order, until it is final.

        `progress` also gives the percent, as an event without `id` and `seq`: the newest,
        at most twice in a second, never after the final event.
        """
        async with aclosing(self._groups(job_id, after=after, progress=progress)) as groups:
            async for group in groups:
                for view in group:
                    yield view

    async def next_events(self, job_id: UUID, *, after: int) -> list[View]:
        """Wait for events with `seq` above `after` and give those that are there; none: the job is final."""
        async with aclosing(self._groups(job_id, after=after, progress=False)) as groups:
            async for group in groups:
                return group
        return []

    async def _groups(self, job_id: UUID, *, after: int, progress: bool) -> AsyncGenerator[list[View]]:
        told: int | None = None
        tell_at = 0.0
        with self._watching(self._jobs, job_id, after=after) as watched:
            while not watched.is_gone:
                mark: Mark | None = watched.news
                if mark is None or watched.tail is None:
                    await watched.wait()
                    continue
                if after < watched.tail.seq:
                    known = watched.tail.seq
                    events = watched.tail.after(after)
                    if events is None:
                        events = await self._page(job_id, after)
                    # Months of events can be dropped; the job's count stays.
                    after = events[-1].seq if events else known
                    if events:
                        yield [event_view(event) for event in events]
                    continue
                if mark.state in FINAL:
                    return
                if not progress or mark.progress is None or mark.progress == told:
                    told = mark.progress
                    await watched.wait()
                elif (wait_s := tell_at - time.monotonic()) > 0:
                    await watched.wait(wait_s)
                else:
                    told = mark.progress
                    tell_at = time.monotonic() + _PROGRESS_EVERY_S
                    yield [_progress(job_id, told)]

    async def _page(self, job_id: UUID, after: int) -> list[StoredEvent]:
        """Read for one who is further behind than everybody's tail."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_WITHIN_S), self._autocommit.connect() as connection:
                    return await read_events(connection, job_id, after=after, limit=_PAGE)
            except Exception as error:  # noqa: BLE001  whatever is away, it is asked again
                _log.warning("events_not_read", error=type(error).__name__, retry_in_s=_LOOK_AGAIN_S)
            await asyncio.sleep(_LOOK_AGAIN_S)

    def end(self) -> None:
        """End every iterator, and each that is still to come: the process leaves."""
        self._has_ended = True
        self._end_all()

    async def aclose(self) -> None:
        """End every iterator, look and listen no more; whoever comes later begins anew."""
        self._end_all()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Who watches

    @contextmanager
    def _watching(
        self, kept: dict[UUID, _Watched], id_: UUID, *, after: int | None = None
    ) -> Iterator[_Watched]:
        """Have it looked at; `after`: its events are wanted, those above this number first."""
        watched = kept.setdefault(id_, _Watched())
        watched.watchers += 1
        if after is not None:
            watched.followers += 1
            if watched.wanted_after is None or after < watched.wanted_after:
                watched.wanted_after = after
        watched.is_gone |= self._has_ended
        self._due.add(id_)
        self._ensure_looking()
        try:
            yield watched
        finally:
            watched.watchers -= 1
            if after is not None:
                watched.followers -= 1
            if not watched.followers:
                watched.tail = watched.wanted_after = None
            if not watched.watchers and kept.get(id_) is watched:
                del kept[id_]

    def _ensure_looking(self) -> None:
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not loop:
            # Whoever has used us before may have had another loop, or another process.
            self._nudge = asyncio.Event()
            self._looking = loop.create_task(self._work(), name="live")
            self._tasks.add(self._looking)
            self._looking.add_done_callback(self._tasks.discard)
        self._nudge.set()

    def _end_all(self) -> None:
        for kept in (self._jobs, self._batches):
            for watched in kept.values():
                watched.is_gone = True
                watched.tell()
            kept.clear()

    # Looking

    async def _work(self) -> None:
        hearing = self._hearing = Hearing(self._engine, heard=self._hear, changed=self._look_at_all)
        listening = asyncio.create_task(hearing.run(), name="hearing")
        try:
            await self._look()
        finally:
            # Whoever comes from here on starts another: this one will not look any more.
            if self._looking is asyncio.current_task():
                self._looking = None
            hearing.is_hearing = False
            listening.cancel()
            await asyncio.wait({listening})

    def _hear(self, hint: Hint) -> None:
        concerned = (hint.jobs & self._jobs.keys()) | (hint.batches & self._batches.keys())
        if hint.is_many:
            self._look_at_all()
        elif concerned:
            self._due |= concerned
            self._nudge.set()

    def _look_at_all(self) -> None:
        self._is_all_due = True
        self._nudge.set()

    async def _look(self) -> None:
        """Look at what is due, and now and then at all; return when nobody has watched for a while."""
        looked_at = time.monotonic()
        pause_s = _DEAF_FIRST_LOOK_S
        while True:
            every_s = self._look_every_s if self.is_hearing else pause_s
            is_nudged = await self._nudged(
                looked_at + every_s - time.monotonic() if self.watched else self._linger_s
            )
            if not self.watched:
                self._due.clear()
                if not is_nudged:
                    return
                continue
            if time.monotonic() - looked_at >= every_s:
                self._is_all_due = True
                pause_s = min(pause_s * 1.5, _DEAF_LOOK_EVERY_S)
            if self._is_all_due:
                looked_at = time.monotonic()
            elif is_nudged:
                pause_s = _DEAF_FIRST_LOOK_S
            await asyncio.sleep(_ROUND_S if await self._round() else _LOOK_AGAIN_S)

    async def _nudged(self, timeout_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._nudge.wait()
        is_nudged = self._nudge.is_set()
        self._nudge.clear()
        return is_nudged

    async def _round(self) -> bool:
        """Look once at all that is due, in one query of a kind; False when the database did not answer."""
        due, is_all_due = self._due, self._is_all_due
        self._due, self._is_all_due = set(), False
        job_ids = [job_id for job_id in self._jobs if is_all_due or job_id in due]
        batch_ids = [batch_id for batch_id in self._batches if is_all_due or batch_id in due]
        try:
            async with asyncio.timeout(_LOOK_WITHIN_S), self._autocommit.connect() as connection:
                if job_ids:
                    marks = await read_marks(connection, job_ids)
                    starts = self._starts(marks)
                    behind = {job_id: seq for job_id, seq in starts.items() if seq < marks[job_id].seq}
                    events = await read_newest_events(connection, behind, most=KEPT) if behind else {}
                    for job_id in job_ids:
                        self._tell_job(job_id, marks.get(job_id), starts.get(job_id), events.get(job_id, []))
                if batch_ids:
                    await self._look_at_batches(connection, batch_ids)
        except Exception as error:  # noqa: BLE001  whatever is away: nobody has heard anything
            _log.warning("live_jobs_not_read", error=type(error).__name__, retry_in_s=_LOOK_AGAIN_S)
            self._is_all_due = True
            self._nudge.set()
            return False
        return True

    def _starts(self, marks: dict[UUID, Mark]) -> dict[UUID, int]:
        """Give the number after which to read the events of each job that somebody follows."""
        starts: dict[UUID, int] = {}
        for job_id, mark in marks.items():
            watched = self._jobs.get(job_id)
            if watched is not None and watched.tail is not None:
                starts[job_id] = watched.tail.seq
            elif watched is not None and watched.wanted_after is not None:
                # Somebody may ask for what comes after a number that the job has not reached.
                starts[job_id] = min(watched.wanted_after, mark.seq)
        return starts

    def _tell_job(
        self, job_id: UUID, mark: Mark | None, start: int | None, events: list[StoredEvent]
    ) -> None:
        watched = self._jobs.get(job_id)
        if watched is None:
            return
        if mark is None:
            self._tell_gone(self._jobs, job_id)
            return
        had_tail = watched.tail is not None
        if watched.tail is None and start is not None and watched.followers:
            watched.tail = Tail(start)
        if watched.tail is not None:
            if len(events) < KEPT:
                watched.tail.extend(events, seq=mark.seq)
            else:
                watched.tail.restart(mark.seq)
        if watched.news != mark or (watched.tail is not None and not had_tail):
            watched.news = mark
            watched.tell()

    async def _look_at_batches(self, connection: Any, batch_ids: list[UUID]) -> None:
        now = time.monotonic()
        if now < self._batches_rest_until:
            self._due.update(batch_ids)
            asyncio.get_running_loop().call_later(self._batches_rest_until - now, self._nudge.set)
            return
        found = await read_open_batches(connection, batch_ids)
        after = time.monotonic()
        self._batches_rest_until = after + (after - now) / _BATCHES_SHARE
        for batch_id in batch_ids:
            watched = self._batches.get(batch_id)
            if batch_id not in found:
                self._tell_gone(self._batches, batch_id)
            elif watched is not None and watched.news != found[batch_id]:
                watched.news = found[batch_id]
                watched.tell()

    def _tell_gone(self, kept: dict[UUID, _Watched], id_: UUID) -> None:
        watched = kept.pop(id_, None)
        if watched is not None:
            watched.is_gone = True
            watched.tell()


def _progress(job_id: UUID, percent: int) -> View:
    return {"type": EventType.JOB_PROGRESS, "job_id": str(job_id), "data": {"progress": percent}}
