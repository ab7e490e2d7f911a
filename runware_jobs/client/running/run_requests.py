"""The two requests that runs share: their submits and their polls.

A group is judged task by task as in `submit_many` and `poll_many`. Runs of one client that start in the
same turn of the event loop are submitted together, and asked about together from then on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runware_jobs.client.outcomes import Accepted, Conflict
from runware_jobs.client.wire.exchange import Exchange, Kind
from runware_jobs.client.wire.grouping import TaskGroup
from runware_jobs.client.wire.sending import poll_many
from runware_jobs.client.wire.verdicts import refuses_request, submit_outcomes

from .sharing import SharedRequests

if TYPE_CHECKING:
    from runware_jobs.client.config import SDKConfig
    from runware_jobs.client.outcomes import PollOutcome, SubmitOutcome
    from runware_jobs.client.wire.envelope import Reply
    from runware_jobs.client.wire.exchange import Transport
    from runware_jobs.client.wire.grouping import GroupTrust

    from .sharing import IsAwaited

# An ACK takes milliseconds on a socket; one that is this late is asked for again, under the same UUID.
_ACK_S = 30.0


def shared_submits(transport: Transport, config: SDKConfig) -> SharedRequests[SubmitOutcome]:
    """Make what sends the submits of concurrent runs."""

    async def carry(group: TaskGroup, is_awaited: IsAwaited) -> dict[str, SubmitOutcome]:
        return await submit(group, transport, config, is_awaited)

    return SharedRequests(carry, max_tasks=config.submit_group_size)


def shared_polls(
    transport: Transport, fallback: Transport | None, config: SDKConfig, trust: GroupTrust
) -> SharedRequests[PollOutcome]:
    """Make what asks about the tasks of concurrent runs."""
    bounded = replace(config, poll_request_timeout=min(config.timeout, config.poll_request_timeout))

    async def carry(group: TaskGroup, _is_awaited: IsAwaited) -> dict[str, PollOutcome]:
        return await poll_many(
            group.task_uuids, transport=transport, fallback=fallback, config=bounded, trust=trust
        )

    return SharedRequests(carry, max_tasks=config.poll_group_size)


async def submit(
    group: TaskGroup, transport: Transport, config: SDKConfig, is_awaited: IsAwaited | None = None
) -> dict[str, SubmitOutcome]:
    """Submit tasks of async delivery; those that a refusal does not name are sent again without the others.

    What stands in one task must not end its neighbours. Every task keeps its UUID, so one that was taken
    after all answers the second try with a conflict, and counts as accepted. What nobody waits for any more
    when the line is there is not sent (`is_awaited`, by UUID; None for all are awaited).
    """
    timeout_s = config.timeout / 1_000
    reply = await transport.exchange(
        Exchange(
            group=group,
            kind=Kind.SUBMIT,
            timeout_s=min(timeout_s, _ACK_S) if config.transport == "websocket" else timeout_s,
            connect_s=timeout_s,
            is_awaited=is_awaited,
        )
    )
    outcomes = submit_outcomes(group.task_uuids, reply)
    for part in _to_ask_again(group, reply):
        for task_uuid, outcome in (await submit(part, transport, config, is_awaited)).items():
            outcomes[task_uuid] = Accepted() if isinstance(outcome, Conflict) else outcome
    return outcomes


def _to_ask_again(group: TaskGroup, reply: Reply) -> tuple[TaskGroup, ...]:
    """Give what an error without a name may have hit by mistake; a task alone is always meant itself."""
    if len(group.tasks) == 1:
        return ()
    if refuses_request(reply):
        return group.halves()
    if reply.by_task and reply.unscoped:
        return tuple(TaskGroup((task,)) for task in group.tasks if task.task_uuid not in reply.by_task)
    return ()
