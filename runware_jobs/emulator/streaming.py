"""The event stream of a text task: its words spread over its duration, then usage, then [DONE]."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .protocol import Platform
    from .tasks import Task

_KEEP_ALIVE = b": ping\n\n"
_DONE = b"data: [DONE]\n\n"
# A keep-alive comment now and then, so that clients must skip it.
_KEEP_ALIVE_EVERY = 8


async def stream_text(platform: Platform, task: Task) -> AsyncIterator[bytes]:
    """Server-sent events of the task's first item."""
    item = platform.results.item(task, 0)
    words = re.findall(r"\S+\s*", item["text"])
    pause_s = max(0.0, task.ends_at - platform.clock.now_s()) / max(1, len(words))
    for number, word in enumerate(words):
        if number % _KEEP_ALIVE_EVERY == 0:
            yield _KEEP_ALIVE
        yield _event(task, {"delta": {"text": word}, "finishReason": None})
        await asyncio.sleep(pause_s)
    failure = task.failure
    if failure is not None:
        entry = platform.results.failure_entry(task)
        yield b"data: " + orjson.dumps({"errors": [entry]}) + b"\n\n"
        return
    last: dict[str, Any] = {"delta": {}, "finishReason": "stop"}
    last.update({name: item[name] for name in ("usage", "cost") if name in item})
    yield _event(task, last)
    yield _DONE


def _event(task: Task, chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps({"taskUUID": task.uuid, "taskType": task.task_type, **chunk}) + b"\n\n"
