"""Error objects as the platform writes them, and the HTTP status that goes with each code."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_DOCUMENTATION = "https://runware.ai/docs/models-api/errors"

_STATUS_BY_CODE = {
    "invalidRequest": HTTPStatus.BAD_REQUEST,
    "invalidApiKey": HTTPStatus.UNAUTHORIZED,
    "missingApiKey": HTTPStatus.UNAUTHORIZED,
    "insufficientCredits": HTTPStatus.PAYMENT_REQUIRED,
    "maxRequestSize": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "forbidden": HTTPStatus.FORBIDDEN,
    "taskNotFound": HTTPStatus.NOT_FOUND,
    "mediaNotFound": HTTPStatus.NOT_FOUND,
    "modelNotFound": HTTPStatus.NOT_FOUND,
    "rateLimitExceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "internalServerError": HTTPStatus.INTERNAL_SERVER_ERROR,
    "providerBadGateway": HTTPStatus.BAD_GATEWAY,
    "serviceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "timeout": HTTPStatus.GATEWAY_TIMEOUT,
}
_CODE_BY_STATUS = {int(status): code for code, status in reversed(_STATUS_BY_CODE.items())}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a task is not accepted. `parameter` is a dotted path, or several for a rule across fields."""

    code: str
    message: str
    parameter: str | list[str] | None = None


def error_entry(refusal: Refusal, *, task_type: Any = None, task_uuid: Any = None) -> dict[str, Any]:
    """The entry of `errors`; without a UUID it concerns the request as a whole."""
    entry: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.parameter is not None:
        entry["parameter"] = refusal.parameter
    if isinstance(task_type, str):
        entry["taskType"] = task_type
    if isinstance(task_uuid, str):
        entry["taskUUID"] = task_uuid
    entry["documentation"] = f"{_DOCUMENTATION}#{refusal.code}"
    return entry


def status_of(code: str) -> int:
    """The HTTP status of a request that failed with this code as a whole."""
    return int(_STATUS_BY_CODE.get(code, HTTPStatus.BAD_REQUEST))


def code_of(status: int) -> str:
    """The code the platform gives with an HTTP status."""
    return _CODE_BY_STATUS.get(status, "internalServerError")
