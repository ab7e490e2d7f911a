"""Errors as RFC 9457 problems: every refusal and every failure of the API has this one form.

What a caller can mend is said in `detail`. What is ours to mend is logged and not
told: exceptions of the database carry statements and parameters.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from runware_jobs.core.addresses import AddressRefused
from runware_jobs.errors import (
    DatabaseBehind,
    IdempotencyConflict,
    InvalidJob,
    JobForgotten,
    JobNotFound,
    NotPossible,
    RunwareJobsError,
    SettingsError,
)

from .strict_json import Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = structlog.get_logger()

_RETRY_AFTER_S: Final = 2
_FRAMES: Final = 8
"""Of a failed request's traceback: those that are nearest to where it failed."""

_MISSING_TABLE: Final = frozenset({"42P01", "3F000"})
"""Postgres: undefined table, undefined schema."""


class RequestRefused(RunwareJobsError):
    """The request is refused before any job is looked at; nothing was changed."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        name: str,
        code: str,
        headers: Mapping[str, str] | None = None,
        parameter: str | None = None,
    ) -> None:
        super().__init__(message, parameter=parameter)
        self.status = status
        self.name = name
        self.code = code
        self.headers = headers


class BadLine(InvalidJob):
    """One line of a batch is wrong; nothing of the batch was kept. `line` counts from 1."""

    def __init__(self, message: str, *, line: int, parameter: str | None) -> None:
        super().__init__(message, parameter=parameter)
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem, ready to be sent; `name` becomes its type."""

    status: int
    name: str
    detail: str
    code: str
    parameter: str | None = None
    job_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def response(self) -> Response:
        """Make the response."""
        return Json(
            {
                "type": f"urn:runware-jobs:problem:{self.name}",
                "title": self.name.replace("-", " ").capitalize(),
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
                "parameter": self.parameter,
                "job_id": self.job_id,
                **self.extra,
            },
            status_code=self.status,
            media_type="application/problem+json",
            headers=dict(self.headers),
        )


_KNOWN: Final[Sequence[tuple[type[RunwareJobsError], int, str]]] = (
    # Narrow before wide: the first class that fits decides.
    (IdempotencyConflict, 409, "idempotency-conflict"),
    (JobForgotten, 410, "job-forgotten"),
    (InvalidJob, 422, "invalid-request"),
    (AddressRefused, 422, "address-refused"),
    (JobNotFound, 404, "not-found"),
    (NotPossible, 409, "not-possible-now"),
    (DatabaseBehind, 503, "database-behind"),
    (SettingsError, 503, "not-set-up"),
    (RunwareJobsError, 503, "try-again"),
)

_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not-found", "notFound"),
    405: ("method-not-allowed", "validation"),
    413: ("body-too-large", "validation"),
    415: ("unknown-content-type", "validation"),
}


def problem_of(error: Exception) -> Problem:
    """Say which problem an exception is; what nobody foresaw is a 500 without details."""
    if isinstance(error, RequestRefused):
        return Problem(
            status=error.status,
            name=error.name,
            detail=error.message,
            code=error.code,
            parameter=error.parameter,
            headers=error.headers or {},
        )
    if isinstance(error, RunwareJobsError):
        return _of_ours(error)
    if isinstance(error, RequestValidationError):
        return _of_validation(error.errors())
    if isinstance(error, HTTPException):
        name, code = _BY_STATUS.get(error.status_code, ("bad-request", "validation"))
        return Problem(
            status=error.status_code,
            name=name,
            detail=str(error.detail),
            code=code,
            headers=error.headers or {},
        )
    return _of_others(error)


def _of_ours(error: RunwareJobsError) -> Problem:
    status, name = next((status, name) for kind, status, name in _KNOWN if isinstance(error, kind))
    unavailable = status == 503  # noqa: PLR2004  the one status with Retry-After
    return Problem(
        status=status,
        name=name,
        detail=error.message,
        code=error.code,
        parameter=error.parameter,
        job_id=error.job_id,
        headers={"Retry-After": str(_RETRY_AFTER_S)} if unavailable else {},
        extra={"line": error.line} if isinstance(error, BadLine) else {},
    )


def _of_validation(found: Sequence[Any]) -> Problem:
    errors = [{"parameter": _place(item["loc"]), "message": _sentence(item)} for item in found]
    first = errors[0]
    where = f"{first['parameter']}: " if first["parameter"] else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(
        status=422,
        name="invalid-request",
        detail=f"{where}{first['message']}{more}",
        code="validation",
        parameter=first["parameter"] or None,
        extra={"errors": errors},
    )


def _place(location: Sequence[str | int]) -> str:
    """Name the field: `('body', 'jobs', 3, 'params')` is `jobs[3].params`."""
    place = ""
    for part in location[1:] if location[0] in {"body", "query", "path", "header"} else location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place


def _sentence(item: Mapping[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return f"the body is no JSON that we take: {item['ctx']['error']}"
    if item["type"] == "extra_forbidden":
        return "this is not taken over HTTP; remove it (the names are in /openapi.json)"
    message: str = item["msg"]
    return message.removeprefix("Value error, ").removesuffix(".")


def _of_others(error: Exception) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(
            status=422, name="invalid-request", detail="The body is nested too deeply.", code="validation"
        )
    if isinstance(error, DataError):
        return Problem(
            status=422,
            name="invalid-request",
            detail="A value cannot be stored: a number is out of range or a text holds what Postgres refuses.",
            code="validation",
        )
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        _log.warning("database_not_reached", error=type(error).__name__)
        return _unavailable("database-not-reached", "The database does not answer; try again shortly.")
    if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) in _MISSING_TABLE:
        return _unavailable(
            "database-behind", "The database has no tables for this version: run `runware-jobs migrate`."
        )
    # The frames, not the message: it may hold what a caller sent.
    _log.error(
        "request_failed",
        error=type(error).__name__,
        frames="".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES)),
    )
    return Problem(
        status=500,
        name="internal-error",
        detail="Something went wrong here; it was logged.",
        code="serverError",
    )


def _unavailable(name: str, detail: str) -> Problem:
    return Problem(
        status=503,
        name=name,
        detail=detail,
        code="serverError",
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )


async def answer_problem(_request: Request, error: Exception) -> Response:
    """Answer what FastAPI itself would have answered in another form."""
    return problem_of(error).response()


class ProblemsMiddleware:
    """The outermost layer: turns what was raised anywhere below into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request; an error after the response began ends the connection early."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if scope["type"] != "http":
                raise
            problem = problem_of(error)
            if not started:
                await problem.response()(scope, receive, send)
