"""The one table of what our client does otherwise than the platform's own SDK 1.8.0, each with its reason.

A row says for some calls which leaf of the comparison differs, what theirs is and what ours is. The test
fails when a row's difference is gone, when it looks otherwise, and when one appears that is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.differential.observing import ABSENT


class _Anything:
    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING = _Anything()
"""Stands for a value that is there and too long to repeat."""

Leaves = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Intended:
    """`leaves` maps the place of a difference to (theirs, ours); `cases` are names of calls with a transport."""

    cases: tuple[tuple[str, str], ...]
    leaves: Leaves
    reason: str


def _on(transport: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, transport) for name in names)


def _on_both(*names: str) -> tuple[tuple[str, str], ...]:
    return _on("rest", *names) + _on("websocket", *names)


_A_RESULT_INSTEAD_OF_AN_ERROR: Leaves = {
    "callbacks[0]": (ABSENT, ANYTHING),
    "outcome.error": (ANYTHING, ABSENT),
    "outcome.results": (ABSENT, ANYTHING),
}

INTENDED: tuple[Intended, ...] = (
    # ---- what is sent --------------------------------------------------------------------------
    Intended(
        _on("rest", "training", "progress of a training"),
        {"requests[0].body[0].deliveryMethod": ("async", ABSENT)},
        "The schema of a training knows no deliveryMethod (PROTOCOL 3.1, 7): a strict server could refuse it.",
    ),
    Intended(
        _on("websocket", "training", "progress of a training"),
        {"requests[1].body[0].deliveryMethod": ("async", ABSENT)},
        "The schema of a training knows no deliveryMethod (PROTOCOL 3.1, 7): a strict server could refuse it.",
    ),
    Intended(
        _on_both("two images at once"),
        {"requests.submits": (2, 1)},
        "Runs that start together are sent together, and asked about together (PROTOCOL 1.2).",
    ),
    Intended(
        _on("rest", "models, searched"),
        {"services[0]": (ANYTHING, ANYTHING)},
        "Ours encodes the values of a query (io%3Atext-to-image); a server reads both as the same.",
    ),
    Intended(
        _on("rest", "model by AIR"),
        {"services[0]": ("/content/models/runware:400@1", "/content/models/runware%3A400%401")},
        "Ours encodes what it puts into a path, as the TypeScript SDK does (PROTOCOL 10.1): a name with a slash "
        "must not become another path.",
    ),
    Intended(
        _on("rest", "validation finds errors", "validation finds nothing"),
        {"services[0]": ("/schemas/resolve/runware:400@1", "/schemas/resolve/runware%3A400%401")},
        "Ours encodes what it puts into a path, as the TypeScript SDK does (PROTOCOL 10.1).",
    ),
    Intended(
        _on("websocket", "cancelled before it began"),
        {"requests[1]": (ANYTHING, ABSENT)},
        "What is cancelled before it began is not sent: theirs submits the task, and it is billed.",
    ),
    Intended(
        _on("rest", "serverless", "serverless, fetched later", "serverless, failed"),
        {"requests[1].headers.content-type": ("application/json", ABSENT)},
        "A GET has no body, so ours names no type of it.",
    ),
    # ---- what comes back -----------------------------------------------------------------------
    Intended(
        _on_both("two texts"),
        {
            "callbacks[1]": (ABSENT, ANYTHING),
            "outcome.error": (ANYTHING, ABSENT),
            "outcome.results": (ABSENT, ANYTHING),
        },
        "Texts have no UUID of their own: theirs takes the task's for each, counts one, and waits until the timeout "
        "(PROTOCOL 3.3).",
    ),
    Intended(
        _on("rest", "model upload"),
        {
            "outcome.results[0].air": (ABSENT, "differential:1@1"),
            "outcome.results[0].message": (ABSENT, ANYTHING),
            "outcome.results[0].status": (ABSENT, "ready"),
            "requests[1]": (ABSENT, ANYTHING),
        },
        "Theirs gives the ACK and never hears of the upload again; ours follows it to its last phase (PROTOCOL 6.3).",
    ),
    Intended(
        _on("websocket", "model upload"),
        {
            "outcome.results[0].message": (ANYTHING, ANYTHING),
            "outcome.results[0].status": ("validated", "ready"),
        },
        "Theirs gives the first phase and drops the rest; ours gives the last one (PROTOCOL 6.3).",
    ),
    Intended(
        _on_both("failed item, form A"),
        {"callbacks[0]": (ABSENT, ANYTHING), "callbacks[1]": (ABSENT, ANYTHING)},
        "Of an answer with data and errors theirs drops the data: the result that is there, and paid for, is never "
        "told (PROTOCOL 1.3). Ours tells both, as it does for the other form.",
    ),
    Intended(
        _on_both("safety refusal"),
        {"callbacks[0]": (ABSENT, ANYTHING)},
        "A moderated task is an error item wherever it is said: only validation, auth, quota and rateLimit raise "
        "without a callback.",
    ),
    # ---- what is tried again -------------------------------------------------------------------
    Intended(
        _on("websocket", "queue full once", "500 once"),
        {
            **_A_RESULT_INSTEAD_OF_AN_ERROR,
            "requests[2]": (ABSENT, ANYTHING),
            "requests[3]": (ABSENT, ANYTHING),
        },
        "What may be tried again is, on both transports; theirs does so on REST only.",
    ),
    Intended(
        _on("websocket", "queue full for ever", "500 for ever"),
        {"requests[2]": (ABSENT, ANYTHING), "requests[3]": (ABSENT, ANYTHING)},
        "What may be tried again is, on both transports; theirs does so on REST only.",
    ),
    Intended(
        _on("rest", "answer lost"),
        {**_A_RESULT_INSTEAD_OF_AN_ERROR, "requests[2]": (ABSENT, ANYTHING)},
        "conflictTaskUUID after a second try proves that the first arrived. Theirs takes it so on a WebSocket only; "
        "over REST it calls a task that runs, and is billed, a validation error (PROTOCOL 3.5).",
    ),
    Intended(
        _on("websocket", "socket dropped in mid-run, sync"),
        _A_RESULT_INSTEAD_OF_AN_ERROR,
        "The platform keeps pushed results for the session (PROTOCOL 2.2). Ours resumes it and waits a moment for the "
        "replay; theirs gives up a task that is billed and calls that retryable.",
    ),
    # ---- errors --------------------------------------------------------------------------------
    Intended(
        _on_both("timeout at the provider"),
        {"outcome.error.code": ("unknown", "timeout"), "outcome.error.retryable": (False, True)},
        "timeoutProvider, the documentation's own example, has no capital T (PROTOCOL 8).",
    ),
    Intended(
        _on("rest", "500 without a body", "502 as HTML"),
        {
            "outcome.error.code": ("unknown", "serverError"),
            "outcome.error.retryable": (False, True),
            "outcome.error.task_type": (None, "imageInference"),
        },
        "Without a readable body the HTTP status names the class (PROTOCOL 8).",
    ),
    Intended(
        _on("websocket", "refused key"),
        {
            "outcome.error.parameter": (None, "apiKey"),
            "outcome.error.task_type": (None, "authentication"),
        },
        "What the platform says of its refusal is handed on.",
    ),
    Intended(
        _on_both("timeout", "cancelled"),
        {"outcome.error.task_type": (None, "imageInference")},
        "The end of a run names the type of the task that goes on.",
    ),
    Intended(
        _on("rest", "two texts in a stream"),
        {
            "outcome.error.code": ("unknown", "validation"),
            "outcome.error.parameter": (None, "numberResults"),
            "outcome.error.task_type": (None, "textInference"),
        },
        "What is wrong is a parameter, so the code is `validation` and names it.",
    ),
    Intended(
        _on("rest", "validation finds errors"),
        {
            "outcome.error.parameter": ("width", "height"),
            "outcome.error.validation_errors[0].message": (ANYTHING, ANYTHING),
            "outcome.error.validation_errors[0].path": (ANYTHING, "height"),
            "outcome.error.validation_errors[1]": (ABSENT, ANYTHING),
        },
        "Theirs tells the first error only; ours all at once, in the order of their paths. A path is written as the errors of the platform write "
        "it: dotted, and from the parameter on.",
    ),
)


def expected_differences(name: str, transport: str) -> Leaves:
    """Give all that is listed for one call on one transport."""
    leaves: Leaves = {}
    for row in INTENDED:
        if (name, transport) in row.cases:
            leaves |= row.leaves
    return leaves
