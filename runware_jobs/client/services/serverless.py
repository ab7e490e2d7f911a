"""Apps of one's own on the platform's serverless service: invoke an endpoint, follow its task, list tasks.

The caller names the task, and naming it again gives the same task: so an invocation is repeated
freely, always under its own id, and never runs twice.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runware_jobs.client.backoff import is_repeated
from runware_jobs.client.error_codes import REQUEST_TIMEOUT, ErrorCode
from runware_jobs.client.errors import RunwareError, create_runware_error
from runware_jobs.client.option_checks import check_timeout
from runware_jobs.client.parts import is_given_up, unless_cancelled

from .http import repeated
from .serverless_api import ServerlessApi, check_name, invocation_body, refused_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runware_jobs.client.parts import Parts

    from .serverless_api import ServerlessTask, TaskPage, TaskStatus

_FINAL = frozenset({"completed", "failed"})
_POLL_S = 2.0
# The store learns of a task a little after the invocation was answered (PROTOCOL 10.3).
_STORE_LAG_S = 30.0


@dataclass(frozen=True, slots=True)
class InvokeOptions:
    """Options of one `invoke()`. Milliseconds, but for `poll_interval`, which is in seconds.

    With `delivery_method="sync"` the service answers with the finished task if that does not take too long.
    `wait=False` gives the task as it is after the invocation. `timeout` limits one HTTP call, `poll_timeout` the
    whole of it; None keeps the client's own.
    """

    delivery_method: Literal["async", "sync"] = "async"
    wait: bool = True
    poll_interval: float | None = None
    poll_timeout: float | None = None
    timeout: float | None = None
    cancel_event: asyncio.Event | None = None

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if self.poll_timeout is not None and not self.poll_timeout > 0:
            raise refused_name("poll_timeout", self.poll_timeout, "use milliseconds above 0")
        if self.delivery_method not in {"async", "sync"}:
            raise refused_name("delivery_method", self.delivery_method, 'use "async" or "sync"')
        if self.poll_interval is not None and not self.poll_interval > 0:
            raise refused_name("poll_interval", self.poll_interval, "use seconds above 0")


@dataclass(frozen=True, slots=True)
class GetTaskOptions:
    """Options of one `get_task()` or `list_tasks()`. `timeout` limits one HTTP call, in milliseconds."""

    timeout: float | None = None
    cancel_event: asyncio.Event | None = None

    def __post_init__(self) -> None:
        check_timeout(self.timeout)


async def invoke(
    parts: Parts,
    app_id: str,
    endpoint_path: str,
    payload: Mapping[str, Any] | None,
    *,
    task_id: str | None,
    environment: str | None,
    options: InvokeOptions,
) -> ServerlessTask:
    """Invoke an endpoint and follow its task to the end; see `Runware.invoke`."""
    task_id = str(uuid.uuid4()) if task_id is None else check_name("task_id", task_id)
    api = ServerlessApi(parts, environment, options.timeout)
    check_name("app_id", app_id)
    check_name("endpoint_path", endpoint_path)
    body = invocation_body(task_id, payload)

    async def to_the_end() -> ServerlessTask:
        delivery = options.delivery_method
        task = await repeated(parts, lambda: api.invoke(app_id, endpoint_path, body, delivery=delivery))
        if not options.wait:
            return task
        # An id that was used before names the task of then, which may be another app's.
        owner = check_name("app_id", task["appId"])
        return await follow(
            task, lambda: api.task(owner, task_id), interval_s=options.poll_interval or _POLL_S
        )

    budget_s = (options.poll_timeout or parts.config.poll_timeout) / 1_000
    try:
        return await unless_cancelled(_within(budget_s, to_the_end), options.cancel_event, parts.closing)
    except RunwareError as error:  # whatever happened, the caller can ask for the task later
        raise error.changed(task_uuid=task_id) from error


async def get_task(
    parts: Parts, app_id: str, task_id: str, *, environment: str | None, options: GetTaskOptions
) -> ServerlessTask:
    """Ask for a task as it is now; see `Runware.get_task`."""
    api = ServerlessApi(parts, environment, options.timeout)
    check_name("app_id", app_id)
    check_name("task_id", task_id)
    work = repeated(parts, lambda: api.task(app_id, task_id))
    return await unless_cancelled(work, options.cancel_event, parts.closing)


async def list_tasks(
    parts: Parts,
    app_id: str,
    *,
    status: TaskStatus | None,
    limit: int | None,
    cursor: str | None,
    environment: str | None,
    options: GetTaskOptions,
) -> TaskPage:
    """Ask for one page of tasks; see `Runware.list_tasks`."""
    api = ServerlessApi(parts, environment, options.timeout)
    check_name("app_id", app_id)
    work = repeated(parts, lambda: api.tasks(app_id, status=status, limit=limit, cursor=cursor))
    return await unless_cancelled(work, options.cancel_event, parts.closing)


async def follow(
    task: ServerlessTask,
    ask: Callable[[], Awaitable[ServerlessTask]],
    *,
    interval_s: float,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> ServerlessTask:
    """Ask for a task until it is final, however often the line fails: a question costs nothing.

    Errors:
        RunwareError: `notFound` once the service has not known the task for half a minute; and whatever is not
            to be asked again.
    """
    known_at = clock()
    pause_s = interval_s
    while task["status"] not in _FINAL:
        await sleep(pause_s)
        pause_s = interval_s
        try:
            task = await ask()
            known_at = clock()
        except RunwareError as error:
            is_lag = error.code == ErrorCode.NOT_FOUND and clock() - known_at < _STORE_LAG_S
            if not is_lag:
                if is_given_up(error) or not is_repeated(error.code, "question", may_be_taken=True):
                    raise
                pause_s = error.retry_after_s or interval_s
    return task


async def _within(budget_s: float, work: Callable[[], Awaitable[ServerlessTask]]) -> ServerlessTask:
    try:
        async with asyncio.timeout(budget_s):
            return await work()
    except TimeoutError as error:
        raise create_runware_error(
            REQUEST_TIMEOUT,
            f"The serverless task was not done within {budget_s:g} s. It is not cancelled: ask for it with "
            "get_task(), or invoke again with the same task_id.",
        ) from error
