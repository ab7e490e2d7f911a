"""The serverless API on the wire: its names, its routes, its answers.

One request each; repeating and following is for `serverless`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import orjson

from runware_jobs.client.config import user_agent
from runware_jobs.client.errors import create_runware_error

from .http import fetch, read_json, unreadable
from .problems import error_from_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from runware_jobs.client.errors import RunwareError
    from runware_jobs.client.parts import Parts

TaskStatus = Literal["pending", "completed", "failed"]

# The service holds a sync invocation open for this long before it says "pending".
_SYNC_WINDOW_S = 300.0

_SEGMENT = r"[a-z0-9-]{1,64}"
# PROTOCOL 10.3. A name is matched as a whole, so that none can lead to another route.
_NAMES = {
    "app_id": (
        re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"),
        "use 6 to 30 lowercase letters, digits and hyphens, with a letter first and no hyphen last",
    ),
    "endpoint_path": (
        re.compile(rf"(?=.{{1,255}}\Z){_SEGMENT}(/{_SEGMENT})*"),
        "use segments of up to 64 lowercase letters, digits and hyphens joined by slashes, 255 characters in all",
    ),
    "environment": (
        re.compile(r"[a-z0-9][a-z0-9._-]{0,62}"),
        'use at most 63 lowercase letters, digits, ".", "_" and "-", with a letter or digit first',
    ),
    "task_id": (
        re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        "use a UUID in lowercase",
    ),
}


class ServerlessTask(TypedDict):
    """One task as the service tells it; `output` or `error` and `completedAt` come with the end."""

    id: str
    status: TaskStatus
    appId: str
    endpointPath: str
    output: Any
    error: str | None
    createdAt: str
    completedAt: str | None


class TaskPage(TypedDict):
    """One page of tasks. It may be empty and still have a `nextCursor`; the last page has None."""

    data: list[ServerlessTask]
    nextCursor: str | None


def check_name(kind: str, value: object) -> str:
    """Give back a name that follows the platform's rules for its kind.

    Errors:
        RunwareError (validation): it does not; the message tells the rule.
    """
    pattern, rule = _NAMES[kind]
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise refused_name(kind, value, rule)
    return value


def refused_name(kind: str, value: object, rule: str) -> RunwareError:
    """Make the error of an argument that the service would not take."""
    return create_runware_error("invalidName", f"{kind} is {value!r}: {rule}.", parameter=kind)


def invocation_body(task_id: str, payload: Mapping[str, Any] | None) -> bytes:
    """Write the body of an invocation; no payload is an empty one.

    Errors:
        RunwareError (validation): a value that JSON cannot carry.
    """
    try:
        return orjson.dumps({"taskId": task_id, "payload": dict(payload or {})})
    except orjson.JSONEncodeError as error:
        raise create_runware_error(
            "invalidPayload", f"The payload cannot be written as JSON: {error}.", parameter="payload"
        ) from error


class ServerlessApi:
    """The routes, for one environment (None: the client's own) and one time limit (None: the client's own)."""

    def __init__(self, parts: Parts, environment: str | None, timeout_ms: float | None) -> None:
        self._parts = parts
        self._timeout_ms = timeout_ms
        environment = parts.config.serverless_environment if environment is None else environment
        self._query = {} if environment is None else {"environment": check_name("environment", environment)}

    async def invoke(
        self, app_id: str, endpoint_path: str, body: bytes, *, delivery: Literal["async", "sync"]
    ) -> ServerlessTask:
        """Submit a task, or get the one that its id already names."""
        is_held = delivery == "sync" and self._timeout_ms is None
        response = await self._send(
            "POST",
            f"{app_id}/invoke-{delivery}/{endpoint_path}",
            body=body,
            at_least_s=_SYNC_WINDOW_S if is_held else 0.0,
        )
        return _task(response)

    async def task(self, app_id: str, task_id: str) -> ServerlessTask:
        """Ask for one task."""
        return _task(await self._send("GET", f"{app_id}/tasks/{task_id}"))

    async def tasks(
        self, app_id: str, *, status: str | None, limit: int | None, cursor: str | None
    ) -> TaskPage:
        """Ask for one page of tasks."""
        filters = {"status": status, "limit": limit, "cursor": cursor}
        query = {name: str(value) for name, value in filters.items() if value is not None}
        response = await self._send("GET", f"{app_id}/tasks", query=query)
        page = read_json(response, dict)
        if not isinstance(page.get("data"), list):
            raise unreadable(response)
        return cast("TaskPage", {**page, "nextCursor": page.get("nextCursor")})

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        at_least_s: float = 0.0,
    ) -> httpx.Response:
        config = self._parts.config
        headers = {"Authorization": f"Bearer {config.api_key}", "User-Agent": user_agent()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        response = await fetch(
            self._parts.session,
            f"{config.serverless_base_url.rstrip('/')}/v1/apps/{path}",
            method=method,
            query={**self._query, **(query or {})},
            headers=headers,
            content=body,
            timeout_s=max((self._timeout_ms or config.timeout) / 1_000, at_least_s),
        )
        if not response.is_success:
            raise error_from_answer(response)
        return response


def _task(response: httpx.Response) -> ServerlessTask:
    task = read_json(response, dict)
    if not all(isinstance(task.get(name), str) for name in ("id", "status", "appId")):
        raise unreadable(response)
    return cast("ServerlessTask", task)
