"""The producer, written once and async: what `Jobs`, `AsyncJobs` and the HTTP API stand on.

Everything that comes in is checked by `steps.enqueue` before the first write;
everything that goes out is a view (`core.views`). `tenant` None in a reading method
means any tenant: for trusted callers, never for the API.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .core.identity import new_job_id
from .core.signing import new_secret
from .core.states import FINAL, JobState
from .core.views import batch_view, event_view, job_view
from .errors import InvalidJob, JobNotFound, JobTimeout, NotPossible
from .steps import cancel as steps
from .steps.bulk import write_all
from .steps.enqueue import new_view, plan
from .steps.live import Live
from .store import batches, endpoints, jobs, reading
from .store.plans import is_deadlock, run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .core.signing import Vault
    from .steps.enqueue import Asked
    from .store.enqueue import Enqueued
    from .store.plans import Rows, Statement

    View = dict[str, Any]

MAX_PAGE: Final = 500
_IDS_AT_ONCE: Final = 10_000
_TRIES: Final = 3


class Producer:
    """Puts jobs into the queue and reads what became of them.

    `live` tells it to whoever waits; close it before the engine.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        base_url: str | None,
        fallback_url: str,
        vault: Vault | None,
        wake: Callable[[], None],
    ) -> None:
        self.live = Live(engine)
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._base_url = base_url
        self._fallback_url = fallback_url
        self._vault = vault
        self._wake = wake

    # Into the queue

    async def add(self, asked: Sequence[Asked], *, tenant: str, batch_id: UUID | None = None) -> list[View]:
        """Write checked jobs in one transaction of ours and wake the workers.

        Raises:
            InvalidJob: a webhook was asked for, and there is no key to sign it.
            IdempotencyConflict, JobForgotten: see `store.enqueue`; nothing is kept.
        """
        added = await self._write(asked, tenant=tenant, batch_id=batch_id)
        self._wake()
        return await self._views(asked, added, batch_id)

    async def add_all(self, asked: Iterable[Asked], *, tenant: str, batch_id: UUID) -> None:
        """Write as many checked jobs as come into a batch; see `steps.bulk`.

        Raises:
            NotPossible, JobNotFound: the batch takes no jobs, or there is none.
            As `add`; the jobs of other chunks are kept.
        """

        async def write(chunk: list[Asked]) -> None:
            await self._write(chunk, tenant=tenant, batch_id=batch_id)
            self._wake()

        await write_all(asked, write)

    async def _write(self, asked: Sequence[Asked], *, tenant: str, batch_id: UUID | None) -> list[Enqueued]:
        is_one_statement = (
            len(asked) == 1 and not asked[0].inputs and asked[0].job.options.webhook_url is None
        )
        # A statement is a transaction by itself: two round trips less.
        engine = self._autocommit if is_one_statement else self._engine
        for tries_left in reversed(range(_TRIES)):
            try:
                async with engine.begin() as connection:
                    return await self._add(connection, asked, tenant=tenant, batch_id=batch_id)
            except Exception as error:
                # Two producers that have keys in common, of two kinds: one was rolled back.
                if not tries_left or not is_deadlock(error):
                    raise
        raise AssertionError("the last try has returned or raised")

    async def add_within(self, session: Any, asked: Sequence[Asked], *, tenant: str) -> list[View]:
        """Write checked jobs in the caller's async transaction; they exist when it commits."""
        added = await self._add(session, asked, tenant=tenant, batch_id=None)
        self._wake()
        return await self._views(asked, added, None)

    def add_within_sync(self, session: object, asked: Sequence[Asked], *, tenant: str) -> list[Enqueued]:
        """Write checked jobs in the caller's sync transaction, in the caller's thread."""
        if any(one.job.options.webhook_url for one in asked):
            self._require_vault()
        added = run_sync(session, self._plan(asked, tenant, None))
        self._wake()
        return added

    async def ensure_signing(self, tenant: str) -> None:
        """Give the tenant its default signing secret, so that its webhooks can be signed."""
        vault = self._require_vault()
        async with self._engine.begin() as connection:
            await endpoints.ensure_default_endpoint(connection, tenant, vault.encrypt(new_secret()))

    async def _add(
        self, connection: AsyncConnection, asked: Sequence[Asked], *, tenant: str, batch_id: UUID | None
    ) -> list[Enqueued]:
        if any(one.job.options.webhook_url for one in asked):
            vault = self._require_vault()
            await endpoints.ensure_default_endpoint(connection, tenant, vault.encrypt(new_secret()))
        return await run_async(connection, self._plan(asked, tenant, batch_id))

    def _plan(
        self, asked: Sequence[Asked], tenant: str, batch_id: UUID | None
    ) -> Generator[Statement, Rows, list[Enqueued]]:
        return plan(
            asked, tenant=tenant, base_url=self._base_url, fallback_url=self._fallback_url, batch_id=batch_id
        )

    def _require_vault(self) -> Vault:
        if self._vault is None:
            raise InvalidJob(
                "Webhooks cannot be signed: set RUNWARE_JOBS_SECRET_KEY to a long random string.",
                parameter="webhook_url",
            )
        return self._vault

    async def _views(
        self, asked: Sequence[Asked], added: Sequence[Enqueued], batch_id: UUID | None
    ) -> list[View]:
        replayed = [one.job_id for one in added if one.replayed]
        known = await self.read(replayed, tenant=None) if replayed else {}
        return [
            known[one.job_id] | {"replayed": True} if one.replayed else new_view(ask, one, batch_id)
            for ask, one in zip(asked, added, strict=True)
        ]

    # Reading

    async def read(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, View]:
        """Read jobs that are there and visible to the tenant."""
        async with self._engine.connect() as connection:
            rows = await jobs.read_jobs(connection, job_ids, tenant=tenant)
        return {job_id: job_view(row) for job_id, row in rows.items()}

    async def get(self, job_id: UUID, *, tenant: str | None) -> View:
        """Read one job.

        Raises:
            JobNotFound: there is none for this tenant.
        """
        found = await self.read([job_id], tenant=tenant)
        if job_id not in found:
            raise JobNotFound(f"There is no job {job_id}.", job_id=job_id)
        return found[job_id]

    async def page(
        self,
        *,
        tenant: str | None,
        states: Sequence[str] = (),
        kind: str | None = None,
        batch_id: UUID | None = None,
        tag: str | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 50,
    ) -> list[View]:
        """Read a page of jobs, newest first."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidJob(f"limit must be a number from 1 to {MAX_PAGE}", parameter="limit")
        unknown = set(states) - set(JobState)
        if unknown:
            raise InvalidJob(f"state {min(unknown)!r} is none of {', '.join(JobState)}", parameter="state")
        async with self._engine.connect() as connection:
            rows = await jobs.list_jobs(
                connection,
                tenant=tenant,
                states=states,
                kind=kind,
                batch_id=batch_id,
                tag=tag,
                before=before,
                limit=limit,
            )
        return [job_view(row) for row in rows]

    async def events(self, job_id: UUID, *, after: int) -> list[View]:
        """Read a job's events after `seq` number `after`."""
        async with self._engine.connect() as connection:
            return [event_view(row) for row in await jobs.read_events(connection, job_id, after=after)]

    async def wait(self, job_id: UUID, *, timeout_s: float | None) -> View:
        """Wait until a job is final and read it.

        Raises:
            JobNotFound: there is none.
            JobTimeout: it is not final yet; it goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        async with self._engine.connect() as connection:
            states = await jobs.read_states(connection, [job_id])
        is_open = states.get(job_id, JobState.SUCCEEDED) not in FINAL
        while True:
            try:
                async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                    is_told = not is_open or await self.live.job_ended(job_id)
            except TimeoutError:
                raise JobTimeout(
                    f"Job {job_id} is not final after {timeout_s:g} s; it goes on.", job_id=job_id
                ) from None
            view = await self.get(job_id, tenant=None)
            if view["state"] in FINAL:
                return view
            if not is_told:
                raise JobTimeout(
                    f"The queue was closed while job {job_id} was waited for; it goes on.", job_id=job_id
                )
            is_open = True  # it runs again

    # Changing one's mind

    async def cancel(self, job_id: UUID, *, tenant: str | None) -> View:
        """Cancel a job, as far as it can be (DESIGN 4); a final one stays as it is."""
        async with self._engine.begin() as connection:
            await steps.cancel(connection, job_id, tenant=tenant)
        self._wake()  # somebody may be told of it
        return await self.get(job_id, tenant=tenant)

    async def retry(self, job_id: UUID, *, tenant: str | None, accept_double_billing: bool) -> View:
        """Run a failed or canceled job again."""
        async with self._engine.begin() as connection:
            await steps.retry(connection, job_id, tenant=tenant, accept_double_billing=accept_double_billing)
        self._wake()
        return await self.get(job_id, tenant=tenant)

    # Batches

    async def open_batch(self, *, tenant: str, name: str, budget_usd: Decimal | None) -> UUID:
        """Open a batch that jobs can be added to."""
        batch_id = new_job_id()
        async with self._engine.begin() as connection:
            await batches.create_batch(connection, batch_id, tenant=tenant, name=name, budget_usd=budget_usd)
        return batch_id

    async def add_batch(
        self,
        chunks: AsyncIterable[Sequence[Asked]],
        *,
        tenant: str,
        name: str,
        budget_usd: Decimal | None,
    ) -> View:
        """Write a whole batch in one transaction: all of it is there, or nothing.

        Whatever `chunks` raises goes to the caller, and no row of the batch is left.
        The chunks must be at hand: a transaction does not wait for a network.
        """
        batch_id = new_job_id()
        async with self._engine.begin() as connection:
            await batches.create_batch(connection, batch_id, tenant=tenant, name=name, budget_usd=budget_usd)
            async for asked in chunks:
                await self._add(connection, asked, tenant=tenant, batch_id=batch_id)
            await batches.seal_batch(connection, batch_id)
        self._wake()
        return await self.batch(batch_id, tenant=tenant)

    async def ended_jobs_of(
        self, batch_id: UUID, *, states: Sequence[str], ids_at_once: int = _IDS_AT_ONCE, page: int = MAX_PAGE
    ) -> AsyncIterator[View]:
        """Yield a batch's jobs in these states, in the order they were enqueued.

        Read page by page: no transaction stays open between two, however slowly they
        are taken. Naming the jobs sorts the whole batch, so many are named at once.
        """
        after: UUID | None = None
        while True:
            async with self._engine.connect() as connection:
                ids = await reading.ended_jobs_of(
                    connection, batch_id, states=states, after=after, limit=ids_at_once
                )
            for start in range(0, len(ids), page):
                wanted = ids[start : start + page]
                found = await self.read(wanted, tenant=None)
                for job_id in wanted:
                    if job_id in found:
                        yield found[job_id]
            if len(ids) < ids_at_once:
                return
            after = ids[-1]

    async def seal_batch(self, batch_id: UUID) -> None:
        """Say that everything was added."""
        async with self._engine.begin() as connection:
            await batches.seal_batch(connection, batch_id)

    async def batch(self, batch_id: UUID, *, tenant: str | None) -> View:
        """Read a batch with its counts.

        Raises:
            JobNotFound: there is none for this tenant.
        """
        async with self._engine.connect() as connection:
            row = await batches.read_batch(connection, batch_id, tenant=tenant)
        if row is None:
            raise JobNotFound(f"There is no batch {batch_id}.")
        return batch_view(row)

    async def batch_page(self, *, tenant: str | None, limit: int = 50) -> list[UUID]:
        """Name the newest batches."""
        async with self._engine.connect() as connection:
            return [row["id"] for row in await batches.list_batches(connection, tenant=tenant, limit=limit)]

    async def wait_for_batch(self, batch_id: UUID, *, timeout_s: float | None) -> View:
        """Wait until every job of a batch is final.

        Raises:
            JobTimeout: some are not; they go on.
        """
        view = await self.batch(batch_id, tenant=None)
        if view["finished"] == view["total"]:
            return view
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.live.batch_ended(batch_id)
        view = await self.batch(batch_id, tenant=None)
        if view["finished"] < view["total"]:
            why = "when the queue was closed" if timeout_s is None else f"after {timeout_s:g} s"
            raise JobTimeout(
                f"Batch {batch_id} has {view['total'] - view['finished']} jobs to go {why}; they go on."
            )
        return view

    async def pause_batch(self, batch_id: UUID) -> None:
        """Send no more jobs of this batch; what is in flight goes on."""
        async with self._engine.begin() as connection:
            await batches.pause_batch(connection, batch_id, reason="user")

    async def resume_batch(self, batch_id: UUID, *, budget_usd: Decimal | None) -> None:
        """Go on with a paused batch, under a new budget when one is given."""
        async with self._engine.begin() as connection:
            resumed = await batches.resume_batch(connection, batch_id, budget_usd=budget_usd)
        if not resumed:
            raise NotPossible(f"Batch {batch_id} is not paused.")
        self._wake()

    async def cancel_batch(self, batch_id: UUID) -> int:
        """Cancel every job of a batch that is not final, and take no more; give how many."""
        async with self._engine.begin() as connection:
            await batches.cancel_batch(connection, batch_id)
        canceled = 0
        while True:
            async with self._engine.begin() as connection:
                ids = await batches.open_jobs_of(connection, batch_id, limit=1000)
                if not ids:
                    return canceled
                await jobs.lock_jobs(connection, ids, tenant=None)
                canceled += len(await steps.cancel_locked(connection, ids))
            self._wake()

    async def retry_failed(self, batch_id: UUID) -> tuple[int, int]:
        """Retry the failed jobs of a batch: (run again, skipped for unclear billing).

        In pieces, each committed: interrupted, called again it goes on with what is left.
        """
        retried = skipped = 0
        after: UUID | None = None
        while True:
            async with self._engine.begin() as connection:
                piece = await steps.retry_failed(connection, batch_id, after=after)
            if piece.last is None:
                return retried, skipped
            retried, skipped, after = retried + piece.retried, skipped + piece.skipped, piece.last
            self._wake()
