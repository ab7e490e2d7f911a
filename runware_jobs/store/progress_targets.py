"""Who is to be told of progress: looked up right before, so that nobody is told of a job that has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.events import EventType
from runware_jobs.core.states import JobState

from .endpoints import SIGNING_SECRETS
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class ProgressEndpoint:
    """A standing endpoint that asks for progress by name; `secrets` are encrypted, newest first."""

    id: UUID
    url: str
    secrets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job that has not ended; `seq` is that of its last event."""

    job_id: UUID
    batch_id: UUID | None
    run: int
    seq: int
    endpoints: tuple[ProgressEndpoint, ...]


async def read_running(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, RunningJob]:
    """Read those of these jobs that are running now, with the endpoints of their tenants that want progress."""
    rows = await connection.execute(text(_RUNNING), {"ids": [str(job_id) for job_id in job_ids]})
    running: dict[UUID, RunningJob] = {}
    for row in rows:
        endpoints = running[row.id].endpoints if row.id in running else ()
        if row.endpoint_id is not None:
            secrets = tuple(bytes(secret) for secret in row.secrets)
            endpoints += (ProgressEndpoint(row.endpoint_id, row.url, secrets),)
        running[row.id] = RunningJob(
            job_id=row.id, batch_id=row.batch_id, run=row.run, seq=row.seq, endpoints=endpoints
        )
    return running


_RUNNING: Final = f"""
SELECT job.id, job.batch_id, job.run, job.seq, endpoint.id AS endpoint_id, endpoint.url,
    {SIGNING_SECRETS} AS secrets
FROM {SCHEMA}.job
LEFT JOIN {SCHEMA}.endpoint ON endpoint.tenant = job.tenant AND endpoint.is_enabled
    AND endpoint.url IS NOT NULL AND '{EventType.JOB_PROGRESS}' = ANY (endpoint.events)
WHERE job.id = ANY (CAST(:ids AS uuid[])) AND job.state = '{JobState.RUNNING}'
ORDER BY job.id, endpoint.id
"""
