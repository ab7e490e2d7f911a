"""Deliver: signed webhooks, each an event as it stands in the log.

At least once: a crash after the receiver's 2xx and before the commit repeats one
delivery under the same `webhook-id`. The outbox row is deleted when the receiver
took it, put off by the schedule of `core.delivery` when not, and kept as dead in
the end, to be redelivered by a person.

In order for one job and one URL of an endpoint: a row is claimed when the one before it is gone,
is held for longer than its sending may take, and is sent by its holder only for so
long. An event that a person has delivered again comes later than those after it.

Work goes on in turns, each one transaction: mark what has come back, claim what there
are places for. Between two turns webhooks are on their way; nobody waits for the
slowest of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from runware_jobs.client.wire.fence import SendFence
from runware_jobs.core.places import MOST_HELD, Places
from runware_jobs.store import deliveries
from runware_jobs.store.deliveries import FIRST_RECEIVER, Wanted
from runware_jobs.store.jobs import read_jobs

from .outcome import Outcome, hand_back, send
from .record import committed
from .streaks import Streaks
from .webhook_body import SHOWS_JOB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.store.deliveries import Receiver
    from runware_jobs.store.outbox import Due

    from .context import Context

_log = structlog.get_logger()

# What is longer on the way than this was lost with its deliverer. More than a minute
# beyond the last moment at which its first byte may leave.
HOLD_S: Final = 120.0
SEND_WITHIN_S: Final = 45.0
# A name is resolved and a connection opened before the first byte of a webhook leaves.
_OPENING_S: Final = 15.0
_RECEIVERS_A_TURN: Final = 64
_ROWS_A_TURN: Final = 128
_MARKS_A_TURN: Final = 512
# Time for what was sent but not answered to arrive before it is sent by somebody else.
_AFTER_BREAK_S: Final = 1.0
_SECRETS_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Held:
    """A claimed row on its way; `fence` is when it may not be sent any more."""

    due: Due
    host: str
    job: Mapping[str, Any] | None
    fence: SendFence


class Deliveries:
    """The webhooks that one process has in its hands.

    `came_back` is set when one has come back: the next turn has something to write.
    """

    def __init__(self, context: Callable[[], Context]) -> None:
        self._context = context
        self.came_back = asyncio.Event()
        self._places = Places()
        self._streaks = Streaks()
        self._waiting: dict[str, deque[_Held]] = {}
        self._on_wire: dict[asyncio.Task[Outcome], _Held] = {}
        self._finished: list[Outcome] = []
        self._after = FIRST_RECEIVER
        self._hungry: dict[str, UUID | None] = {}
        self._marks_a_turn = _MARKS_A_TURN
        vault = context().vault
        self._unseal = None if vault is None else lru_cache(maxsize=_SECRETS_KEPT)(vault.decrypt)

    @property
    def under_way(self) -> int:
        """How many rows are held: waiting for a place, on the wire, or back and not yet marked."""
        return self._places.held + len(self._finished)

    @property
    def on_wire(self) -> int:
        """How many are being sent."""
        return len(self._on_wire)

    @property
    def has_room(self) -> bool:
        """True when more can be claimed of what the last claim had to leave."""
        return any(self._places.room(host, endpoint_id) > 0 for host, endpoint_id in self._hungry.items())

    async def turn(self, *, claims: bool = True) -> bool:
        """Mark what has come back, claim what there are places for, and start it; commits.

        True: another turn may find more to claim at once. `claims` False only marks.
        Without a vault nothing can be signed, and nothing is claimed.

        Raises:
            Exception: the database refuses it. What has come back is marked later; of
                one row that cannot be marked its holder's time passes.
        """
        context = self._context()
        outcomes = self._finished[: self._marks_a_turn]
        if self._marks_a_turn == 1 and outcomes:
            claims = False  # something was refused: which of the two is to be known
        verdicts = self._streaks.judge(outcomes, random=context.random)
        holders: list[UUID] = []

        async def work(connection: AsyncConnection) -> tuple[bool, list[_Held]]:
            has_more = await verdicts.write(connection) if outcomes else False
            if not (claims or has_more) or self._unseal is None:
                return False, []
            if holders:  # a commit whose answer was lost: nobody knows what it has claimed
                await deliveries.release(connection, holders)
            holders.append(uuid4())
            return await self._claim(connection, holders[-1])

        if not outcomes and not claims:
            return False
        try:
            # Health is read and written in one transaction; the common case spares its round trips.
            has_more, rows = await committed(context.engine, work, at_once=not verdicts.is_bad)
        except Exception:
            if len(outcomes) == 1 and not claims:
                _log.error("delivery_not_marked", outbox_id=outcomes[0].mark.due.id)
                del self._finished[:1]
            self._marks_a_turn = 1
            raise
        del self._finished[: len(outcomes)]
        has_more = has_more or len(outcomes) == self._marks_a_turn
        self._marks_a_turn = _MARKS_A_TURN
        self._streaks.keep(verdicts)
        for held in rows:
            self._places.hold(held.host, held.due.endpoint_id)
            self._waiting.setdefault(held.host, deque()).append(held)
        self._give_up_the_late(verdicts.resting)
        for host in list(self._waiting):
            self._start(host)
        return has_more

    def give_back_waiting(self) -> None:
        """Give back what is not on the wire; the next turn writes it."""
        for line in self._waiting.values():
            for held in line:
                self._back(held, hand_back(held.due))
        self._waiting.clear()

    async def give_back_sent(self) -> None:
        """Break off what is on the wire, and give it back; the next turn writes it."""
        broken = list(self._on_wire.items())
        for task, _ in broken:
            task.cancel()
        await asyncio.gather(*(task for task, _ in broken), return_exceptions=True)

    async def _claim(self, connection: AsyncConnection, holder: UUID) -> tuple[bool, list[_Held]]:
        walk = await deliveries.walk_receivers(connection, after=self._after, limit=_RECEIVERS_A_TURN)
        hosts = {receiver.id: receiver.host for receiver in walk.found}
        wanted = self._rooms(walk.found)
        rows: list[Due] = []
        jobs: Mapping[UUID, Mapping[str, Any]] = {}
        fence = SendFence(time.time() + SEND_WITHIN_S)
        if wanted:
            rows = await deliveries.claim_webhooks(
                connection, wanted, holder=holder, limit=_ROWS_A_TURN, hold_s=HOLD_S
            )
            ids = {row.job_id for row in rows if row.job_id is not None and row.type in SHOWS_JOB}
            jobs = await read_jobs(connection, ids) if ids else {}
        self._after = FIRST_RECEIVER if walk.next_after is None else walk.next_after
        self._note_hunger(walk.found, wanted, rows)
        return walk.next_after is not None or len(rows) == _ROWS_A_TURN, [
            _Held(row, hosts[row.receiver], jobs.get(row.job_id) if row.job_id is not None else None, fence)
            for row in rows
            if row.receiver is not None
        ]

    def _note_hunger(self, found: list[Receiver], wanted: list[Wanted], rows: list[Due]) -> None:
        """Remember the hosts that probably have more: they got all they had room for, or had none."""
        got = Counter(row.receiver for row in rows)
        rooms = {one.receiver: one.room for one in wanted}
        self._hungry = {
            receiver.host: receiver.endpoint_id
            for receiver in found
            if got[receiver.id] >= rooms.get(receiver.id, 0) and receiver.rest_s == 0
        }

    def _rooms(self, found: list[Receiver]) -> list[Wanted]:
        """Share each host's room between the receivers there; one that has rested gets one place."""
        sharing = Counter(receiver.host for receiver in found)
        wanted = []
        for receiver in found:
            room = self._places.room(receiver.host, receiver.endpoint_id)
            if room > 0:
                share = 1 if receiver.rest_s > 0 else max(1, room // sharing[receiver.host])
                wanted.append(Wanted(receiver=receiver.id, room=share, rest_s=receiver.rest_s))
        return wanted if self._places.held < MOST_HELD else []

    def _give_up_the_late(self, resting: set[int]) -> None:
        """Give back what waited too long for a place, and what is for a receiver that rests now."""
        for host, line in self._waiting.items():
            while line and line[0].fence.left_s() <= _OPENING_S:  # the longest held is the first
                late = line.popleft()
                self._back(late, hand_back(late.due))
            if resting and any(held.due.receiver in resting for held in line):
                self._waiting[host] = deque(held for held in line if held.due.receiver not in resting)
                for held in line:
                    if held.due.receiver in resting:
                        self._back(held, hand_back(held.due))

    def _start(self, host: str) -> None:
        line = self._waiting.get(host)
        while line and self._places.start(host, line[0].due.endpoint_id):
            held = line.popleft()
            task = asyncio.ensure_future(self._send(held))
            self._on_wire[task] = held
            task.add_done_callback(self._sent)
        if not line:
            self._waiting.pop(host, None)

    async def _send(self, held: _Held) -> Outcome:
        assert self._unseal is not None  # noqa: S101  for the type checker: nothing is claimed without
        return await send(
            self._context(),
            held.due,
            held.job,
            unseal=self._unseal,
            may_send=lambda: not held.fence.has_passed(),
        )

    def _sent(self, task: asyncio.Task[Outcome]) -> None:
        held = self._on_wire.pop(task)
        outcome = hand_back(held.due, delay_s=_AFTER_BREAK_S) if task.cancelled() else task.result()
        self._places.end(
            held.host, held.due.endpoint_id, took_s=outcome.took_s, succeeded=outcome.is_answered
        )
        self._back(held, outcome)
        for host in list(self._waiting):
            self._start(host)

    def _back(self, held: _Held, outcome: Outcome) -> None:
        self._places.let_go(held.host, held.due.endpoint_id)
        self._finished.append(outcome)
        self.came_back.set()
