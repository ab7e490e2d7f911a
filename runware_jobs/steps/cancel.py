"""Cancel and retry: what a person may still change about a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runware_jobs.core.events import EventType
from runware_jobs.core.states import Billing, JobState
from runware_jobs.errors import JobNotFound, NotPossible
from runware_jobs.store import batches, jobs
from runware_jobs.store.moves import announce

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


RETRIED_AT_ONCE: Final = 1_000
"""So many jobs of a batch one transaction locks: moves of theirs, and whoever reads them for a change, wait for it."""


async def cancel(connection: AsyncConnection, job_id: UUID, *, tenant: str | None) -> bool:
    """Cancel a job; False when it was final already. The caller commits.

    Before the send it costs nothing. Afterwards the platform goes on and bills:
    `billing` becomes `detached`, and late results still arrive.

    Raises:
        JobNotFound: there is no such job for this tenant.
    """
    if not await jobs.lock_jobs(connection, [job_id], tenant=tenant):
        raise JobNotFound(f"There is no job {job_id}.", job_id=job_id)
    return bool(await cancel_locked(connection, [job_id]))


async def cancel_locked(connection: AsyncConnection, job_ids: Sequence[UUID]) -> list[UUID]:
    """Cancel locked jobs and tell so; give those that were not final yet."""
    canceled = await jobs.cancel_jobs(connection, job_ids)
    await announce(connection, [_event(job_id, EventType.JOB_CANCELED) for job_id in canceled])
    return canceled


async def retry(
    connection: AsyncConnection, job_id: UUID, *, tenant: str | None, accept_double_billing: bool
) -> None:
    """Run a failed or canceled job again, as a new run; the caller commits.

    It asks for the results that are missing. While its last attempt has not ended, that
    attempt is taken up again instead of paying for another; and where late results have
    completed the job meanwhile, it has succeeded, without a task.

    Raises:
        JobNotFound: there is no such job for this tenant.
        NotPossible: the job is not failed or canceled, or nobody knows whether it
            was billed and `accept_double_billing` is False.
    """
    found = await jobs.lock_jobs(connection, [job_id], tenant=tenant)
    if not found:
        raise JobNotFound(f"There is no job {job_id}.", job_id=job_id)
    [job] = found
    if job["state"] not in {JobState.FAILED, JobState.CANCELED}:
        raise NotPossible(
            f"Job {job_id} cannot be retried in state {job['state']!r}: only failed and canceled jobs can.",
            job_id=job_id,
        )
    batch_ids = [job["batch_id"]] if job["batch_id"] is not None else []
    if await jobs.readopt_jobs(connection, [job_id]):
        await announce(connection, [_event(job_id, EventType.JOB_RETRYING, adopted=True)])
        await batches.reopen_batches(connection, batch_ids)
        return
    if await jobs.complete_jobs(connection, [job_id]):
        await announce(connection, _run_without_a_task(job_id))
        return
    if job["billing"] == Billing.UNCLEAR and not accept_double_billing:
        raise NotPossible(
            f"Nobody knows whether job {job_id} was billed: pass accept_double_billing=True to run it again.",
            parameter="accept_double_billing",
            job_id=job_id,
        )
    if not await jobs.requeue_jobs(connection, [job_id]):
        raise NotPossible(
            f"Job {job_id} has an attempt that is being sent; try again shortly.", job_id=job_id
        )
    await announce(connection, [_event(job_id, EventType.JOB_RETRYING, adopted=False)])
    await batches.reopen_batches(connection, batch_ids)


@dataclass(frozen=True, slots=True)
class Retried:
    """What one piece of `retry_failed` did; the next one begins behind `last` (None: there is none)."""

    retried: int = 0
    skipped: int = 0
    last: UUID | None = None


async def retry_failed(
    connection: AsyncConnection, batch_id: UUID, *, after: UUID | None = None, limit: int = RETRIED_AT_ONCE
) -> Retried:
    """Retry at most `limit` of a batch's failed jobs, in the order of their ids, from behind `after`.

    Gives how many run again, or lacked nothing, and how many were skipped, because their
    billing is unclear. The caller commits, and goes on until nothing is left. What it has
    committed runs again: interrupted and begun anew, nothing is retried twice.
    """
    page = await batches.failed_jobs_of(connection, batch_id, after=after, limit=limit)
    if not page:
        return Retried()
    ready = [job_id for job_id, billing in page if billing != Billing.UNCLEAR]
    await jobs.lock_jobs(connection, ready, tenant=None)
    adopted = await jobs.readopt_jobs(connection, ready)
    completed = await jobs.complete_jobs(connection, ready)
    again = await jobs.requeue_jobs(connection, ready)
    await announce(
        connection,
        [_event(job_id, EventType.JOB_RETRYING, adopted=True) for job_id in adopted]
        + [event for job_id in completed for event in _run_without_a_task(job_id)]
        + [_event(job_id, EventType.JOB_RETRYING, adopted=False) for job_id in again],
    )
    retried = len(adopted) + len(completed) + len(again)
    if retried:
        await batches.reopen_batches(connection, [batch_id])
    return Retried(retried, len(page) - len(ready), page[-1][0])


def _run_without_a_task(job_id: UUID) -> list[dict[str, object]]:
    return [
        _event(job_id, EventType.JOB_RETRYING, adopted=False) | {"back": 1},
        _event(job_id, EventType.JOB_SUCCEEDED),
    ]


def _event(job_id: UUID, type_: EventType, **data: bool) -> dict[str, object]:
    return {"job_id": str(job_id), "type": type_, "data": data, "back": 0}
