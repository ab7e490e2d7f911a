"""Cut many tasks into requests, by count and by bytes.

Pure. Each task is encoded on its own, so that one that cannot be encoded costs only itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from runware_jobs.client.errors import RunwareError, create_runware_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# The platform names no limit of its own; proxies commonly cut at 10 MB.
GROUP_BYTES = 8_000_000
# Whatever made the platform refuse groups may be mended: after this long they are tried again.
_DISTRUST_S = 600.0


@dataclass(frozen=True, slots=True)
class EncodedTask:
    """One task as JSON bytes, with its identity."""

    task_uuid: str
    task_type: str
    json: bytes


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """The tasks of one request, in order."""

    tasks: tuple[EncodedTask, ...]

    @property
    def task_uuids(self) -> tuple[str, ...]:
        """The identities of the tasks, in order."""
        return tuple(task.task_uuid for task in self.tasks)

    def body(self) -> bytes:
        """Give the request body: always a JSON array."""
        return b"[" + b",".join(task.json for task in self.tasks) + b"]"

    def halves(self) -> tuple[TaskGroup, TaskGroup]:
        """Cut in two; the first half is the smaller one when the number is odd."""
        middle = len(self.tasks) // 2
        return TaskGroup(self.tasks[:middle]), TaskGroup(self.tasks[middle:])


def encode_task(task: Mapping[str, Any]) -> EncodedTask:
    """Encode one task that carries `taskUUID` and `taskType`.

    Errors:
        RunwareError (validation): a value that JSON cannot carry.
    """
    task_uuid, task_type = str(task.get("taskUUID", "")), str(task["taskType"])
    try:
        # orjson leaves kilobytes of room behind the bytes it gives; thousands of tasks may wait at once.
        compact = memoryview(orjson.dumps(dict(task))).tobytes()
        return EncodedTask(task_uuid, task_type, compact)
    except orjson.JSONEncodeError as error:
        raise create_runware_error(
            "invalidParameters",
            f"The task cannot be written as JSON: {error}. Pass plain values; a local file as pathlib.Path with "
            "encode_local_files=True, or through file_to_data_uri().",
            task_uuid=task_uuid or None,
            task_type=task_type,
        ) from error


def cut_groups(
    tasks: Iterable[EncodedTask], *, max_tasks: int, max_bytes: int = GROUP_BYTES
) -> list[TaskGroup]:
    """Cut in order; a task larger than `max_bytes` goes alone."""
    groups: list[TaskGroup] = []
    current: list[EncodedTask] = []
    size_bytes = 0
    for task in tasks:
        grown = size_bytes + len(task.json) + 1
        if current and (len(current) >= max_tasks or grown > max_bytes):
            groups.append(TaskGroup(tuple(current)))
            current, grown = [], len(task.json) + 1
        current.append(task)
        size_bytes = grown
    if current:
        groups.append(TaskGroup(tuple(current)))
    return groups


def encode_all(
    tasks: Sequence[Mapping[str, Any]],
) -> tuple[list[EncodedTask], dict[str, RunwareError]]:
    """Encode the tasks of one call; those that cannot be encoded come back by UUID with their error.

    Errors:
        ValueError: a task without `taskUUID` or `taskType`, or a UUID given twice.
    """
    encoded: list[EncodedTask] = []
    refused: dict[str, RunwareError] = {}
    seen: set[str] = set()
    for position, task in enumerate(tasks):
        task_uuid, task_type = task.get("taskUUID"), task.get("taskType")
        if not isinstance(task_uuid, str) or not task_uuid:
            raise ValueError(f'task {position} has no "taskUUID": give each task its own UUID before sending')
        if not isinstance(task_type, str) or not task_type:
            raise ValueError(f'task {task_uuid} has no "taskType": use resolve_task_type(params)')
        if task_uuid in seen:
            raise ValueError(f'"taskUUID" {task_uuid} occurs twice in one call: send each task once')
        seen.add(task_uuid)
        try:
            encoded.append(encode_task(task))
        except RunwareError as error:
            refused[task_uuid] = error
    return encoded, refused


class GroupTrust:
    """Whether the platform takes several tasks in one request, as far as refusals have shown.

    One refused group proves nothing: a single poisonous task refuses all of them. Two groups without a
    common task, each refused although its tasks passed one by one, prove it; for a while.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._witness: frozenset[str] | None = None
        self._distrusted_until = float("-inf")

    @property
    def is_lost(self) -> bool:
        """Whether to ask singly now."""
        return self._clock() < self._distrusted_until

    def refused_although_each_passed(self, group: TaskGroup) -> None:
        """Note a group that was refused as a whole while each of its tasks passed alone."""
        tasks = frozenset(group.task_uuids)
        if self._witness is None:
            self._witness = tasks
        elif tasks.isdisjoint(self._witness):
            self._witness = None
            self._distrusted_until = self._clock() + _DISTRUST_S
