"""Intake of a Celery task: what a canvas asks of us is there before the job is, or the task is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from runware_jobs.core.canvas import chords_of, goes_on
from runware_jobs.errors import IdempotencyConflict, InvalidJob
from runware_jobs.store.celery_chords import unregistered_chords
from runware_jobs.store.celery_results import point_to_job
from runware_jobs.store.plans import run_async

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine


async def require_chords(engine: AsyncEngine, request: Mapping[str, Any]) -> None:
    """Refuse a task that is part of a chord which is not kept in this database: nobody would count it.

    Raises:
        InvalidJob: it is.
    """
    if not (groups := chords_of(request)):
        return
    async with engine.connect() as connection:
        missing = await run_async(connection, unregistered_chords(groups))
    if missing:
        raise InvalidJob(
            f"This task is part of chord {missing[0] or 'without a group'}, which is not registered in the"
            ' database of the jobs: set result_backend = "runware_jobs+postgresql://…" (that database) in'
            " the application that starts the chord, and in every one that works for it.",
            parameter="chord",
        )


async def note_replay(engine: AsyncEngine, task_id: str, job_id: str, request: Mapping[str, Any]) -> None:
    """Let a task whose key belongs to a job that is there show that job's result.

    Raises:
        IdempotencyConflict: something should follow the task, and would follow nothing.
    """
    if UUID(task_id) == UUID(job_id):
        return
    if goes_on(request):
        raise IdempotencyConflict(
            f"This key is that of job {job_id}, so that no job of this task will end, and nothing could follow"
            " it: leave out the key, or what follows.",
            parameter="idempotency_key",
            job_id=job_id,
        )
    async with engine.begin() as connection:
        await run_async(connection, point_to_job(task_id, UUID(job_id)))
