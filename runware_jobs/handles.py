"""Handles on jobs and batches: what was known at the last look, and how to look again.

The properties are the same in both worlds; only what goes to the database is
awaited in one and blocks in the other.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .errors import JobCanceled, JobFailed
from .options import read_budget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from .producer import Producer

    Block = Callable[[Awaitable[Any]], Any]
    View = dict[str, Any]

_FINAL = frozenset({"succeeded", "failed", "canceled"})


class JobView:
    """A job as of the last look. Times are aware UTC, money is `Decimal` dollars."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.kind} {self.state}>"

    @property
    def id(self) -> str:
        """The job's UUID."""
        return str(self._view["id"])

    @property
    def kind(self) -> str:
        """`run`, `upload` or `training`."""
        return str(self._view["kind"])

    @property
    def state(self) -> str:
        """One of scheduled, queued, submitting, running, succeeded, failed, canceled."""
        return str(self._view["state"])

    @property
    def is_final(self) -> bool:
        """True when this run has ended."""
        return self.state in _FINAL

    @property
    def replayed(self) -> bool:
        """True when `enqueue` found this job under its idempotency key instead of making it."""
        return bool(self._view.get("replayed", False))

    @property
    def progress(self) -> int | None:
        """Percent, as the platform tells; None where it does not."""
        value: int | None = self._view["progress"]
        return value

    @property
    def results(self) -> list[View]:
        """The items exactly as the platform returned them, in order, of the present run."""
        return list(self._view["results"])

    @property
    def failures(self) -> list[View]:
        """The errors of single results."""
        return list(self._view["failures"])

    @property
    def error(self) -> View | None:
        """Why the job failed: `code`, `message`, `retryable`, `parameter`; None otherwise."""
        value: View | None = self._view["error"]
        return value

    @property
    def cost_usd(self) -> Decimal | None:
        """What the platform charged so far; None while it has not said."""
        value = self._view["cost_usd"]
        return None if value is None else Decimal(value)

    @property
    def billing(self) -> str:
        """`none`, `billed`, `detached` (it goes on without us) or `unclear`."""
        return str(self._view["billing"])

    @property
    def task_uuid(self) -> str | None:
        """The Runware task of the present run's last attempt; None before the first send."""
        value: str | None = self._view["task_uuid"]
        return value

    @property
    def attempts(self) -> list[View]:
        """Every Runware task that was made for this job, oldest first."""
        return list(self._view["attempts"])

    @property
    def run(self) -> int:
        """1, and one more for each retry by hand."""
        return int(self._view["run"])

    @property
    def metadata(self) -> View:
        """What the producer gave along."""
        return dict(self._view["metadata"])

    @property
    def tags(self) -> list[str]:
        """The job's tags."""
        return list(self._view["tags"])

    @property
    def eta_at(self) -> datetime | None:
        """When it is expected to end; None while nothing was learned of its model, and at the end."""
        return _instant(self._view["eta_at"])

    @property
    def created_at(self) -> datetime | None:
        """When it was enqueued."""
        return _instant(self._view["created_at"])

    @property
    def submitted_at(self) -> datetime | None:
        """When the platform first had a task of it."""
        return _instant(self._view["submitted_at"])

    @property
    def finished_at(self) -> datetime | None:
        """When the present run ended."""
        return _instant(self._view["finished_at"])

    def to_dict(self) -> View:
        """Give what HTTP and `--json` show."""
        return {name: value for name, value in self._view.items() if name != "replayed"}

    def _ended_well(self) -> None:
        if self.state == "failed":
            message = (self.error or {}).get("message", "The job failed.")
            raise JobFailed(f"Job {self.id} failed: {message}", job=self)
        if self.state == "canceled":
            raise JobCanceled(f"Job {self.id} was canceled.", job=self)


class AsyncJob(JobView):
    """A job, for `async` code."""

    def __init__(self, view: View, producer: Producer) -> None:
        super().__init__(view)
        self._producer = producer

    async def refresh(self) -> AsyncJob:
        """Look again."""
        self._view = await self._producer.get(UUID(self.id), tenant=None)
        return self

    async def wait(self, timeout_s: float | None = None) -> AsyncJob:
        """Wait for the end; None waits as long as it takes.

        Raises:
            JobFailed, JobCanceled: it ended so; the error carries this job.
            JobTimeout: it goes on.
        """
        self._view = await self._producer.wait(UUID(self.id), timeout_s=timeout_s)
        self._ended_well()
        return self

    async def cancel(self) -> AsyncJob:
        """Cancel. Free before it was sent; afterwards the platform goes on and bills."""
        self._view = await self._producer.cancel(UUID(self.id), tenant=None)
        return self

    async def retry(self, *, accept_double_billing: bool = False) -> AsyncJob:
        """Run a failed or canceled job again (see `steps.cancel.retry`)."""
        self._view = await self._producer.retry(
            UUID(self.id), tenant=None, accept_double_billing=accept_double_billing
        )
        return self

    async def events(self, after: int = 0) -> AsyncGenerator[View]:
        """Yield events with `seq` above `after`, those to come too, until the job is final.

        Each once and in order, also over runs; may be left at any time. Afterwards this
        handle shows how the job ended.

        Raises:
            JobNotFound: there is no such job, or it was pruned meanwhile.
        """
        await self.refresh()
        async with aclosing(self._producer.live.follow(UUID(self.id), after=after)) as events:
            async for event in events:
                yield event
        await self.refresh()


class Job(JobView):
    """A job, for ordinary code: each method blocks until the database has answered."""

    def __init__(self, view: View, producer: Producer, block: Block) -> None:
        super().__init__(view)
        self._block = block
        self._job = AsyncJob(view, producer)

    def refresh(self) -> Job:
        """Look again."""
        return self._did(self._job.refresh())

    def wait(self, timeout_s: float | None = None) -> Job:
        """Wait for the end; None waits as long as it takes.

        Raises:
            JobFailed, JobCanceled: it ended so; the error carries this job.
            JobTimeout: it goes on.
        """
        self._view = self._block(self._job._producer.wait(UUID(self.id), timeout_s=timeout_s))  # noqa: SLF001  its twin
        self._ended_well()
        return self

    def cancel(self) -> Job:
        """Cancel. Free before it was sent; afterwards the platform goes on and bills."""
        return self._did(self._job.cancel())

    def retry(self, *, accept_double_billing: bool = False) -> Job:
        """Run a failed or canceled job again (see `steps.cancel.retry`)."""
        return self._did(self._job.retry(accept_double_billing=accept_double_billing))

    def events(self, after: int = 0) -> Iterator[View]:
        """Yield events with `seq` above `after`, those to come too, until the job is final; see `AsyncJob.events`."""
        self.refresh()
        # Asked for a few at a time, so that whoever leaves in between leaves nothing behind.
        while events := self._block(self._job._producer.live.next_events(UUID(self.id), after=after)):  # noqa: SLF001  its twin
            for event in events:
                after = event["seq"]
                yield event
        self.refresh()

    def _did(self, awaitable: Awaitable[AsyncJob]) -> Job:
        self._view = self._block(awaitable)._view  # noqa: SLF001  its twin
        return self


class BatchView:
    """A batch as of the last look."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.finished}/{self.total}>"

    @property
    def id(self) -> str:
        """The batch's UUID."""
        return str(self._view["id"])

    @property
    def name(self) -> str:
        """What its producer called it."""
        return str(self._view["name"])

    @property
    def state(self) -> str:
        """`open`, `paused`, `canceled`, or `completed` when everything in it has ended."""
        return str(self._view["state"])

    @property
    def counts(self) -> dict[str, int]:
        """Jobs by state; states without jobs are left out."""
        return dict(self._view["counts"])

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return int(self._view["total"])

    @property
    def finished(self) -> int:
        """How many of them have ended."""
        return int(self._view["finished"])

    @property
    def cost_usd(self) -> Decimal | None:
        """What the platform charged so far; None while it has not said."""
        value = self._view["cost_usd"]
        return None if value is None else Decimal(value)

    def to_dict(self) -> View:
        """Give what HTTP and `--json` show."""
        return dict(self._view)


class AsyncBatch(BatchView):
    """A batch, for `async` code."""

    def __init__(self, view: View, producer: Producer) -> None:
        super().__init__(view)
        self._producer = producer

    async def refresh(self) -> AsyncBatch:
        """Look again."""
        self._view = await self._producer.batch(UUID(self.id), tenant=None)
        return self

    async def wait(self, timeout_s: float | None = None) -> AsyncBatch:
        """Wait until each of its jobs has ended, well or not.

        Raises:
            JobTimeout: some have not; they go on.
        """
        self._view = await self._producer.wait_for_batch(UUID(self.id), timeout_s=timeout_s)
        return self

    async def pause(self) -> AsyncBatch:
        """Send no more of its jobs; those in flight go on."""
        await self._producer.pause_batch(UUID(self.id))
        return await self.refresh()

    async def resume(self, *, budget_usd: Decimal | float | None = None) -> AsyncBatch:
        """Go on after a pause, under a new budget when one is given."""
        await self._producer.resume_batch(UUID(self.id), budget_usd=read_budget(budget_usd))
        return await self.refresh()

    async def cancel(self) -> AsyncBatch:
        """Cancel each of its jobs that has not ended."""
        await self._producer.cancel_batch(UUID(self.id))
        return await self.refresh()

    async def retry_failed(self) -> tuple[int, int]:
        """Retry its failed jobs: (run again, skipped because their billing is unclear)."""
        return await self._producer.retry_failed(UUID(self.id))


class Batch(BatchView):
    """A batch, for ordinary code."""

    def __init__(self, view: View, producer: Producer, block: Block) -> None:
        super().__init__(view)
        self._block = block
        self._batch = AsyncBatch(view, producer)

    def refresh(self) -> Batch:
        """Look again."""
        return self._did(self._batch.refresh())

    def wait(self, timeout_s: float | None = None) -> Batch:
        """Wait until each of its jobs has ended, well or not; `JobTimeout` when some have not."""
        return self._did(self._batch.wait(timeout_s))

    def pause(self) -> Batch:
        """Send no more of its jobs; those in flight go on."""
        return self._did(self._batch.pause())

    def resume(self, *, budget_usd: Decimal | float | None = None) -> Batch:
        """Go on after a pause, under a new budget when one is given."""
        return self._did(self._batch.resume(budget_usd=budget_usd))

    def cancel(self) -> Batch:
        """Cancel each of its jobs that has not ended."""
        return self._did(self._batch.cancel())

    def retry_failed(self) -> tuple[int, int]:
        """Retry its failed jobs: (run again, skipped because their billing is unclear)."""
        counts: tuple[int, int] = self._block(self._batch.retry_failed())
        return counts

    def _did(self, awaitable: Awaitable[AsyncBatch]) -> Batch:
        self._view = self._block(awaitable)._view  # noqa: SLF001  its twin
        return self


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
