"""The table of outcomes: what an answer means for each task of a group."""

from __future__ import annotations

import json

import pytest

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
    create_runware_error,
)
from runware_jobs.client.wire.envelope import failed, read_envelope
from runware_jobs.client.wire.verdicts import poll_outcomes, submit_outcomes

ME, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def error(code, task=ME, **fields):
    return {"code": code, "message": "m", **({"taskUUID": task} if task else {}), **fields}


def item(task=ME, **fields):
    return {"taskType": "imageInference", "taskUUID": task, **fields}


SUBMITS = [
    # label, HTTP status (None: WebSocket), envelope or None for a body that cannot be read, alone?, outcome
    ("ack", 200, {"data": [item()]}, False, Accepted),
    ("first items", 200, {"data": [item(imageURL="u")]}, False, Accepted),
    ("ack under a bad status", 400, {"data": [item()], "errors": [error("x", OTHER)]}, False, Accepted),
    ("ack and an error", 200, {"data": [item()], "errors": [error("invalidModel")]}, False, Accepted),
    ("conflict", 400, {"data": [], "errors": [error("conflictTaskUUID")]}, False, Conflict),
    ("conflict on a socket", None, {"errors": [error("conflictTaskUUID")]}, False, Conflict),
    ("validation", 400, {"errors": [error("invalidModel")]}, False, Refused),
    (
        "validation in a good answer",
        200,
        {"data": [item(OTHER)], "errors": [error("invalidModel")]},
        False,
        Refused,
    ),
    ("safety", 400, {"errors": [error("contentPolicyViolation")]}, False, Refused),
    ("403 of one task", 403, {"errors": [error("permissionDenied")]}, False, Refused),
    ("credits of a provider", 402, {"errors": [error("providerInsufficientCredits")]}, False, Refused),
    ("scoped in old form", 400, {"error": {"code": "invalidModel"}, "taskUUID": ME}, False, Refused),
    ("scoped by context", 400, {"errors": [error("x", None, context={"taskUUID": ME})]}, False, Refused),
    ("429 for this task", 429, {"errors": [error("rateLimitExceeded")]}, False, Busy),
    ("429 of unknown name", 429, {"errors": [error("queueFull")]}, False, Busy),
    ("429 beside a validation error", 429, {"errors": [error("invalidModel")]}, False, Refused),
    ("429 for the request", 429, {"errors": [error("rateLimitExceeded", None)]}, False, Busy),
    ("429 without a body", 429, None, False, Busy),
    ("503 for this task", 503, {"errors": [error("serviceUnavailable")]}, False, Busy),
    ("503 for a request of one", 503, {"errors": [error("serviceUnavailable", None)]}, True, Busy),
    ("503 for a group", 503, {"errors": [error("serviceUnavailable", None)]}, False, Unclear),
    ("503 without a body", 503, None, True, Unclear),
    ("busy on a socket", None, {"errors": [error("serviceUnavailable")]}, False, Busy),
    ("500 without a body", 500, None, False, Unclear),
    ("500 unscoped", 500, {"errors": [error("internalServerError", None)]}, False, Unclear),
    ("502", 502, b"<html>", False, Unclear),
    ("504 even with a named error", 504, {"errors": [error("timeoutProvider")]}, False, Unclear),
    ("400 for a group", 400, {"errors": [error("invalidJSON", None)]}, False, Unclear),
    ("400 for a request of one", 400, {"errors": [error("invalidJSON", None)]}, True, Refused),
    ("413 without a body", 413, None, False, Unclear),
    ("200 that is no JSON", 200, b"ok", False, Unclear),
    ("200 that is cut off", 200, b'{"data":[{"taskUU', False, Unclear),
    ("200 about others", 200, {"data": [item(OTHER)]}, False, Unclear),
    (
        "429 after others were taken",
        429,
        {"data": [item(OTHER)], "errors": [error("rateLimitExceeded", None)]},
        False,
        Unclear,
    ),
    ("no data", 200, {"data": []}, False, Unclear),
    ("401", 401, {"errors": [error("invalidApiKey", None)]}, False, Blocked),
    ("401 that names the task", 401, {"errors": [error("invalidApiKey")]}, False, Blocked),
    ("401 without a body", 401, None, False, Blocked),
    ("403 for the request", 403, {"errors": [error("forbidden", None)]}, False, Blocked),
    ("403 of a firewall", 403, b"<html>", True, Unclear),
    ("402", 402, {"errors": [error("insufficientCredits", None)]}, False, Blocked),
    ("credits of this task", 400, {"errors": [error("insufficientCredits")]}, False, Blocked),
    ("key on a socket", None, {"errors": [error("missingApiKey")]}, False, Blocked),
    ("402 of a provider", 402, {"errors": [error("providerInsufficientCredits", None)]}, False, Unclear),
]


@pytest.mark.parametrize(
    ("status", "body", "alone", "expected"), [case[1:] for case in SUBMITS], ids=[c[0] for c in SUBMITS]
)
def test_submit_outcome_follows_the_table(status, body, alone, expected):
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    outcome = submit_outcomes([ME] if alone else [ME, OTHER], read_envelope(content, status_code=status))[ME]

    assert type(outcome) is expected, outcome


def test_broken_exchange_is_unclear_only_when_bytes_may_have_left():
    lost = create_runware_error("connectionLost", "x")

    assert isinstance(submit_outcomes([ME], failed(lost, was_written=True))[ME], Unclear)
    assert isinstance(submit_outcomes([ME], failed(lost, was_written=False))[ME], NotSent)


def test_blocked_error_keeps_what_an_account_needs_to_know():
    reply = read_envelope(json.dumps({"errors": [error("insufficientCredits", None)]}), status_code=402)

    told = submit_outcomes([ME, OTHER], reply)[ME].error

    assert (told.code, told.status_code, told.task_uuid) == ("quota", 402, None)


def test_busy_carries_the_wait_that_the_platform_asked_for():
    reply = read_envelope(
        json.dumps({"errors": [error("rateLimitExceeded")]}), status_code=429, retry_after_s=7.0
    )

    assert submit_outcomes([ME], reply)[ME].retry_after_s == 7.0


POLLS = [
    ("processing", 200, {"data": [item(status="processing", progress=4)]}, Polled),
    ("failed, in data", 200, {"data": [item(status="error", error={"code": "x"})]}, Polled),
    ("failed, in errors", 200, {"errors": [error("timeoutProvider", status="error")]}, Polled),
    ("failed, in errors of a 400", 400, {"errors": [error("contentPolicyViolation")]}, Polled),
    (
        "failed by a busy provider",
        200,
        {"errors": [error("providerRateLimitExceeded", status="error")]},
        Polled,
    ),
    ("unknown, silent", 200, {"data": []}, Missing),
    ("unknown among others", 200, {"data": [item(OTHER, status="success")]}, Missing),
    ("unknown by name", 200, {"errors": [error("taskNotFound")]}, Missing),
    ("unknown by name and 404", 404, {"errors": [error("taskNotFound")]}, Missing),
    ("another thing is not found", 200, {"errors": [error("mediaNotFound", status="error")]}, Polled),
    ("busy", 429, {"errors": [error("rateLimitExceeded")]}, NoAnswer),
    ("busy on a socket", None, {"errors": [error("rateLimitExceeded")]}, NoAnswer),
    ("key", 401, {"errors": [error("invalidApiKey", None)]}, NoAnswer),
    ("key, named", 200, {"errors": [error("invalidApiKey")]}, NoAnswer),
    ("5xx that names the task", 500, {"errors": [error("internalServerError")]}, NoAnswer),
    ("5xx that reports its end", 500, {"errors": [error("internalServerError", status="error")]}, Polled),
    ("5xx", 500, None, NoAnswer),
    ("400 for the request", 400, {"errors": [error("invalidTaskUUID", None)]}, NoAnswer),
    ("400 about another", 400, {"errors": [error("x", OTHER)], "data": []}, NoAnswer),
    ("the question is wrong", 400, {"errors": [error("invalidTaskUUID", parameter="taskUUID")]}, NoAnswer),
    ("conflict is no end", 400, {"errors": [error("conflictTaskUUID")]}, NoAnswer),
    ("no JSON", 200, b"ok", NoAnswer),
]


@pytest.mark.parametrize(
    ("status", "body", "expected"), [case[1:] for case in POLLS], ids=[c[0] for c in POLLS]
)
def test_poll_outcome_follows_the_table(status, body, expected):
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    outcome = poll_outcomes([ME, OTHER], read_envelope(content, status_code=status))[ME]

    assert type(outcome) is expected, outcome
