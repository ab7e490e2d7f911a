"""Many tasks in few requests: what a queue submits and polls with.

Each task is written at most once per call, and each gets an outcome. Nothing is repeated here:
a caller that holds money decides from the outcomes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runware_jobs.client.error_codes import ANSWER_TOO_LARGE
from runware_jobs.client.errors import raw_code_of
from runware_jobs.client.outcomes import Refused

from .exchange import Exchange, Kind
from .fence import SendFence
from .grouping import GroupTrust, TaskGroup, cut_groups, encode_all, encode_task
from .verdicts import doubted_ends, poll_outcomes, refuses_request, submit_outcomes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from runware_jobs.client.config import SDKConfig
    from runware_jobs.client.outcomes import PollOutcome, SubmitOutcome

    from .envelope import Reply
    from .exchange import Transport

# Base64 outputs can make the answer to a small question huge. A group beyond this is asked in halves.
_GROUP_ANSWER_BYTES = 64_000_000


async def submit_many(
    tasks: Sequence[Mapping[str, Any]],
    *,
    transport: Transport,
    config: SDKConfig,
    send_before: float | None = None,
    before_more: Callable[[], Awaitable[object]] | None = None,
) -> dict[str, SubmitOutcome]:
    """Submit each task once; see `Runware.submit_many`."""
    fence = SendFence(send_before)
    encoded, refused = encode_all(tasks)
    outcomes: dict[str, SubmitOutcome] = {task_uuid: Refused(error) for task_uuid, error in refused.items()}

    turns = _Turns(before_more)

    async def submit(group: TaskGroup) -> None:
        await turns.take()
        reply = await transport.exchange(
            Exchange(
                group=group,
                kind=Kind.SUBMIT,
                timeout_s=config.submit_timeout / 1_000,
                is_held=False,
                fence=fence,
            )
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
    trust: GroupTrust | None = None,
    before_more: Callable[[], Awaitable[object]] | None = None,
) -> dict[str, PollOutcome]:
    """Ask for each task once; see `Runware.poll_many`.

    `fallback` is asked about tasks that `transport` left without a word. A socket's silence about one
    task of a group can mean "unknown" or "not yet": only a transport whose answers end can tell.
    `trust` remembers between calls whether groups are taken at all.
    """
    trust = trust or GroupTrust()
    poll = _Poll(transport, fallback, config, trust, _Turns(before_more))
    questions = [
        encode_task({"taskType": "getResponse", "taskUUID": task_uuid})
        for task_uuid in dict.fromkeys(task_uuids)
    ]
    async with asyncio.TaskGroup() as requests:
        for group in cut_groups(questions, max_tasks=1 if trust.is_lost else config.poll_group_size):
            requests.create_task(poll.ask(group, transport))
    return poll.outcomes


class _Turns:
    """Wait with every request of one call but the first for whoever spaces a caller's requests."""

    def __init__(self, before_more: Callable[[], Awaitable[object]] | None) -> None:
        self._before_more = before_more
        self._is_first = True

    async def take(self) -> None:
        """Return when the next request may leave."""
        is_first, self._is_first = self._is_first, False
        if not is_first and self._before_more is not None:
            await self._before_more()


class _Poll:
    """One call of `poll_many`."""

    def __init__(
        self,
        transport: Transport,
        fallback: Transport | None,
        config: SDKConfig,
        trust: GroupTrust,
        turns: _Turns,
    ) -> None:
        self.outcomes: dict[str, PollOutcome] = {}
        self._turns = turns
        self._transport = transport
        self._fallback = fallback
        self._timeout_s = config.poll_request_timeout / 1_000
        self._trust = trust

    async def ask(self, group: TaskGroup, transport: Transport) -> bool:
        """Ask about a group, in halves where the whole is refused; say whether it passed as a whole."""
        if len(group.tasks) > 1 and self._trust.is_lost:
            await self._ask_parts((TaskGroup((task,)) for task in group.tasks), transport)
            return False
        is_divisible = len(group.tasks) > 1
        await self._turns.take()
        reply = await transport.exchange(
            Exchange(
                group=group,
                kind=Kind.POLL,
                timeout_s=self._timeout_s,
                answer_limit_bytes=_GROUP_ANSWER_BYTES if is_divisible else None,
            )
        )
        if is_divisible and reply.failure is not None and raw_code_of(reply.failure) == ANSWER_TOO_LARGE:
            await self._ask_parts(group.halves(), transport)
            return True
        is_refused = refuses_request(reply)
        if is_divisible and is_refused:
            # One after the other: what the first half teaches spares requests for the second.
            halves_passed = [await self.ask(half, transport) for half in group.halves()]
            if all(halves_passed) and len(group.tasks) == len(halves_passed):
                self._trust.refused_although_each_passed(group)
            return False
        self.outcomes.update(poll_outcomes(group.task_uuids, reply))
        await self._ask_about_the_unnamed(group, reply, transport)
        doubted = doubted_ends(group.task_uuids, reply)
        if is_divisible and doubted:
            alone = (TaskGroup((task,)) for task in group.tasks if task.task_uuid in doubted)
            if all(await self._ask_parts(alone, transport)):
                self._trust.refused_although_each_passed(group)
        return not (is_refused or doubted)

    async def _ask_about_the_unnamed(self, group: TaskGroup, reply: Reply, asked: Transport) -> None:
        if (
            asked is self._transport
            and self._fallback is not None
            and reply.is_readable
            and not reply.unscoped
        ):
            unnamed = tuple(task for task in group.tasks if task.task_uuid not in reply.by_task)
            if unnamed:
                await self.ask(TaskGroup(unnamed), self._fallback)

    async def _ask_parts(self, parts: Iterable[TaskGroup], transport: Transport) -> list[bool]:
        """Ask about each part at the same time; say of each whether it passed as a whole."""
        async with asyncio.TaskGroup() as requests:
            asking = [requests.create_task(self.ask(part, transport)) for part in parts]
        return [one.result() for one in asking]
