"""The client's words in the core's: the one place where the two rooms' values meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, assert_never

from runware_jobs.client import (
    Accepted,
    Blocked,
    Busy,
    Conflict,
    Missing,
    NoAnswer,
    NotSent,
    Polled,
    Refused,
    Unclear,
)
from runware_jobs.client.error_codes import CONFLICT_RAW_CODE
from runware_jobs.client.errors import error_from_wire, raw_code_of
from runware_jobs.client.running.utilities import upload_error
from runware_jobs.core.answers import Answer, JobError, storable
from runware_jobs.core.decisions import SendOutcome, Sent

if TYPE_CHECKING:
    from runware_jobs.client import RunwareError
    from runware_jobs.client.outcomes import PollOutcome, SubmitOutcome

_REFUSING_CODES: Final = frozenset({"validation", "notFound", "safety", "provider"})
UNKNOWN_TASK_RAW_CODES: Final = frozenset({"taskNotFound", "taskExpired", "taskFailedOrNotFound"})


def send_outcome(outcome: SubmitOutcome) -> SendOutcome:  # noqa: PLR0911  one return per row of the table
    """Say what one outcome of `submit_many` is in the outcome table."""
    match outcome:
        case Accepted(items=items, errors=errors):
            return SendOutcome(Sent.ACCEPTED, Answer(tuple(items), tuple(map(job_error, errors))))
        case Conflict():
            return SendOutcome(Sent.CONFLICT)
        case Refused(error=error):
            return SendOutcome(Sent.REFUSED, error=job_error(error))
        case Busy(error=error, retry_after_s=retry_after_s):
            return SendOutcome(Sent.BUSY, error=job_error(error), retry_after_s=retry_after_s)
        case Blocked(error=error):
            return SendOutcome(Sent.BLOCKED, error=job_error(error))
        case NotSent(error=error):
            return SendOutcome(Sent.NOT_SENT, error=job_error(error))
        case Unclear(error=error):
            return SendOutcome(Sent.UNCLEAR, error=job_error(error))
        case _:
            assert_never(outcome)


def poll_answer(outcome: PollOutcome) -> Answer | None:
    """Give the answer about a task, or None when there was none to rely on or it is unknown."""
    match outcome:
        case Polled(items=items, errors=errors):
            return Answer(tuple(items), tuple(map(job_error, errors)))
        case Missing() | NoAnswer():
            return None
        case _:
            assert_never(outcome)


def refuses_question(outcome: NoAnswer) -> bool:
    """Tell whether the platform turned down a question about a task for what stands in it.

    Everything else (a network, a key, a limit, a fault) is about any question, and passes.
    """
    error = outcome.error
    is_client_error = error.status_code is not None and 400 <= error.status_code < 500  # noqa: PLR2004  HTTP
    return error.code in _REFUSING_CODES or (error.code == "unknown" and is_client_error)


def job_error(error: RunwareError) -> JobError:
    """Say why in the words shown to users; ids and keys of the request stay behind."""
    parameter = error.parameter
    return JobError(
        code=str(error.code),
        message=storable(error.message),
        retryable=error.retryable,
        parameter=storable(", ".join(parameter) if isinstance(parameter, tuple) else parameter),
        documentation=storable(error.documentation),
    )


def is_unknown_task(told: RunwareError | Mapping[str, Any]) -> bool:
    """Tell whether the platform itself says that it does not know a task.

    By its own identifier: an HTTP 404 of a gateway in between is classed alike.
    """
    return _raw_code(told) in UNKNOWN_TASK_RAW_CODES


def is_conflict(told: RunwareError | Mapping[str, Any]) -> bool:
    """Tell whether a task UUID was refused because a task has it already."""
    return _raw_code(told) == CONFLICT_RAW_CODE


def _raw_code(told: RunwareError | Mapping[str, Any]) -> object:
    return told.get("code") if isinstance(told, Mapping) else raw_code_of(told)


def item_error(item: Mapping[str, Any]) -> JobError:
    """Name the error of a failed item (PROTOCOL 3.3, form B), or of an upload's failed phase (6.3)."""
    failed_phase = None if "error" in item or "code" in item else upload_error(dict(item))
    if failed_phase is not None:
        return job_error(failed_phase)
    details = item.get("error")
    return job_error(error_from_wire(details if isinstance(details, dict) else item))
