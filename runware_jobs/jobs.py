"""What producers use: `Jobs` for ordinary code, `AsyncJobs` for `async` code.

```python
from runware_jobs import Jobs

jobs = Jobs()
job = jobs.enqueue({"model": "runware:400@1", "positivePrompt": "a lighthouse", "width": 1024, "height": 1024})
print(job.wait(timeout_s=60).results[0]["imageURL"])
```

Enqueue is one statement in one transaction and never waits for the broker: the
workers are told by a thread in the background, and find the row without it.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from celery import Celery

from .assembly import account_urls, celery_broker, find_services, vault_of
from .core.views import moment
from .errors import InvalidJob
from .handles import AsyncBatch, AsyncJob, Batch, Job
from .options import media_params, read_budget, read_id, read_options
from .portal import Portal
from .producer import Producer
from .settings import Settings
from .steps.enqueue import Asked, ask, new_view
from .steps.telling import Teller
from .store.database import open_engine
from .wakes import Waker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType

    from sqlalchemy.ext.asyncio import AsyncEngine

    from .core.request import Options

    Params = Mapping[str, Any]

__all__ = ["AsyncBatch", "AsyncJob", "AsyncJobs", "Batch", "Job", "Jobs"]

WAKE_TASK: Final = "runware_jobs.submit"
QUEUE: Final = "runware_jobs"
_POOL_SIZE: Final = 5


class AsyncJobs:
    """The queue, for `async` code. Opens at first use; `async with` or `aclose()` closes it.

    `settings` None reads the environment. `encode_local_files` also reads strings
    that name an existing media file in known media parameters; `Path` objects are
    read in any case.
    """

    def __init__(self, settings: Settings | None = None, *, encode_local_files: bool = False) -> None:
        self._settings = settings or Settings()
        self._reads_strings = encode_local_files
        self._services = find_services(self._settings)
        self._waker = Waker(wake_sender(self._services.broker_url))
        self._engine: AsyncEngine = open_engine(self._services.database_url, pool_size=_POOL_SIZE)
        self._teller = Teller(self._engine)
        base_url, fallback_url = account_urls(self._settings)
        self.producer = Producer(
            self._engine,
            base_url=base_url,
            fallback_url=fallback_url,
            vault=vault_of(self._services),
            wake=self._waker.wake,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and send the last wake; whoever still waits for a job waits no longer."""
        self._waker.close()
        await self.producer.live.aclose()
        await self._teller.aclose()
        await self._engine.dispose()

    async def enqueue(
        self,
        params: Params,
        *,
        kind: str = "run",
        session: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncJob:
        """Put a job into the queue; it is there when this returns (with `session`: when that commits).

        Options: `webhook_url`, `metadata`, `tags`, `priority` (0 to 9, 9 first),
        `idempotency_key`, `external_id`, `delay_s`, `deadline_s`, `start_deadline_s`,
        `max_attempts`, `on_partial`, `tenant`, `link`, `link_error`, `custom_id`.

        Raises:
            InvalidJob: a parameter or option is wrong; nothing was written.
            IdempotencyConflict: the key belongs to another request.
            JobForgotten: the key's job was pruned.
        """
        asked = self.check(params, kind=kind, task_id=task_id, **options)
        tenant = asked.job.options.tenant
        if session is None:
            [view] = await self.producer.add([asked], tenant=tenant)
        else:
            [view] = await self.producer.add_within(session, [asked], tenant=tenant)
        return AsyncJob(view, self.producer)

    async def enqueue_many(
        self,
        params: Iterable[Params],
        *,
        name: str = "",
        budget_usd: Decimal | float | None = None,
        defaults: Params | None = None,
        kind: str = "run",
        **options: Any,
    ) -> AsyncBatch:
        """Put many jobs into the queue as one batch, a thousand per statement.

        Each of `params` is laid over `defaults`; `options` hold for all. When one is
        wrong, or `params` itself raises, the batch is canceled: what is in it already and
        has not gone out never will.

        Raises:
            InvalidJob: names the place and what is wrong.
        """
        shared = read_options(options, self._settings)
        batch_id = await self.producer.open_batch(
            tenant=shared.tenant, name=name, budget_usd=read_budget(budget_usd)
        )
        asked = (self._check_row(place, row, defaults, kind, shared) for place, row in enumerate(params))
        try:
            await self.producer.add_all(asked, tenant=shared.tenant, batch_id=batch_id)
        except Exception as error:
            try:
                await self.producer.cancel_batch(batch_id)
            except Exception as second:  # noqa: BLE001  the first one is what the caller has to see
                error.add_note(f"Batch {batch_id} could not be canceled either: {type(second).__name__}.")
            raise
        await self.producer.seal_batch(batch_id)
        return await self.batch(str(batch_id))

    async def upload(self, media: Path | str | bytes, **options: Any) -> AsyncJob:
        """Upload an image, video or audio (a Path, its bytes, a URL or data URI) as a job."""
        return await self.enqueue(media_params(media), kind="upload", **options)

    async def upload_model(self, params: Params, **options: Any) -> AsyncJob:
        """Upload a model of your own as a job; its phases are its progress."""
        return await self.enqueue({"taskType": "modelUpload", **params}, kind="upload", **options)

    async def train(self, params: Params, **options: Any) -> AsyncJob:
        """Train a model as a job that outlives every process."""
        return await self.enqueue({"taskType": "training", **params}, kind="training", **options)

    async def get(self, job_id: str | UUID) -> AsyncJob:
        """Find a job.

        Raises:
            JobNotFound: there is none with this id.
        """
        return AsyncJob(await self.producer.get(read_id(job_id), tenant=None), self.producer)

    async def events(self, job_id: str | UUID, after: int = 0) -> AsyncGenerator[dict[str, Any]]:
        """Yield a job's events, those to come too; see `AsyncJob.events`.

        Raises:
            JobNotFound: there is none with this id.
        """
        async with aclosing((await self.get(job_id)).events(after)) as events:
            async for event in events:
                yield event

    async def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        kind: str | None = None,
        batch: str | None = None,
        tag: str | None = None,
        tenant: str | None = None,
        limit: int = 50,
        cursor: AsyncJob | None = None,
    ) -> list[AsyncJob]:
        """List jobs, newest first; `cursor` is the last job of the page before."""
        views = await self.producer.page(
            tenant=tenant,
            states=[state] if isinstance(state, str) else list(state or ()),
            kind=kind,
            batch_id=None if batch is None else read_id(batch),
            tag=tag,
            before=None
            if cursor is None or cursor.created_at is None
            else (cursor.created_at, UUID(cursor.id)),
            limit=limit,
        )
        return [AsyncJob(view, self.producer) for view in views]

    async def batch(self, batch_id: str | UUID) -> AsyncBatch:
        """Find a batch.

        Raises:
            JobNotFound: there is none with this id.
        """
        return AsyncBatch(await self.producer.batch(read_id(batch_id), tenant=None), self.producer)

    def check(
        self, params: Params, *, kind: str = "run", task_id: str | None = None, **options: Any
    ) -> Asked:
        """Check a job as `enqueue` does, without writing it."""
        return self._check(params, read_options(options, self._settings), kind=kind, task_id=task_id)

    def _check(self, params: Params, options: Options, *, kind: str, task_id: str | None = None) -> Asked:
        return ask(
            params,
            options,
            kind=kind,
            job_id=None if task_id is None else read_id(task_id),
            reads_files=True,
            reads_strings=self._reads_strings,
            allow_private=self._settings.allow_private_webhooks,
        )

    def _check_row(
        self, place: int, row: Params, defaults: Params | None, kind: str, shared: Options
    ) -> Asked:
        merged = {**(defaults or {}), **row}
        custom_id = merged.pop("custom_id", None)
        options = replace(shared, custom_id=custom_id) if custom_id is not None else shared
        try:
            return self._check(merged, options, kind=kind)
        except InvalidJob as error:
            raise InvalidJob(
                f"job number {place} of the batch: {error.message}", parameter=error.parameter
            ) from error


class Jobs:
    """The queue, for ordinary code: threads, scripts, request handlers, forked servers.

    One `Jobs` may be shared by threads. `close()` or `with` closes it.
    """

    def __init__(self, settings: Settings | None = None, *, encode_local_files: bool = False) -> None:
        self._settings = settings or Settings()
        self._encode_local_files = encode_local_files
        find_services(self._settings)  # what is wrong is said here, not at the first job
        self._lock = threading.Lock()
        self._pid = 0
        self._opened: tuple[AsyncJobs, Portal] | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections, stop the thread and send the last wake; the next call opens again."""
        with self._lock:
            self._opened = None
            if self._finalizer is not None:
                self._finalizer()

    def enqueue(
        self,
        params: Params,
        *,
        kind: str = "run",
        session: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Job:
        """Put a job into the queue; see `AsyncJobs.enqueue` for options and errors.

        `session` is a SQLAlchemy Session or Connection, or a psycopg Connection:
        the job then exists when that commits.
        """
        if session is None:
            return self._job(self._block(self._inner.enqueue(params, kind=kind, task_id=task_id, **options)))
        inner = self._inner
        asked = inner.check(params, kind=kind, task_id=task_id, **options)
        if asked.job.options.webhook_url is not None:
            self._block(inner.producer.ensure_signing(asked.job.options.tenant))
        [added] = inner.producer.add_within_sync(session, [asked], tenant=asked.job.options.tenant)
        view = new_view(asked, added, None) | {"id": str(added.job_id), "replayed": added.replayed}
        return Job(view | {"created_at": moment(added.created_at)}, inner.producer, self._block)

    def enqueue_many(
        self,
        params: Iterable[Params],
        *,
        name: str = "",
        budget_usd: Decimal | float | None = None,
        defaults: Params | None = None,
        kind: str = "run",
        **options: Any,
    ) -> Batch:
        """Put many jobs into the queue as one batch; see `AsyncJobs.enqueue_many`."""
        return self._batch(
            self._block(
                self._inner.enqueue_many(
                    params, name=name, budget_usd=budget_usd, defaults=defaults, kind=kind, **options
                )
            )
        )

    def upload(self, media: Path | str | bytes, **options: Any) -> Job:
        """Upload an image, video or audio (a Path, its bytes, a URL or data URI) as a job."""
        return self._job(self._block(self._inner.upload(media, **options)))

    def upload_model(self, params: Params, **options: Any) -> Job:
        """Upload a model of your own as a job; its phases are its progress."""
        return self._job(self._block(self._inner.upload_model(params, **options)))

    def train(self, params: Params, **options: Any) -> Job:
        """Train a model as a job that outlives every process."""
        return self._job(self._block(self._inner.train(params, **options)))

    def get(self, job_id: str | UUID) -> Job:
        """Find a job; `JobNotFound` when there is none with this id."""
        return self._job(self._block(self._inner.get(job_id)))

    def events(self, job_id: str | UUID, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yield a job's events, those to come too; see `AsyncJobs.events`."""
        return self.get(job_id).events(after)

    def list(self, *, cursor: Job | None = None, **filters: Any) -> list[Job]:
        """List jobs, newest first; filters are `state, kind, batch, tag, tenant, limit`."""
        at = None if cursor is None else AsyncJob(cursor.to_dict(), self._inner.producer)
        return [self._job(job) for job in self._block(self._inner.list(cursor=at, **filters))]

    def batch(self, batch_id: str | UUID) -> Batch:
        """Find a batch; `JobNotFound` when there is none with this id."""
        return self._batch(self._block(self._inner.batch(batch_id)))

    @property
    def _inner(self) -> AsyncJobs:
        return self._open()[0]

    def _open(self) -> tuple[AsyncJobs, Portal]:
        with self._lock:
            # After a fork (a preloaded web server) neither thread nor sockets are ours.
            if self._opened is None or self._pid != os.getpid():
                portal = Portal()
                inner = portal.call(_open_async(self._settings, self._encode_local_files))
                self._pid = os.getpid()
                self._opened = inner, portal
                # Also at the program's end, and when nobody holds this object any more.
                self._finalizer = weakref.finalize(self, _close, inner, portal, self._pid)
            return self._opened

    def _block(self, awaitable: Awaitable[Any]) -> Any:
        return self._open()[1].call(awaitable)

    def _job(self, job: AsyncJob) -> Job:
        view = job.to_dict() | {"replayed": job.replayed}
        return Job(view, self._inner.producer, self._block)

    def _batch(self, batch: AsyncBatch) -> Batch:
        return Batch(batch.to_dict(), self._inner.producer, self._block)


def _close(inner: AsyncJobs, portal: Portal, pid: int) -> None:
    """Close what `Jobs` had opened, in the process that opened it."""
    if pid == os.getpid():
        portal.call(inner.aclose())
        portal.close()


async def _open_async(settings: Settings, encode_local_files: bool) -> AsyncJobs:
    return AsyncJobs(settings, encode_local_files=encode_local_files)


def wake_sender(broker_url: str) -> Callable[[], None]:
    """Make the function that sends one wake: a Celery message with a step's name and nothing else."""
    app = Celery("runware_jobs.producer", set_as_current=False)
    config = celery_broker(broker_url)
    options = config["broker_transport_options"]
    if broker_url.startswith(("redis", "rediss")):
        options = options | {"socket_timeout": 2, "socket_connect_timeout": 1, "max_retries": 0}
    app.conf.update(config | {"broker_transport_options": options, "broker_connection_timeout": 1})

    def send() -> None:
        app.send_task(WAKE_TASK, queue=QUEUE, ignore_result=True, retry=False, expires=60)

    return send
