"""Read the errors of the side services: RFC 9457 problem details, and what stands in for them.

Pure. The HTTP status names the code; of the problem types only one says more than its status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from runware_jobs.client.backoff import parse_retry_after
from runware_jobs.client.errors import RunwareError, create_runware_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

# A 429 that time does not heal: somebody has to start the environment again (PROTOCOL 10.3).
_PAUSED = "#environment-paused"
_NO_TYPE = "about:blank"


def error_from_answer(response: httpx.Response) -> RunwareError:
    """Make the error of an answer that is none of the expected ones; the body may be anything.

    The fields of a refused body are told as `validation_errors`, in the shape of the client's own validation.
    """
    problem = _problem(response)
    problem_type = _text(problem.get("type"))
    fields = _refused_fields(problem)
    return create_runware_error(
        "environmentPaused" if problem_type is not None and problem_type.endswith(_PAUSED) else "",
        _message(problem, fields, response.status_code),
        status_code=response.status_code,
        parameter=_parameter(problem, fields),
        documentation=None if problem_type == _NO_TYPE else problem_type,
        problem_type=None if problem_type == _NO_TYPE else problem_type,
        request_id=_text(problem.get("requestId")) or response.headers.get("x-request-id"),
        retry_after_s=parse_retry_after(response.headers.get("retry-after")),
        validation_errors=fields,
    )


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, dict) else body


def _message(problem: Mapping[str, Any], fields: list[dict[str, Any]], status_code: int) -> str:
    names = ("detail", "title", "message", "error")
    said = next((text for name in names if (text := _text(problem.get(name)))), f"HTTP {status_code}")
    shortfall = _text(problem.get("shortfall"))
    lines = [said if shortfall is None else f"{said} (missing balance: {shortfall})"]
    lines += [f"- {field['path'] or 'request'}: {field['message']}" for field in fields]
    return "\n".join(lines)


def _refused_fields(problem: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = problem.get("errors")
    return [
        {
            "message": _text(entry.get("detail")) or "is not accepted",
            "path": _path(_text(entry.get("pointer")) or ""),
            "rule": None,
            "rule_definition": None,
        }
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]


def _path(pointer: str) -> str:
    """Turn a JSON pointer into the dotted path that the client uses everywhere."""
    steps = pointer.removeprefix("#").split("/")[1:]
    return ".".join(step.replace("~1", "/").replace("~0", "~") for step in steps)


def _parameter(problem: Mapping[str, Any], fields: list[dict[str, Any]]) -> str | None:
    if "endpointPath" in problem:  # tells an unknown endpoint from an unknown app
        return "endpoint_path"
    return next((field["path"] for field in fields if field["path"]), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
