"""Carrying out what fault rules do to HTTP: refusals on arrival, and answers that come late or broken."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response, StreamingResponse

from runware_jobs.emulator.errors import Refusal, code_of, error_entry

from .connections import break_off, reset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request

    from runware_jobs.emulator.ledger import RequestRecord
    from runware_jobs.emulator.protocol import Platform

    from .judging import Struck, Verdict

Tasks = list["Mapping[str, Any]"]

_HTML = "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def refused_on_arrival(
    platform: Platform, request: Request, tasks: Tasks, verdict: Verdict, record: RequestRecord
) -> Response | None:
    """The end of a message of which nothing is accepted, or None. A reset raises ConnectionResetError."""
    faults = verdict.message
    if "status" in faults:
        refusal = status_refusal(faults["status"])
        platform.refuse_message(tasks, refusal.code)
        record.outcome = f"refused {faults['status'].values['status']}"
        return _status_response(platform, faults["status"], tasks)
    if "poison" in faults:
        refusal = poison_refusal(faults["poison"])
        platform.refuse_message(tasks, refusal.code)
        record.outcome = "refused 400"
        return _json({"data": [], "errors": [error_entry(refusal)]}, 400)
    if "reset" in faults:
        platform.refuse_message(tasks, "connectionReset")
        record.outcome = "reset before acceptance"
        reset(request.scope)
    return None


async def spoiled(response: Response, request: Request, verdict: Verdict, record: RequestRecord) -> Response:
    """The response as the faults of the message leave it: late, lost, reshaped, padded, slow or cut off."""
    faults = verdict.message
    if not faults:
        return response
    if "delay" in faults:
        await asyncio.sleep(faults["delay"].values["seconds"])
    if "lose_answer" in faults:
        record.outcome = "answer lost"
        return await _lost_answer(request, faults["lose_answer"])
    if "error_shape" in faults:
        envelope = reshaped(orjson.loads(response.body), faults["error_shape"])
        response.body = orjson.dumps(envelope)
    body = bytes(response.body)
    if "pad" in faults:
        body = padded(body, faults["pad"])
    if "truncate" in faults:
        record.outcome = "answer cut off"
        cut = body[: int(len(body) * faults["truncate"].values["part"])]
        return _in_pieces(response, len(body), _cut_off(request, cut))
    if "slow_body" in faults:
        return _in_pieces(response, len(body), _slowly(body, faults["slow_body"].values))
    return Response(body, response.status_code, _kept_headers(response), media_type=response.media_type)


def status_refusal(struck: Struck) -> Refusal:
    """The error that goes with an injected status."""
    code = struck.values["code"] or code_of(struck.values["status"])
    return Refusal(
        code, struck.values["message"] or "The platform cannot take this request now. Try again later."
    )


def poison_refusal(struck: Struck) -> Refusal:
    """The error of a message with a poisonous task in it; it does not say which."""
    return Refusal(
        struck.values["code"],
        struck.values["message"] or "The request could not be processed. Check its tasks.",
    )


def reshaped(envelope: dict[str, Any], struck: Struck) -> Any:
    """An envelope with its errors in another of the shapes that the platform is known to use."""
    errors = envelope.pop("errors", [])
    if not errors:
        return envelope
    if not struck.values["scoped"]:
        errors = [
            {name: value for name, value in error.items() if name not in {"taskUUID", "taskType", "context"}}
            for error in errors
        ]
    match struck.values["shape"]:
        case "single":
            scope = {name: errors[0][name] for name in ("taskUUID", "taskType") if name in errors[0]}
            return {**envelope, "error": errors[0], **scope}
        case "list":
            return {**envelope, "error": errors}
        case "array":
            return [{**envelope, "errors": errors}]
        case _:
            return {**envelope, "errors": errors}


def padded(body: bytes, struck: Struck) -> bytes:
    """The JSON with blanks behind it, which every parser skips."""
    return body.ljust(struck.values["bytes"], b" ")


def _status_response(platform: Platform, struck: Struck, tasks: Tasks) -> Response:
    values = struck.values
    status = values["status"]
    headers = _retry_after(platform, values)
    # Proxies answer a bad gateway, not the platform.
    body = values["body"] or ("html" if status == HTTPStatus.BAD_GATEWAY else "task")
    refusal = status_refusal(struck)
    match body:
        case "html":
            title = f"{status} {HTTPStatus(status).phrase}"
            return Response(_HTML.format(title=title), status, headers, media_type="text/html")
        case "empty":
            return Response(b"", status, headers)
        case "request":
            return _json({"errors": [error_entry(refusal)]}, status, headers)
    scoped = [
        error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID")) for task in tasks
    ]
    if body == "single":
        scope = {name: tasks[0][name] for name in ("taskUUID", "taskType") if name in tasks[0]}
        return _json({"error": scoped[0], **scope}, status, headers)
    return _json({"errors": scoped}, status, headers)


def _retry_after(platform: Platform, values: Mapping[str, Any]) -> dict[str, str]:
    """The header as asked for: verbatim, in seconds, or as an HTTP date; else as the switch has it."""
    asked = values["retry_after"]
    if asked is None and values["status"] in _BUSY:
        asked = platform.switches.retry_after_s
    if asked is None:
        return {}
    if values["retry_after_form"] == "date" and not isinstance(asked, str):
        return {"Retry-After": formatdate(platform.clock.now_s() + asked, usegmt=True)}
    return {"Retry-After": asked if isinstance(asked, str) else f"{asked:g}"}


async def _lost_answer(request: Request, struck: Struck) -> Response:
    """Everything was accepted, and the client does not learn it."""
    if struck.values["how"] == "reset":
        reset(request.scope)
    if struck.values["how"] == "status":
        return Response(b"", struck.values["status"])
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(b"", 499)


def _in_pieces(response: Response, length: int, body: AsyncIterator[bytes]) -> Response:
    headers = {**_kept_headers(response), "Content-Length": str(length)}
    return StreamingResponse(body, response.status_code, headers, media_type=response.media_type)


def _kept_headers(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name == "retry-after"}


async def _slowly(body: bytes, values: Mapping[str, Any]) -> AsyncIterator[bytes]:
    size = max(1, -(-len(body) // max(1, values["pieces"])))
    for start in range(0, len(body), size):
        await asyncio.sleep(values["seconds"] / max(1, values["pieces"]))
        yield body[start : start + size]


async def _cut_off(request: Request, body: bytes) -> AsyncIterator[bytes]:
    yield body
    break_off(request.scope)


def _json(content: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
