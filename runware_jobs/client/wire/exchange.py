"""One request and its answer, on whichever transport: the seam between the two.

A transport writes a request at most once. It never repeats one and never decides what an answer
means: `verdicts` decides, `runs` repeats.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from runware_jobs.client.errors import raw_code_of

from .fence import SendFence
from .grouping import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from runware_jobs.client.log import ClientLog

    from .envelope import Item, Reply


class Kind(Enum):
    """What is asked, which says what counts as its answer on a socket shared by many tasks."""

    SUBMIT = auto()  # tasks with async delivery: the first word about each is the answer
    POLL = auto()  # getResponse: cumulative state of each
    PUSH = auto()  # sync delivery: items arrive when they are done, perhaps one by one
    PHASES = auto()  # modelUpload: one item per phase until the last
    UTILITY = auto()  # everything else: answered under its own task type


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request. `timeout_s` limits the write and the answer, and with them HTTP's connecting.

    `connect_s` limits the wait for a WebSocket that is down (None: as long as `timeout_s`); the fence limits it
    in any case. With `is_held=False` it waits for the attempt to connect that is under way or next, and not for
    one after that. `expected` is how many items a PUSH ends with. `on_item` hears each item of a
    PUSH or PHASES exchange as it arrives, on a transport that can. `answer_limit_bytes` gives up an answer that
    grows beyond it. `is_awaited` says of a task by its UUID whether anybody still waits for its outcome; None for all.
    """

    group: TaskGroup
    kind: Kind
    timeout_s: float
    connect_s: float | None = None
    is_held: bool = True
    expected: int = 1
    fence: SendFence = field(default_factory=lambda: SendFence(None))
    on_item: Callable[[Item], None] | None = None
    answer_limit_bytes: int | None = None
    is_awaited: Callable[[str], bool] | None = None

    def narrowed(self) -> Exchange:
        """Leave out what nobody waits for any more: it would be billed for nothing. Ask immediately before the write."""
        if self.is_awaited is None:
            return self
        tasks = tuple(task for task in self.group.tasks if self.is_awaited(task.task_uuid))
        return replace(self, group=TaskGroup(tasks))


class Transport(Protocol):
    """What `Runware` needs of a transport."""

    @property
    def is_connected(self) -> bool:
        """Whether a request would be written without connecting first, as far as is known."""
        ...

    async def connect(self) -> None:
        """Connect now. Does nothing when connected. Raises RunwareError."""
        ...

    async def exchange(self, exchange: Exchange) -> Reply:
        """Write the request at most once and give what came back. Raises only CancelledError."""
        ...

    async def close(self) -> None:
        """Close what this transport opened; exchanges under way end as failed."""
        ...


def tell_errors(log: ClientLog, reply: Reply) -> None:
    """Log what a reply complains of: the one place where the platform's raw code can be read."""
    if not log.is_enabled:
        return
    scoped = (error for about in reply.by_task.values() for error in about.errors)
    for error in (*scoped, *reply.unscoped):
        log.write(
            "error",
            "platform_error",
            {
                "raw_code": raw_code_of(error),
                "code": error.code.value,
                "message": error.message,
                "parameter": error.parameter,
                "task_uuid": error.task_uuid,
                "status": error.status_code,
            },
        )
