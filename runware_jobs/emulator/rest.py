"""POST /v1: authentication, one answer per request, and the event stream of text tasks.

What goes wrong on purpose is carried out in rest_faults.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response, StreamingResponse

from .errors import Refusal, error_entry, status_of
from .faults.over_rest import refused_on_arrival, spoiled
from .identifiers import derived_uuid
from .messages import Caller, decode_message
from .streaming import stream_text
from .waiting import wait_for_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .messages import Answer
    from .protocol import Platform

INVALID_KEY = Refusal("invalidApiKey", "Invalid API key. Check the key in your account's settings.", "apiKey")
_MISSING_KEY = Refusal("missingApiKey", "No API key was given. Send it as a bearer token.", "apiKey")
_BUSY = {429, 503}


@dataclass(frozen=True, slots=True)
class _Message:
    """A request that was read: its tasks without the login, whose they are, and the login's answer."""

    tasks: list[Mapping[str, Any]]
    caller: Caller
    login: list[dict[str, Any]]


async def post_tasks(request: Request) -> Response:
    """Answer one array of tasks."""
    platform: Platform = request.app.state.platform
    platform.schedule.start()
    message = _read(platform, request, await request.body())
    if isinstance(message, Refusal):
        return json_response({"errors": [error_entry(message)]}, status_of(message.code))
    record = platform.count_message(message.tasks, "rest")
    verdict = platform.faults.judge(message.tasks, platform.clock.now_s(), "rest")
    refused = refused_on_arrival(platform, request, message.tasks, verdict, record)
    if refused is not None:
        return refused
    answer = platform.answer(message.tasks, message.caller, verdict)
    # A promise that leaves must survive a crash: see state.py.
    platform.save()
    if verdict.strikes_a_task("webhook_first"):
        platform.schedule.run_due()
        await request.app.state.webhooks.attempted()
    if len(answer.waiting) == len(message.tasks) == 1 and answer.waiting[0].delivery == "stream":
        cut = verdict.message.get("truncate")
        part = cut.values["part"] if cut is not None else 1.0
        return StreamingResponse(
            stream_text(platform, answer.waiting[0], part=part), media_type="text/event-stream"
        )
    if answer.waiting:
        await wait_for_all(platform, answer)
        platform.save()
    response = _said(platform, answer, message.login)
    return await spoiled(response, request, verdict, record)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with JSON written by orjson."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def base_url(request: Request) -> str:
    """The address that the caller used for us, or the configured public one."""
    platform: Platform = request.app.state.platform
    return platform.config.public_url or f"{request.url.scheme}://{request.url.netloc}"


def bearer_key(request: Request) -> str | None:
    """The API key of the Authorization header."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def key_id(api_key: str) -> str:
    """What stands for an API key where the key itself must not be kept."""
    return derived_uuid("key", api_key)


def _read(platform: Platform, request: Request, body: bytes) -> _Message | Refusal:
    """The message behind a body, with either way to authenticate."""
    tasks = decode_message(body, platform.switches)
    if isinstance(tasks, Refusal):
        return tasks
    key = bearer_key(request)
    login: list[dict[str, Any]] = []
    if tasks[0].get("taskType") == "authentication":
        key = str(tasks[0].get("apiKey") or "")
        tasks = tasks[1:]
        if platform.switches.rest_session:
            session = derived_uuid("rest-session", platform.config.seed, key, platform.clock.now_s())
            login.append({"taskType": "authentication", "connectionSessionUUID": session})
    if not key:
        return _MISSING_KEY
    account = platform.accounts.of_key(key)
    faults = platform.faults.judge_event("auth", platform.clock.now_s(), transport="rest")
    if account is None or "reject_key" in faults:
        return INVALID_KEY
    dry_run = request.headers.get("x-runware-dry-run") == "1" or request.query_params.get("dryRun") == "1"
    return _Message(tasks, Caller(account, base_url(request), key_id(key), dry_run=dry_run), login)


def _said(platform: Platform, answer: Answer, login: list[dict[str, Any]]) -> Response:
    """The answer as a response. The status is that of the tasks, whatever the login said."""
    switches = platform.switches
    status = answer.status(switches)
    answer.data[:0] = login
    headers = {}
    if status in _BUSY and switches.retry_after_s is not None:
        headers["Retry-After"] = f"{switches.retry_after_s:g}"
    return json_response(answer.envelope(switches), status, headers)
