"""What goes in and out of the platform, whatever the transport: a caller, a message, an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from .errors import Refusal, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .accounts import Account
    from .switches import Switches
    from .tasks import Task


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a message, and how. `base_url` is the address the caller reached us by."""

    account: Account
    base_url: str
    key_id: str = ""
    """Stands for the API key, which is kept nowhere."""
    websocket: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Answer:
    """What the platform says at once. `waiting` are sync tasks whose items follow when they finish."""

    data: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[Task] = field(default_factory=list)
    acknowledged: list[Task] = field(default_factory=list)

    def status(self, switches: Switches) -> int:
        """200 as soon as anything was said or is coming; else the status of the first error.

        An entry with a `status` is the failed item of a poll, which was answered well.
        """
        refused = [error for error in self.errors if "status" not in error]
        if not refused:
            return HTTPStatus.OK
        if self.data or self.waiting or len(refused) < len(self.errors):
            return switches.partial_status
        return status_of(refused[0]["code"])

    def envelope(self, switches: Switches) -> dict[str, Any]:
        """`data` always, `errors` where there are any (an empty list makes old SDKs fail)."""
        if self.errors or switches.empty_errors:
            return {"data": self.data, "errors": self.errors}
        return {"data": self.data}


DEEPEST = 64
"""How deep a body may nest: more than any schema asks for, and less than JSON can be written again."""


def decode_message(body: bytes | str, switches: Switches) -> list[Mapping[str, Any]] | Refusal:
    """The tasks of a message, or why it is none: it must be a JSON array of objects, and not too large."""
    if switches.max_body_bytes is not None and len(body) > switches.max_body_bytes:
        return Refusal("maxRequestSize", f"The request is larger than {switches.max_body_bytes} bytes.")
    try:
        tasks = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal("invalidJSON", "The request body is not valid JSON.")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        return Refusal("invalidRequest", "The request body must be a JSON array of task objects.")
    return _size_refusal(tasks, switches) or tasks


def _size_refusal(tasks: list[Any], switches: Switches) -> Refusal | None:
    """Why a message with these tasks is too small, too large or too deep; None if it is neither."""
    if not tasks:
        return Refusal("arrayTooSmall", "The request body must hold at least one task.")
    if switches.max_tasks is not None and len(tasks) > switches.max_tasks:
        return Refusal("arrayTooLarge", f"The request holds more than {switches.max_tasks} tasks.")
    if is_too_deep(tasks):
        return Refusal("invalidRequest", f"The request body is nested deeper than {DEEPEST} levels.")
    return None


def is_too_deep(decoded: Any) -> bool:
    """Whether decoded JSON nests deeper than `DEEPEST` levels."""
    level = [decoded]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True
