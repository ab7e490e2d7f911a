"""The Celery tasks: intake for producers with only a broker, and wakes of the steps."""

from __future__ import annotations

from typing import Any

from celery.exceptions import Reject

from runware_jobs.errors import RunwareJobsError

from .app import app, current_loop


def _intake(task: Any, kind: str, params: dict[str, Any], options: dict[str, Any]) -> str:
    """Make a job whose id is the Celery task's; the message is done when the row is committed.

    Bad input fails the task. When the database is away the message goes back to
    the broker: it is lost neither here nor there.
    """
    try:
        return current_loop().intake(kind, params, options, task_id=task.request.id)
    except RunwareJobsError:
        raise
    except Exception as error:
        raise Reject(error, requeue=True) from error


@app.task(bind=True, name="runware_jobs.run")  # type: ignore[untyped-decorator]  # Celery is untyped
def run(self: Any, params: dict[str, Any], **options: Any) -> str:
    """Enqueue a run job; gives its id, which is this task's own."""
    return _intake(self, "run", params, options)


@app.task(bind=True, name="runware_jobs.upload")  # type: ignore[untyped-decorator]  # Celery is untyped
def upload(self: Any, params: dict[str, Any], **options: Any) -> str:
    """Enqueue an upload job; gives its id, which is this task's own."""
    return _intake(self, "upload", params, options)


@app.task(bind=True, name="runware_jobs.training")  # type: ignore[untyped-decorator]  # Celery is untyped
def training(self: Any, params: dict[str, Any], **options: Any) -> str:
    """Enqueue a training job; gives its id, which is this task's own."""
    return _intake(self, "training", params, options)


@app.task(name="runware_jobs.submit", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery is untyped
def submit() -> None:
    """Wake: something was enqueued."""
    current_loop().wake_submit()


@app.task(name="runware_jobs.deliver", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery is untyped
def deliver() -> None:
    """Wake: something is to leave for a webhook, a link or a signal."""
    current_loop().wake_outbox()


@app.task(name="runware_jobs.archive", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery is untyped
def archive() -> None:
    """Wake: outputs are to be copied before their URLs expire."""
    current_loop().wake_outbox()


@app.task(name="runware_jobs.rescue", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery is untyped
def rescue() -> None:
    """Wake: look for what nobody alive follows."""
    current_loop().wake_rescue()
