"""Many tasks in few requests: what a queue submits and polls with.

Each task is written at most once per call, and each gets an outcome. Nothing is repeated here:
a caller that holds money decides from the outcomes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .error_codes import ANSWER_TOO_LARGE
from .errors import raw_code_of
from .exchange import Exchange, Kind
from .fence import SendFence
from .grouping import TaskGroup, cut_groups, encode_all, encode_task
from .outcomes import Refused
from .verdicts import poll_outcomes, submit_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .config import SDKConfig
    from .exchange import Transport
    from .outcomes import PollOutcome, SubmitOutcome

# Base64 outputs can make the answer to a small question huge. A group beyond this is asked in halves.
_GROUP_ANSWER_BYTES = 64_000_000


async def submit_many(
    tasks: Sequence[Mapping[str, Any]],
    *,
    transport: Transport,
    config: SDKConfig,
    send_before: float | None = None,
) -> dict[str, SubmitOutcome]:
    """Submit each task once; see `Runware.submit_many`."""
    fence = SendFence(send_before)
    encoded, refused = encode_all(tasks)
    outcomes: dict[str, SubmitOutcome] = {task_uuid: Refused(error) for task_uuid, error in refused.items()}

    async def submit(group: TaskGroup) -> None:
        reply = await transport.exchange(
            Exchange(group=group, kind=Kind.SUBMIT, timeout_s=config.submit_timeout / 1_000, fence=fence)
        )
        outcomes.update(submit_outcomes(group.task_uuids, reply))

    async with asyncio.TaskGroup() as requests:
        for group in cut_groups(encoded, max_tasks=config.submit_group_size):
            requests.create_task(submit(group))
    return outcomes


async def poll_many(
    task_uuids: Iterable[str],
    *,
    transport: Transport,
    fallback: Transport | None,
    config: SDKConfig,
) -> dict[str, PollOutcome]:
    """Ask for each task once; see `Runware.poll_many`.

    `fallback` is asked about tasks that `transport` left without a word. A socket's silence about one
    task of a group can mean "unknown" or "not yet": only a transport whose answers end can tell.
    """
    outcomes: dict[str, PollOutcome] = {}

    async def ask(group: TaskGroup, asked: Transport) -> None:
        is_divisible = len(group.tasks) > 1
        reply = await asked.exchange(
            Exchange(
                group=group,
                kind=Kind.POLL,
                timeout_s=config.poll_request_timeout / 1_000,
                answer_limit_bytes=_GROUP_ANSWER_BYTES if is_divisible else None,
            )
        )
        if is_divisible and reply.failure is not None and raw_code_of(reply.failure) == ANSWER_TOO_LARGE:
            for half in group.halves():
                await ask(half, asked)
            return
        outcomes.update(poll_outcomes(group.task_uuids, reply))
        if asked is transport and fallback is not None and reply.is_readable and not reply.unscoped:
            unnamed = tuple(task for task in group.tasks if task.task_uuid not in reply.by_task)
            if unnamed:
                await ask(TaskGroup(unnamed), fallback)

    questions = [
        encode_task({"taskType": "getResponse", "taskUUID": task_uuid})
        for task_uuid in dict.fromkeys(task_uuids)
    ]
    async with asyncio.TaskGroup() as requests:
        for group in cut_groups(questions, max_tasks=config.poll_group_size):
            requests.create_task(ask(group, transport))
    return outcomes
