"""The event stream of a text task: its words spread over its duration, then usage, then [DONE]."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import orjson

from .wording import worded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .protocol import Platform
    from .tasks import Task

_KEEP_ALIVE = b": ping\n\n"
_DONE = b"data: [DONE]\n\n"
# A keep-alive comment now and then, so that clients must skip it.
_KEEP_ALIVE_EVERY = 8
_FIRST_LONG_BYTE = 0x80


async def stream_text(platform: Platform, task: Task, *, part: float = 1.0) -> AsyncIterator[bytes]:
    """Server-sent events of the task's first item; with `part` below 1 the stream just stops there."""
    events = _failing(platform, task) if task.failure is not None else list(_events(platform, task))
    pause_s = max(0.0, task.ends_at - platform.clock.now_s()) / len(events)
    for number, event in enumerate(events[: max(1, int(len(events) * part))]):
        if number % _KEEP_ALIVE_EVERY == 0:
            yield _KEEP_ALIVE
        for piece in _torn(event):
            yield piece
        await asyncio.sleep(pause_s)


def _events(platform: Platform, task: Task) -> Iterator[bytes]:
    item = worded(platform.results.item(task, 0), task, platform.switches)
    for name, text in (("reasoningContent", item.get("reasoningContent", "")), ("text", item["text"])):
        for word in re.findall(r"\S+\s*", str(text)):
            yield _event(task, {"delta": {name: word}, "finishReason": None})
    last: dict[str, Any] = {"delta": {}, "finishReason": item.get("finishReason", "stop")}
    last.update({name: item[name] for name in ("usage", "cost") if name in item})
    yield _event(task, last)
    yield _DONE


def _failing(platform: Platform, task: Task) -> list[bytes]:
    """The stream of a task that fails: half of its words, then the error, and no [DONE]."""
    events = list(_events(platform, task))
    error = {"errors": [platform.results.failure_entry(task)]}
    return [*events[: len(events) // 2], b"data: " + orjson.dumps(error) + b"\n\n"]


def _torn(event: bytes) -> Iterator[bytes]:
    """The event in pieces, torn inside its first character of several bytes, as networks do."""
    at = next((index for index, byte in enumerate(event) if byte >= _FIRST_LONG_BYTE), None)
    if at is None:
        yield event
        return
    yield event[: at + 1]
    yield event[at + 1 :]


def _event(task: Task, chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps({"taskUUID": task.uuid, "taskType": task.task_type, **chunk}) + b"\n\n"
