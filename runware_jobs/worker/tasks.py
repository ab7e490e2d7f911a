"""The Celery tasks: intake for producers with only a broker, and wakes of the steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from celery import Task
from celery.exceptions import Ignore, Reject

from runware_jobs.core.canvas import canvas_of
from runware_jobs.errors import InvalidJob, RunwareJobsError

from .app import QUEUE, app, current_loop
from .celery_results import address

if TYPE_CHECKING:
    from celery.canvas import Signature

_MID_CHAIN: Final = (
    " In a chain the result of the task before comes first: use `.si(...)` to leave it out,"
    " or let that task return params and call `.s()` with options only."
)


class JobTask(Task):  # type: ignore[misc]  # Celery is untyped
    """A task that makes a job of its message. Its result is the job's; its signature knows our queue."""

    abstract = True
    ignore_result = False
    # What it is called with is judged where a wrong call fails visibly: at intake.
    typing = False

    def signature(self, args: Any = None, *more: Any, **options: Any) -> Signature:
        """Give a signature that finds our queue, whichever application publishes it."""
        signature = super().signature(args, *more, **options)
        signature.options.setdefault("queue", QUEUE)
        return signature

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Send the task; what follows it carries its queue along, since a worker of ours will publish it."""
        for name in ("chain", "link", "link_error"):
            followers = options.get(name)
            address([followers] if isinstance(followers, dict) else followers, app)
        return super().apply_async(*args, **options)


def _intake(task: Any, kind: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Make a job whose id is the Celery task's; the message is done when the row is committed.

    What follows the task is kept with the job, and nothing of it happens here (`Ignore`).
    Bad input fails the task, with all that Celery does then. When the database is away
    the message goes back to the broker: it is lost neither here nor there.
    """
    loop = current_loop()
    try:
        try:
            params = _params(given, options)
            loop.intake(kind, params, options, request=task.request, canvas=_canvas(task))
        except RunwareJobsError:
            loop.require_database()  # which the failure is written to
            raise
    except RunwareJobsError:
        raise
    except Exception as error:
        raise Reject(error, requeue=True) from error
    raise Ignore


def _canvas(task: Any) -> dict[str, Any]:
    # By way of Celery's JSON, which marks what JSON has no word for: times among the arguments of others.
    kept = canvas_of(task.request.id, task.name, vars(task.request))
    return dict(json.loads(task.backend.encode(kept)))


def _params(given: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Find the params among the arguments of a call.

    Raises:
        InvalidJob: there are none, several, or something else.
    """
    given = (*given, *([options.pop("params")] if "params" in options else []))
    if len(given) != 1:
        raise InvalidJob(f"One argument is taken, params; {len(given)} came.{_MID_CHAIN}", parameter="params")
    if not isinstance(given[0], dict):
        kind = type(given[0]).__name__
        raise InvalidJob(f"params must be a dict, and a {kind} came.{_MID_CHAIN}", parameter="params")
    return given[0]


@app.task(bind=True, base=JobTask, name="runware_jobs.run")  # type: ignore[untyped-decorator]  # Celery is untyped
def run(self: Any, *params: Any, **options: Any) -> None:
    """Make a run job of `run(params, **options)`; its id is this task's own."""
    _intake(self, "run", params, options)


@app.task(bind=True, base=JobTask, name="runware_jobs.upload")  # type: ignore[untyped-decorator]  # Celery is untyped
def upload(self: Any, *params: Any, **options: Any) -> None:
    """Make an upload job of `upload(params, **options)`; its id is this task's own."""
    _intake(self, "upload", params, options)


@app.task(bind=True, base=JobTask, name="runware_jobs.training")  # type: ignore[untyped-decorator]  # Celery is untyped
def training(self: Any, *params: Any, **options: Any) -> None:
    """Make a training job of `training(params, **options)`; its id is this task's own."""
    _intake(self, "training", params, options)


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
