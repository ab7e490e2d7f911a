"""POST /v1: authentication, faults, one answer per request, and the event stream of text tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response, StreamingResponse

from .connections import reset
from .errors import Refusal, code_of, error_entry, status_of
from .identifiers import derived_uuid
from .protocol import Caller, Platform, decode_message
from .streaming import stream_text
from .waiting import wait_for_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from .accounts import Account
    from .faults import Action

_INVALID_KEY = Refusal(
    "invalidApiKey", "Invalid API key. Check the key in your account's settings.", "apiKey"
)
_MISSING_KEY = Refusal("missingApiKey", "No API key was given. Send it as a bearer token.", "apiKey")
_HTML = "<html><head><title>{status}</title></head><body><center><h1>{status} Bad Gateway</h1></center></body></html>"


async def post_tasks(request: Request) -> Response:
    """Answer one array of tasks."""
    platform: Platform = request.app.state.platform
    platform.schedule.start()
    tasks = decode_message(await request.body())
    if isinstance(tasks, Refusal):
        return _failed(tasks)
    account, own_answer, tasks = _authenticate(platform, request, tasks)
    if isinstance(account, Refusal):
        return _failed(account)
    platform.count_message(tasks, websocket=False)
    verdict = platform.faults.judge(tasks, platform.clock.now_s())
    if "status" in verdict.message:
        platform.refuse_message(tasks)
        return status_response(verdict.message["status"], tasks)
    if "reset" in verdict.message:
        platform.refuse_message(tasks)
        reset(request.scope)
    caller = Caller(account, base_url(request), dry_run=request.headers.get("x-runware-dry-run") == "1")
    answer = platform.answer(tasks, caller, verdict)
    if len(answer.waiting) == 1 and answer.waiting[0].delivery == "stream":
        return StreamingResponse(stream_text(platform, answer.waiting[0]), media_type="text/event-stream")
    status = answer.status
    if answer.waiting:
        await wait_for_all(platform, answer)
        status = answer.status
    answer.data[:0] = own_answer
    if "delay" in verdict.message:
        await asyncio.sleep(verdict.message["delay"].values["seconds"])
    if "lose_answer" in verdict.message:
        return await _lost_answer(request, verdict.message["lose_answer"])
    return json_response(answer.envelope(), status)


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


def status_response(action: Action, tasks: list[Mapping[str, Any]]) -> Response:
    """What a status fault sends instead of an answer."""
    values = action.values
    status = values["status"]
    headers = {} if values["retry_after"] is None else {"Retry-After": str(values["retry_after"])}
    body = values["body"] or ("html" if status == 502 else "task")  # noqa: PLR2004  # proxies answer a bad gateway, not the platform
    if body == "html":
        return Response(_HTML.format(status=status), status, headers, media_type="text/html")
    if body == "empty":
        return Response(b"", status, headers)
    refusal = status_refusal(action)
    scoped = [
        error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID")) for task in tasks
    ]
    return json_response({"errors": scoped if body == "task" else [error_entry(refusal)]}, status, headers)


def status_refusal(action: Action) -> Refusal:
    """The error that goes with an injected status."""
    code = action.values["code"] or code_of(action.values["status"])
    return Refusal(
        code, action.values["message"] or "The platform cannot take this request now. Try again later."
    )


def _authenticate(
    platform: Platform, request: Request, tasks: list[Mapping[str, Any]]
) -> tuple[Account | Refusal, list[dict[str, Any]], list[Mapping[str, Any]]]:
    """The account, the platform's own answer to a payload authentication, and the other tasks."""
    key = bearer_key(request)
    own_answer: list[dict[str, Any]] = []
    if tasks[0].get("taskType") == "authentication":
        key = str(tasks[0].get("apiKey") or "")
        tasks = tasks[1:]
        session = derived_uuid("rest-session", platform.config.seed, key, platform.clock.now_s())
        own_answer.append({"taskType": "authentication", "connectionSessionUUID": session})
    if not key:
        return _MISSING_KEY, [], tasks
    return platform.accounts.of_key(key) or _INVALID_KEY, own_answer, tasks


async def _lost_answer(request: Request, action: Action) -> Response:
    """Everything was accepted, and the client does not learn it."""
    match action.values["how"]:
        case "status":
            return Response(b"", action.values["status"])
        case "silence":
            while (await request.receive())["type"] != "http.disconnect":
                pass
            return Response(b"", 499)
        case _:
            reset(request.scope)
            raise AssertionError("reset always raises")


def _failed(refusal: Refusal) -> Response:
    return json_response({"errors": [error_entry(refusal)]}, status_of(refusal.code))
