"""The serverless API: invocations of an app's endpoints as tasks, with real idempotency by task id.

Errors are RFC 9457 problem documents. A sync invocation that outlives the wait window comes back pending.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import Route

from runware_jobs.emulator.identifiers import derived_uuid
from runware_jobs.emulator.messages import DEEPEST, is_too_deep
from runware_jobs.emulator.rest import INVALID_KEY, bearer_key, json_response

from .apps import APPS, App, Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from runware_jobs.emulator.protocol import Platform

_APP_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_ENDPOINT = re.compile(r"[a-z]([a-z0-9-]{0,62}[a-z0-9])?(/[a-z]([a-z0-9-]{0,62}[a-z0-9])?)*")
_ENVIRONMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LONGEST_ENDPOINT = 255
_LARGEST_BODY_BYTES = 6 * 1024 * 1024
_LARGEST_PAGE = 100
_DEFAULT_PAGE = 20
_PAUSED = "https://docs.runware.ai/serverless/errors#environment-paused"
_STATUSES = ("pending", "completed", "failed")

if TYPE_CHECKING:
    _Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Invocation:
    """One task of an app. What it shows follows from the time."""

    id: str
    app_id: str
    endpoint: str
    environment: str
    account: str
    accepted_at: float
    ends_at: float
    outcome: Outcome

    def status(self, now: float) -> str:
        if now < self.ends_at:
            return "pending"
        return "completed" if self.outcome.error is None else "failed"

    def shown(self, now: float) -> dict[str, Any]:
        """The task as every route answers it."""
        status = self.status(now)
        return {
            "id": self.id,
            "status": status,
            "appId": self.app_id,
            "endpointPath": self.endpoint,
            "output": self.outcome.output if status == "completed" else None,
            "error": self.outcome.error if status == "failed" else None,
            "createdAt": _iso(self.accepted_at),
            "completedAt": None if status == "pending" else _iso(self.ends_at),
        }


@dataclass(slots=True)
class Invocations:
    """Every invocation since the start, by account, app, environment and task id, oldest first."""

    by_key: dict[tuple[str, str, str, str], Invocation] = field(default_factory=dict)


class _Problem(Exception):  # the name that RFC 9457 gives it
    """A refusal; becomes a problem document."""

    def __init__(self, status: int, detail: str, *, kind: str = "about:blank", **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.members = members


@dataclass(frozen=True, slots=True)
class _Place:
    """What a request is about: whose app, in which environment."""

    platform: Platform
    invocations: Invocations
    account: str
    app_id: str
    app: App
    environment: str

    def key(self, task_id: str) -> tuple[str, str, str, str]:
        return self.account, self.app_id, self.environment, task_id


def _telling_problems(endpoint: _Handler) -> _Handler:
    """The endpoint, answering a problem document where it raises _Problem."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except _Problem as problem:
            return _problem_response(request, problem)

    return answer


@_telling_problems
async def invoke_async(request: Request) -> Response:
    """202 and the task, new or the one that already has this id."""
    place, invocation = await _invoke(request)
    return json_response(invocation.shown(place.platform.clock.now_s()), HTTPStatus.ACCEPTED)


@_telling_problems
async def invoke_sync(request: Request) -> Response:
    """200 and the finished task, or 202 and the pending one when the wait window is over."""
    place, invocation = await _invoke(request)
    platform = place.platform
    await _ended(platform, invocation, platform.switches.serverless_wait_s)
    now = platform.clock.now_s()
    status = HTTPStatus.ACCEPTED if invocation.status(now) == "pending" else HTTPStatus.OK
    return json_response(invocation.shown(now), status)


@_telling_problems
async def get_task(request: Request) -> Response:
    """One task; 404 for an unknown one, and for a fresh one while the switch `serverless_lag_s` says so."""
    place = _place(request)
    now = place.platform.clock.now_s()
    invocation = place.invocations.by_key.get(place.key(request.path_params["task_id"]))
    lag_s = place.platform.switches.serverless_lag_s
    if invocation is None or now - invocation.accepted_at < lag_s:
        raise _Problem(HTTPStatus.NOT_FOUND, "There is no task with this id.")
    return json_response(invocation.shown(now))


@_telling_problems
async def list_tasks(request: Request) -> Response:
    """The app's tasks, newest first, of one `status` or of all; `cursor` continues a page."""
    place = _place(request)
    query = request.query_params
    status = query.get("status")
    if status is not None and status not in _STATUSES:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"status must be one of {', '.join(_STATUSES)}.")
    limit = query.get("limit", str(_DEFAULT_PAGE))
    if not limit.isdigit() or not 1 <= int(limit) <= _LARGEST_PAGE:
        raise _Problem(HTTPStatus.BAD_REQUEST, f"limit must be from 1 to {_LARGEST_PAGE}.")
    after = _decoded_cursor(query.get("cursor"))
    now = place.platform.clock.now_s()
    scope = place.key("")[:3]
    found = [
        invocation
        for key, invocation in reversed(place.invocations.by_key.items())
        if key[:3] == scope and (status is None or invocation.status(now) == status)
    ]
    start = next((n + 1 for n, one in enumerate(found) if one.id == after), 0) if after else 0
    page = found[start : start + int(limit)]
    more = start + len(page) < len(found)
    cursor = base64.urlsafe_b64encode(page[-1].id.encode()).decode() if more else None
    return json_response({"data": [one.shown(now) for one in page], "nextCursor": cursor})


def serverless_routes() -> list[Route]:
    base = "/serverless/v1/apps/{app_id}"
    return [
        Route(base + "/invoke-async/{endpoint:path}", invoke_async, methods=["POST"]),
        Route(base + "/invoke-sync/{endpoint:path}", invoke_sync, methods=["POST"]),
        Route(base + "/tasks/{task_id}", get_task),
        Route(base + "/tasks", list_tasks),
    ]


async def _invoke(request: Request) -> tuple[_Place, Invocation]:
    place = _place(request)
    endpoint = request.path_params["endpoint"]
    task_id, payload = _read(await request.body())
    known = place.invocations.by_key.get(place.key(task_id))
    if known is not None:
        return place, known
    if place.environment == "paused":
        raise _Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "The environment is paused: its monthly budget is used up.",
            kind=_PAUSED,
        )
    if place.app.state != "running":
        raise _Problem(HTTPStatus.CONFLICT, f"The app is {place.app.state}.")
    outcome = _outcome(place, endpoint, payload)
    platform = place.platform
    now = platform.clock.now_s()
    ends_at = now + outcome.seconds / platform.config.speed
    invocation = Invocation(
        task_id, place.app_id, endpoint, place.environment, place.account, now, ends_at, outcome
    )
    place.invocations.by_key[place.key(task_id)] = invocation
    return place, invocation


def _outcome(place: _Place, endpoint: str, payload: Mapping[str, Any]) -> Outcome:
    run = place.app.endpoints.get(endpoint)
    if run is None:
        is_name = _ENDPOINT.fullmatch(endpoint) is not None and len(endpoint) <= _LONGEST_ENDPOINT
        raise _Problem(
            HTTPStatus.NOT_FOUND if is_name else HTTPStatus.BAD_REQUEST,
            "The app has no such endpoint." if is_name else "This is no name of an endpoint.",
            endpointPath=endpoint,
        )
    outcome = run(payload)
    if isinstance(outcome, Fault):
        raise _Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The payload is not what the endpoint takes.",
            errors=[{"detail": outcome.detail, "pointer": outcome.pointer}],
        )
    return outcome


def _place(request: Request) -> _Place:
    """Who asks, for which app and environment. Raises _Problem."""
    platform: Platform = request.app.state.platform
    platform.schedule.start()
    account = platform.accounts.of_key(bearer_key(request) or "")
    if account is None:
        raise _Problem(HTTPStatus.UNAUTHORIZED, INVALID_KEY.message)
    app_id = request.path_params["app_id"]
    if _APP_ID.fullmatch(app_id) is None:
        raise _Problem(HTTPStatus.BAD_REQUEST, "This is no id of an app.")
    app = APPS.get(app_id)
    if app is None:
        raise _Problem(HTTPStatus.NOT_FOUND, "There is no app with this id.")
    environment = request.query_params.get("environment", "production")
    if _ENVIRONMENT.fullmatch(environment) is None:
        raise _Problem(HTTPStatus.BAD_REQUEST, "This is no name of an environment.")
    if environment not in app.environments:
        raise _Problem(HTTPStatus.NOT_FOUND, "The app has no such environment.")
    return _Place(
        platform, request.app.state.invocations, account.organization_uuid, app_id, app, environment
    )


def _read(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """Task id and payload of an invocation. Raises _Problem."""
    if len(body) > _LARGEST_BODY_BYTES:
        raise _Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The payload is too large.")
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Problem(HTTPStatus.BAD_REQUEST, "The body is not JSON.") from error
    if not isinstance(message, dict):
        raise _Problem(HTTPStatus.BAD_REQUEST, "The body must be an object.")
    if is_too_deep(message):
        raise _Problem(HTTPStatus.BAD_REQUEST, f"The body is nested deeper than {DEEPEST} levels.")
    task_id, payload = message.get("taskId"), message.get("payload", {})
    if not isinstance(task_id, str) or _TASK_ID.fullmatch(task_id) is None:
        raise _Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The task id is wrong.",
            errors=[{"detail": "must be a lowercase UUID", "pointer": "/taskId"}],
        )
    if not isinstance(payload, dict):
        raise _Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The payload is wrong.",
            errors=[{"detail": "must be an object", "pointer": "/payload"}],
        )
    return task_id, payload


async def _ended(platform: Platform, invocation: Invocation, limit_s: float) -> None:
    """Return when the invocation has ended by the platform's clock, or after `limit_s`."""
    if invocation.status(platform.clock.now_s()) != "pending":
        return
    ended = asyncio.Event()
    platform.schedule.call_at(invocation.ends_at, lambda _: ended.set(), None)
    try:
        async with asyncio.timeout(limit_s):
            await ended.wait()
    except TimeoutError:
        pass  # the caller sees that it is still pending


def _decoded_cursor(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        task_id = base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError:
        task_id = ""
    if _TASK_ID.fullmatch(task_id) is None:
        raise _Problem(HTTPStatus.BAD_REQUEST, "This is no cursor of ours.")
    return task_id


def _problem_response(request: Request, problem: _Problem) -> Response:
    status = HTTPStatus(problem.status)
    content = {
        "type": problem.kind,
        "title": status.phrase,
        "status": int(status),
        "detail": problem.detail,
        "requestId": derived_uuid("request", request.url.path, problem.detail),
        **problem.members,
    }
    return Response(orjson.dumps(content), status, media_type="application/problem+json")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
