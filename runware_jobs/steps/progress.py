"""Progress: how far jobs have come, to receivers of `on_progress` and endpoints that ask for it.

It is no event: the newest wins, at most one per job leaves in `EVERY_S`, nothing is
repeated, and what finds no place is dropped. Nothing is sent once the job's final event
is written: the database is asked right before. What is on the way at that moment is
stopped where this process knows of it, and carries the `seq` of the event before.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import orjson
import structlog

from runware_jobs.core.events import EventType
from runware_jobs.core.signing import SecretKeyWrong, sign
from runware_jobs.core.views import moment
from runware_jobs.store.progress_targets import read_running

from .signals import tell_receivers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.store.progress_targets import ProgressEndpoint, RunningJob

    from .context import Context

_log = structlog.get_logger()

EVERY_S: Final = 0.5
"""At most one for each job in that time."""

POST_TIMEOUT_S: Final = 5.0
"""How long one progress webhook may take; who is slower hears less."""

_POSTS_AT_ONCE: Final = 16
_POSTS_PER_ENDPOINT: Final = 2
# An answer that was on its way while the job ended comes within seconds.
_REMEMBERS_ENDED_S: Final = 120.0


@dataclass(slots=True)
class ProgressNews:
    """What is to be told of progress, by job, and what is on the way; of one process."""

    due: asyncio.Event = field(default_factory=asyncio.Event)
    newest: dict[UUID, int] = field(default_factory=dict)
    _told_at: dict[UUID, float] = field(default_factory=dict)
    _ended: dict[UUID, tuple[int, float]] = field(default_factory=dict)
    _telling: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    _posting: dict[asyncio.Task[None], tuple[UUID, UUID]] = field(default_factory=dict)

    def add(self, job_id: UUID, progress: int) -> None:
        """Have it told soon; what was to be told of this job before is forgotten."""
        self.newest[job_id] = progress
        self.due.set()

    def stop(self, job_id: UUID, run: int) -> None:
        """Tell no more of a run that has ended, and take back what is on the way to endpoints."""
        self._ended[job_id] = (run, time.monotonic())
        self.newest.pop(job_id, None)
        for posting, (of_job, _) in self._posting.items():
            if of_job == job_id:
                posting.cancel()

    async def end(self, job_id: UUID, run: int) -> None:
        """Stop, and return when no receiver is being told of it any more."""
        self.stop(job_id, run)
        if (telling := self._telling.get(job_id)) is not None:
            await asyncio.wait({telling})

    def take(self) -> dict[UUID, int]:
        """Take what may be told now."""
        now = time.monotonic()
        self._told_at = {job_id: at for job_id, at in self._told_at.items() if now - at < EVERY_S}
        self._ended = {
            job_id: (run, at) for job_id, (run, at) in self._ended.items() if now - at < _REMEMBERS_ENDED_S
        }
        on_the_way = (
            {job_id for job_id, _ in self._posting.values()} | self._told_at.keys() | self._telling.keys()
        )
        taken = {job_id: self.newest.pop(job_id) for job_id in self.newest.keys() - on_the_way}
        self._told_at |= dict.fromkeys(taken, now)
        return taken

    def has_ended(self, job_id: UUID, run: int) -> bool:
        """Whether this run was stopped, or a later one."""
        ended_run, _ = self._ended.get(job_id, (0, 0.0))
        return run <= ended_run

    def start_telling(self, job_id: UUID, telling: asyncio.Task[None]) -> None:
        """Hold on to a call of receivers until it is over."""
        self._telling[job_id] = telling
        telling.add_done_callback(lambda _: self._telling.pop(job_id, None))

    def start_posting(self, job_id: UUID, endpoint_id: UUID, posting: asyncio.Task[None]) -> None:
        """Hold on to a webhook until it is through."""
        self._posting[posting] = (job_id, endpoint_id)
        posting.add_done_callback(lambda done: self._posting.pop(done, None))

    def may_post(self, endpoint_id: UUID) -> bool:
        """Whether there is a place for one more webhook, and one for this endpoint."""
        of_endpoint = sum(1 for _, endpoint in self._posting.values() if endpoint == endpoint_id)
        return len(self._posting) < _POSTS_AT_ONCE and of_endpoint < _POSTS_PER_ENDPOINT

    async def aclose(self) -> None:
        """Stop what is on the way."""
        left = [*self._posting, *self._telling.values()]
        for one in left:
            one.cancel()
        if left:
            await asyncio.wait(left)


async def tell_progress(context: Context) -> float | None:
    """Tell what is new of jobs that are running; give in how many seconds there is more, None when there is not."""
    news = context.progress
    taken = news.take()
    if taken:
        async with context.engine.connect() as connection:
            running = await read_running(connection, taken)
        for job_id, job in running.items():
            if not news.has_ended(job_id, job.run):
                _start(context, job, taken[job_id])
    return EVERY_S if news.newest else None


def _start(context: Context, job: RunningJob, progress: int) -> None:
    news = context.progress
    event = _event(job, progress)
    if "on_progress" in context.signals and context.threads.has_place:
        shown = {"id": event["job_id"], "progress": progress}
        telling = asyncio.create_task(
            tell_receivers(context, "on_progress", shown, event), name="on_progress"
        )
        news.start_telling(job.job_id, telling)
    for endpoint in job.endpoints:
        if news.may_post(endpoint.id):
            posting = asyncio.create_task(_post(context, endpoint, event), name="progress_webhook")
            news.start_posting(job.job_id, endpoint.id, posting)


def _event(job: RunningJob, progress: int) -> dict[str, Any]:
    """Show progress as events are shown; `seq` is that of the job's last event, so that a late one is known by it."""
    event: dict[str, Any] = {
        "id": str(uuid4()),
        "type": EventType.JOB_PROGRESS,
        "created_at": moment(datetime.now(UTC)),
        "job_id": str(job.job_id),
        "run": job.run,
        "seq": job.seq,
        "data": {"progress": progress},
    }
    if job.batch_id is not None:
        event["batch_id"] = str(job.batch_id)
    return event


async def _post(context: Context, endpoint: ProgressEndpoint, event: Mapping[str, Any]) -> None:
    """Send one webhook, once; what becomes of it is nobody's business."""
    if context.vault is None or context.progress_sender is None:
        return
    body = orjson.dumps(event)
    try:
        secrets = [context.vault.decrypt(secret) for secret in endpoint.secrets]
    except SecretKeyWrong:
        return  # the log of its real events says so
    headers = sign(secrets, webhook_id=event["id"], timestamp=datetime.now(UTC), body=body)
    await context.progress_sender.send(endpoint.url, body, headers)
