"""The exchanges that wait for an answer on a socket, found by task and by instant.

Pure. What a frame means for them is for `ws_session`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from runware_jobs.client.running.results import ItemState, identity_of, item_state

from .envelope import Item, Reply, Scoped
from .exchange import Exchange, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runware_jobs.client.errors import RunwareError

NEVER = float("inf")


@dataclass(slots=True)
class Pending:
    """One exchange that waits: what has come of it, and when its time is over. Ended by `ws_session`."""

    ticket: int
    exchange: Exchange
    by_task: dict[str, Scoped] = field(default_factory=dict)
    unscoped: list[RunwareError] = field(default_factory=list)
    loose_items: list[Item] = field(default_factory=list)
    is_answered: bool = False
    settles_at: float | None = None
    ends_at: float | None = None
    # What a resumed session may deliver once more, with how often.
    replayable: Counter[bytes] = field(default_factory=Counter)

    @property
    def due_at(self) -> float:
        """The instant at which something has to be done about it; infinite when there is none."""
        return min(
            (instant for instant in (self.settles_at, self.ends_at) if instant is not None), default=NEVER
        )

    def is_known(self, item: Item) -> bool:
        """Say whether an item of a PUSH or PHASES exchange has been here already.

        One that names its medium or place is known again wherever it comes. Others (texts) may be alike
        on purpose, so those are known only when a resumed session delivers what came before the loss.
        """
        earlier = [i for scoped in self.by_task.values() for i in scoped.items]
        if self.exchange.kind is Kind.PHASES:
            return any(i.get("status") == item.get("status") for i in earlier)
        if self.exchange.kind is not Kind.PUSH or item_state(item) is ItemState.PROCESSING:
            return False
        identity = identity_of(item)
        if identity is not None:
            return any(
                identity_of(i) == identity and item_state(i) is not ItemState.PROCESSING for i in earlier
            )
        key = _bytes_of(item)
        if self.replayable[key] == 0:
            return False
        self.replayable[key] -= 1
        return True

    def expect_replay(self) -> None:
        """The line is gone: all that has arrived may come once more."""
        self.replayable = Counter(_bytes_of(i) for scoped in self.by_task.values() for i in scoped.items)

    def add(self, task_uuid: str, scoped: Scoped) -> None:
        """Take what was said of one task."""
        self.by_task[task_uuid] = self.by_task.get(task_uuid, Scoped()).plus(scoped)

    def has_failures(self) -> bool:
        """Say whether an error about one of its tasks has come."""
        return any(scoped.errors for scoped in self.by_task.values())

    def reply(self, failure: RunwareError | None = None) -> Reply:
        """Give what has come so far."""
        return Reply(
            by_task=self.by_task,
            unscoped=tuple(self.unscoped),
            loose_items=tuple(self.loose_items),
            is_readable=self.is_answered,
            failure=failure,
        )


class PendingExchanges:
    """All that waits on one connection. A frame may answer a hundred tasks while thousands wait."""

    def __init__(self) -> None:
        self._by_ticket: dict[int, Pending] = {}
        self._by_task: dict[str, dict[int, str]] = {}
        # Instants with tickets; one that is no longer its exchange's is skipped when it comes up.
        self._dues: list[tuple[float, int]] = []
        self._next_ticket = 0

    def __iter__(self) -> Iterator[Pending]:
        """Give them oldest first; they may be forgotten meanwhile."""
        return iter(list(self._by_ticket.values()))

    def get(self, ticket: int) -> Pending | None:
        """Find one by its ticket; None when it has ended."""
        return self._by_ticket.get(ticket)

    def about(self, task_uuid: str) -> list[tuple[Pending, str]]:
        """Find those with a task of this UUID, oldest first, each with the type that the task has there."""
        found = self._by_task.get(task_uuid, {})
        return [(self._by_ticket[ticket], task_type) for ticket, task_type in found.items()]

    def add(self, exchange: Exchange) -> Pending:
        """Take one more."""
        pending = Pending(self._next_ticket, exchange)
        self._next_ticket += 1
        self._by_ticket[pending.ticket] = pending
        for task in exchange.group.tasks:
            self._by_task.setdefault(task.task_uuid, {})[pending.ticket] = task.task_type
        return pending

    def forget(self, pending: Pending) -> None:
        """Let go of one that has ended."""
        del self._by_ticket[pending.ticket]
        for task in pending.exchange.group.tasks:
            tickets = self._by_task[task.task_uuid]
            tickets.pop(pending.ticket, None)
            if not tickets:
                del self._by_task[task.task_uuid]

    def put_off(
        self, pending: Pending, *, settles_at: float | None = None, ends_at: float | None = None
    ) -> None:
        """Set when it settles with what has come, or ends without; None leaves the instant as it is."""
        pending.settles_at = settles_at if settles_at is not None else pending.settles_at
        pending.ends_at = ends_at if ends_at is not None else pending.ends_at
        heapq.heappush(self._dues, (pending.due_at, pending.ticket))

    def next_due(self) -> Pending | None:
        """Find the one whose instant comes first; None when none has any."""
        while self._dues:
            instant, ticket = self._dues[0]
            pending = self._by_ticket.get(ticket)
            if pending is not None and pending.due_at == instant:
                return pending
            heapq.heappop(self._dues)
        return None


def _bytes_of(item: Item) -> bytes:
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
