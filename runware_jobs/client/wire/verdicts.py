"""What an answer means for each task of a request: one table for submits, one for polls.

Pure. The rule behind both tables: only what the platform itself said about a task counts as known.
The body is read first on any HTTP status and decided per task UUID; the status speaks for tasks
the body does not name. Where two readings are possible the one that cannot pay twice wins.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from runware_jobs.client.error_codes import (
    CONFLICT_RAW_CODE,
    SILENT_ANSWER,
    UNREADABLE_ANSWER,
    ErrorCode,
    is_own_credits,
)
from runware_jobs.client.errors import RunwareError, create_runware_error, raw_code_of, with_others
from runware_jobs.client.outcomes import (
    Accepted,
    Blocked,
    Busy,
    Conflict,
    Missing,
    NoAnswer,
    NotSent,
    Polled,
    PollOutcome,
    Refused,
    SubmitOutcome,
    Unclear,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .envelope import Item, Reply, Scoped

# Statuses of a gateway that gave up: the task behind it may be running, whatever the body says.
_GATEWAY_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_OVERLOAD_RAW_CODES = frozenset({"serviceUnavailable", "serverUnavailable"})
# Of these a whole request may be guilty because of one task in it; the rest speak of the account or the service.
_REFUSING_CODES = frozenset(
    {
        ErrorCode.VALIDATION,
        ErrorCode.NOT_FOUND,
        ErrorCode.UNKNOWN,
        ErrorCode.SAFETY,
        ErrorCode.PROVIDER,
    }
)
_UNKNOWN_TASK_RAW_CODES = frozenset({"taskNotFound", "taskExpired", "taskFailedOrNotFound"})


def submit_outcomes(task_uuids: Sequence[str], reply: Reply) -> dict[str, SubmitOutcome]:
    """Decide each task of one submit request."""
    return {
        task_uuid: _submitted(task_uuid, reply, is_alone=len(task_uuids) == 1) for task_uuid in task_uuids
    }


def poll_outcomes(task_uuids: Sequence[str], reply: Reply) -> dict[str, PollOutcome]:
    """Decide each task of one `getResponse` request."""
    return {task_uuid: _polled(task_uuid, reply) for task_uuid in task_uuids}


def doubted_ends(task_uuids: Sequence[str], reply: Reply) -> frozenset[str]:
    """Name the tasks of a group of questions of which all that is told is an error not marked as their end.

    A failed task says `status: "error"` (PROTOCOL 1.4). Without that, an error in the answer to a group may be
    about the question (too many in one request, PROTOCOL 17.3), and only a question of its own can tell.
    """
    return frozenset(task_uuid for task_uuid in task_uuids if _is_doubted(reply.of(task_uuid)))


def _is_doubted(scoped: Scoped) -> bool:
    if scoped.items or not scoped.errors:
        return False
    return all(
        entry.get("status") != "error" and raw_code_of(error) not in _UNKNOWN_TASK_RAW_CODES
        for error, entry in zip(scoped.errors, scoped.error_items, strict=True)
    )


def refuses_request(reply: Reply) -> bool:
    """Say whether the platform turned the request down as a whole, for something that stands in it."""
    if reply.failure is not None or reply.by_task:
        return False
    status = reply.status_code
    if status is not None and not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return False
    error = reply.unscoped[0] if reply.unscoped else _silence(reply)
    return error.code in _REFUSING_CODES and (bool(reply.unscoped) or status is not None)


def _submitted(task_uuid: str, reply: Reply, *, is_alone: bool) -> SubmitOutcome:
    scoped = reply.of(task_uuid)
    if scoped.items:
        return Accepted(scoped.items, scoped.errors)
    if scoped.errors:
        return _rejected_by_name(scoped.errors)
    if reply.failure is not None:
        error = _for_task(reply.failure, task_uuid)
        return Unclear(error) if reply.was_written else NotSent(error)
    # An answer that took some tasks of the group and names others not at all is no refusal of the latter.
    if any(other.items for other in reply.by_task.values()):
        return Unclear(_for_task(reply.unscoped[0] if reply.unscoped else _silence(reply), task_uuid))
    return _rejected_as_a_whole(task_uuid, reply, is_alone=is_alone)


def _rejected_by_name(errors: Sequence[RunwareError]) -> SubmitOutcome:
    conflict = next((error for error in errors if raw_code_of(error) == CONFLICT_RAW_CODE), None)
    if conflict is not None:
        return Conflict(conflict)
    error = with_others(errors)
    if error.status_code in _GATEWAY_STATUSES:
        return Unclear(error)
    if is_account_error(error):
        return Blocked(error)
    if _is_busy(error):
        return Busy(error, error.retry_after_s)
    return Refused(error)


def _rejected_as_a_whole(task_uuid: str, reply: Reply, *, is_alone: bool) -> SubmitOutcome:
    error = with_others(reply.unscoped) if reply.unscoped else _silence(reply)
    status = reply.status_code
    if status in _GATEWAY_STATUSES:
        return Unclear(_for_task(error, task_uuid))
    # 401 and 402 say by their definition that the request was not processed, with or without a body of ours.
    # A bare 403 may be any firewall's opinion of one prompt, so it needs the platform's own words.
    is_account_status = status in {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
    } and not _is_providers(error)
    if is_account_status or (reply.unscoped and is_account_error(error)):
        return Blocked(error)
    # 429 as the answer to the whole request means that the model queue was full, and nothing was taken: were a
    # task of the group taken, the body would name it, and then we would not be here. Also without a readable body:
    # a rate limiter in front of the platform turns requests away before they are processed (RFC 6585).
    if status == HTTPStatus.TOO_MANY_REQUESTS or (reply.unscoped and error.code is ErrorCode.RATE_LIMIT):
        return Busy(_for_task(error, task_uuid), reply.retry_after_s)
    if is_alone and reply.unscoped:
        # With one task in the request an error without a scope can only mean that task.
        named = _for_task(error, task_uuid)
        if _is_busy(named):
            return Busy(named, reply.retry_after_s)
        if status is None or HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Refused(named)
    return Unclear(_for_task(error, task_uuid))


def _polled(task_uuid: str, reply: Reply) -> PollOutcome:
    scoped = reply.of(task_uuid)
    about_task, about_question = _split_errors(scoped, reply.status_code)
    if scoped.items or about_task:
        unknown = next((error for error in about_task if raw_code_of(error) in _UNKNOWN_TASK_RAW_CODES), None)
        if unknown is not None and not scoped.items:
            return Missing(unknown)
        return Polled(scoped.items, tuple(about_task))
    failure = reply.failure or next(iter((*about_question, *reply.unscoped)), None)
    if failure is not None:
        return NoAnswer(failure, failure.retry_after_s)
    if reply.is_readable and reply.status_code in {None, HTTPStatus.OK}:
        return Missing()
    return NoAnswer(_silence(reply), reply.retry_after_s)


def _split_errors(scoped: Scoped, status: int | None) -> tuple[list[RunwareError], list[RunwareError]]:
    """Part the errors that report the task's end from those that only refuse the question.

    A failed task carries `status: "error"` (PROTOCOL 1.4). Without it, an overloaded or forbidden
    question says nothing about the task: to take it for an end would give up work that is paid for.
    """
    about_task: list[RunwareError] = []
    about_question: list[RunwareError] = []
    for error, entry in zip(scoped.errors, scoped.error_items, strict=True):
        is_end = entry.get("status") == "error" or not _refuses_question(error, entry, status)
        (about_task if is_end else about_question).append(error)
    return about_task, about_question


def _refuses_question(error: RunwareError, entry: Item, status: int | None) -> bool:
    raw_code = raw_code_of(error)
    if status is not None and (
        status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return True
    if raw_code in _UNKNOWN_TASK_RAW_CODES:
        return False  # an answer about the task, though it names taskUUID as its parameter
    if raw_code == CONFLICT_RAW_CODE or entry.get("parameter") == "taskUUID":
        return True
    if raw_code.startswith(("provider", "thirdParty")):
        return False
    return error.code in {ErrorCode.AUTH, ErrorCode.RATE_LIMIT} or is_account_error(error) or _is_busy(error)


def is_account_error(error: RunwareError) -> bool:
    """Say whether the account itself is meant: its key, or its own credits, and no task or provider."""
    raw_code = raw_code_of(error)
    if _is_providers(error):
        return False
    if is_own_credits(raw_code, error.code, error.status_code):
        return True
    # The key itself is meant by 401, by an auth error without a task, and by name: a socket has no status.
    # What is left is an auth error of one task, such as a model that this key may not use.
    is_key = error.status_code == HTTPStatus.UNAUTHORIZED or error.task_uuid is None or "ApiKey" in raw_code
    return is_key and error.code is ErrorCode.AUTH


def _is_providers(error: RunwareError) -> bool:
    return raw_code_of(error).startswith(("provider", "thirdParty"))


def _is_busy(error: RunwareError) -> bool:
    if error.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        # The status is one for the whole group: it does not turn a neighbour's validation error into a full queue.
        return error.retryable or error.code is ErrorCode.UNKNOWN
    if error.code is ErrorCode.RATE_LIMIT:
        return True
    return error.status_code is None and raw_code_of(error) in _OVERLOAD_RAW_CODES


def _for_task(error: RunwareError, task_uuid: str) -> RunwareError:
    return error if error.task_uuid is not None else error.changed(task_uuid=task_uuid)


def _silence(reply: Reply) -> RunwareError:
    where = "" if reply.status_code is None else f" (HTTP {reply.status_code})"
    raw_code, what = (
        (SILENT_ANSWER, "does not mention the task")
        if reply.is_readable
        else (UNREADABLE_ANSWER, "is not a Runware answer")
    )
    # From 400 on the status names the class better than an identifier of ours would.
    names_class = reply.status_code is not None and reply.status_code >= HTTPStatus.BAD_REQUEST
    return create_runware_error(
        "" if names_class else raw_code,
        f"The answer{where} {what}.",
        status_code=reply.status_code,
        retry_after_s=reply.retry_after_s,
    )
