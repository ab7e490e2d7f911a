"""What one client did for one call, in a form that two clients can be compared in.

Ids and addresses that are made anew for each call are replaced by names; everything else stays.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tests.support.recording_relay import RecordingRelay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.differential.kits import Kit
    from tests.support.recording_relay import Sent

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d:?\d\d)")
# Their SDK decodes each network read of a stream by itself: a quotation mark that is cut in two is damaged. Whether
# it is cut is chance, so all look alike here.
_QUOTATION = re.compile("[“”]|\ufffd+")
_REGISTRY = "/schemas/registry.json"
_HEADERS = ("authorization", "content-type", "accept")
_ERROR_FIELDS = ("code", "retryable", "parameter", "task_type", "status_code")
ABSENT = "(absent)"
# Task UUIDs that calls bring along.
GIVEN = ("7a3b1c52-9d0e-4f6a-8b2c-1d3e5f708192", "c0ffee11-2b3c-4d5e-9f60-718293a4b5c6")


@dataclass
class Session:
    """A client at work: `heard` keeps what its callbacks were told, as (callback, item)."""

    kit: Kit
    client: Any
    heard: list[tuple[str, Any]]

    def listening(self, **more: Any) -> Any:
        """Make run options with both callbacks."""
        return self.kit.run_options(
            on_result=lambda item: self.heard.append(("on_result", item)),
            on_progress=lambda item: self.heard.append(("on_progress", item)),
            **more,
        )


async def observe(
    kit: Kit,
    upstream: str,
    call: Callable[[Session], Awaitable[Any]],
    options: dict[str, Any],
    *,
    in_any_order: bool,
    shows_registry: bool,
) -> dict[str, Any]:
    """Make the call with this client and give what it sent, what it told and how it ended.

    `in_any_order` is for tasks that run beside each other: then which tasks were sent counts, and in how many
    requests they were submitted.
    """
    heard: list[tuple[str, Any]] = []
    async with RecordingRelay(upstream) as relay:
        try:
            async with kit.open(relay.address, **options) as client:
                outcome: Any = {"results": await call(Session(kit, client, heard))}
        except kit.error as error:
            outcome = {"error": _error(error)}
    # Both fetch the registry behind the caller's back, if there is time: that tells nothing of the call.
    hidden = set() if shows_registry else {_REGISTRY}
    names = _Names(relay)
    requests = list(_requests(relay.sent))
    return {
        "requests": names.of(_in_any_order(requests) if in_any_order else requests),
        "services": sorted({sent.target for sent in relay.sent if _is_service(sent)} - hidden),
        "callbacks": names.of([list(told) for told in heard]),
        "outcome": names.of(outcome),
    }


def differences(official: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give each leaf at which the two differ, as (path, official, ours)."""
    if isinstance(official, dict) and isinstance(ours, dict):
        for name in sorted(official.keys() | ours.keys()):
            yield from differences(
                official.get(name, ABSENT), ours.get(name, ABSENT), f"{path}.{name}" if path else name
            )
    elif isinstance(official, list) and isinstance(ours, list):
        for position in range(max(len(official), len(ours))):
            pair = [side[position] if position < len(side) else ABSENT for side in (official, ours)]
            yield from differences(*pair, f"{path}[{position}]")
    elif official != ours or type(official) is not type(ours):
        yield path, official, ours


class _Names:
    """Stable names for what is different each time. A UUID that was sent as a task's is named by its turn.

    Those that the test has given itself keep their own.
    """

    def __init__(self, relay: RecordingRelay) -> None:
        self._address = relay.address
        self._tasks: dict[str, str] = {}
        for sent in relay.sent:
            for task in sent.body if isinstance(sent.body, list) else []:
                if "taskUUID" in task:
                    task_uuid = task["taskUUID"]
                    is_ours = task_uuid in GIVEN
                    self._tasks.setdefault(
                        task_uuid, task_uuid if is_ours else f"task-{len(self._tasks) + 1}"
                    )

    def of(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.of(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        if not isinstance(value, str):
            return value
        value = _UUID.sub(lambda found: self._tasks.get(found[0], "(id)"), str(value))
        return _QUOTATION.sub('"', _TIME.sub("(time)", value.replace(self._address, "(address)")))


def _requests(sent: list[Sent]) -> Iterator[Any]:
    """Give what asks for work, in order; how often a client asks in a row is its pace, not its meaning."""
    shown = (
        {"method": one.method, "target": one.target, "body": one.body, "headers": _headers(one)}
        for one in sent
        if not _is_service(one)
    )
    for request, repeated in groupby(shown):
        yield from [request] if _is_question(request) else repeated


def _in_any_order(requests: list[Any]) -> dict[str, Any]:
    by_uuid = [request["body"] for request in requests if any("taskUUID" in task for task in request["body"])]
    tasks = {json.dumps(task, sort_keys=True): task for body in by_uuid for task in body}
    return {
        "submits": sum(any(task["taskType"] != "getResponse" for task in body) for body in by_uuid),
        "tasks": [tasks[key] for key in sorted(tasks)],
    }


def _is_question(request: dict[str, Any]) -> bool:
    body = request["body"]
    if isinstance(body, list):
        return all(task.get("taskType") == "getResponse" for task in body)
    return bool(request["method"] == "GET")


def _is_service(sent: Sent) -> bool:
    """Whether it went to the schemas or content service; when those are asked is each client's own affair."""
    return sent.target.startswith(("/schemas/", "/content/"))


def _headers(sent: Sent) -> dict[str, str]:
    return {name: sent.headers[name] for name in _HEADERS if name in sent.headers}


def _error(error: Any) -> dict[str, Any]:
    told = {name: getattr(error, name) for name in _ERROR_FIELDS}
    entries = error.validation_errors or []
    return {**told, "code": str(told["code"]), "validation_errors": [dict(entry) for entry in entries]}
