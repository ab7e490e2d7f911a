"""A WebSocket session without the socket: frames and instants in, effects out.

One of the two modules that know the platform's envelope (the other is `envelope`). Pure: it reads
no clock and opens nothing, so every order of frames, drops and timeouts can be tried in a test.
It never asks for a frame to be sent twice; what may be repeated is decided by `runs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

import orjson

from .envelope import Item, Reply, Scoped, read_envelope
from .error_codes import CONNECTION_LOST, REQUEST_TIMEOUT, ErrorCode
from .errors import RunwareError, create_runware_error, raw_code_of
from .exchange import Exchange, Kind
from .routing import accepts_error, accepts_item, has_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

PING_FRAME = '[{"taskType":"ping","ping":true}]'


class SessionState(Enum):
    """Where the session stands."""

    DOWN = auto()
    AUTHENTICATING = auto()
    UP = auto()
    REJECTED = auto()  # the key was refused: no reconnecting until somebody asks again


@dataclass(frozen=True, slots=True)
class Send:
    """Write this frame."""

    frame: str


@dataclass(frozen=True, slots=True)
class BecameUp:
    """Authenticated: requests may be written."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The key was refused."""

    error: RunwareError


@dataclass(frozen=True, slots=True)
class Drop:
    """Abandon the connection; it is dead or of no use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """An item of an exchange that goes on."""

    ticket: int
    item: Item


@dataclass(frozen=True, slots=True)
class Finished:
    """An exchange has its reply."""

    ticket: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Stray:
    """Something that belongs to no exchange; worth a log line, and nobody's failure."""

    what: str


Effect = Send | BecameUp | Rejected | Drop | Arrived | Finished | Stray


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes:
    """Seconds. The settle times are how long the rest of a partly answered group is waited for."""

    auth_s: float = 15.0
    heartbeat_s: float = 30.0
    # An answer to a ping takes milliseconds; a server that needs this long is not one to submit to.
    pong_s: float = 15.0
    poll_settle_s: float = 0.25
    # An ACK takes milliseconds. What is this late counts as unclear, which is safe, and holds up a whole group.
    submit_settle_s: float = 5.0
    resume_s: float = 10.0


@dataclass(slots=True)
class _Pending:
    ticket: int
    exchange: Exchange
    by_task: dict[str, Scoped] = field(default_factory=dict)
    unscoped: list[RunwareError] = field(default_factory=list)
    loose_items: list[Item] = field(default_factory=list)
    is_answered: bool = False
    settles_at: float | None = None
    ends_at: float | None = None

    def add(self, task_uuid: str, scoped: Scoped) -> None:
        self.by_task[task_uuid] = self.by_task.get(task_uuid, Scoped()).plus(scoped)

    def reply(self, failure: RunwareError | None = None) -> Reply:
        return Reply(
            by_task=self.by_task,
            unscoped=tuple(self.unscoped),
            loose_items=tuple(self.loose_items),
            is_readable=self.is_answered,
            failure=failure,
        )


class SocketSession:
    """One logical connection over any number of sockets. Instants are seconds of one monotonic clock."""

    def __init__(self, api_key: str, times: SessionTimes | None = None) -> None:
        self.state = SessionState.DOWN
        self.session_uuid: str | None = None
        self._api_key = api_key
        self._times = times or SessionTimes()
        self._pending: dict[int, _Pending] = {}
        # A frame may answer a hundred tasks while thousands wait: found by UUID, never by walking through all.
        self._by_task: dict[str, dict[int, str]] = {}
        self._next_ticket = 0
        self._auth_ends_at = float("inf")
        self._ping_at = float("inf")
        self._pinged_at: float | None = None
        self._sent_session_uuid = False

    # ---- what the shell reports -------------------------------------------------------------

    def opened(self, now_s: float) -> list[Effect]:
        """A socket is open: authenticate, resuming the former session when there was one."""
        self.state = SessionState.AUTHENTICATING
        self._auth_ends_at = now_s + self._times.auth_s
        self._pinged_at = None
        return [self._auth_frame()]

    def lost(self, reason: str = "the connection was lost") -> list[Effect]:
        """The socket is gone: what was written and not answered has no answer.

        Pushed results (sync delivery) may be replayed to a resumed session (PROTOCOL 2.2), so those
        exchanges stay for a while; all others end here.
        """
        if self.state is not SessionState.REJECTED:
            self.state = SessionState.DOWN
        self._auth_ends_at = self._ping_at = float("inf")
        self._pinged_at = None
        effects: list[Effect] = []
        for pending in list(self._pending.values()):
            if pending.exchange.kind is Kind.PUSH and self.session_uuid is not None:
                continue
            effects.append(
                self._fail(pending, create_runware_error(CONNECTION_LOST, f"No answer: {reason}."))
            )
        return effects

    def begin(self, exchange: Exchange) -> tuple[int, str]:
        """Register an exchange and give its ticket and frame. Call it immediately before the write."""
        ticket = self._next_ticket
        self._next_ticket += 1
        self._pending[ticket] = _Pending(ticket, exchange)
        for task in exchange.group.tasks:
            self._by_task.setdefault(task.task_uuid, {})[ticket] = task.task_type
        return ticket, exchange.group.body().decode()

    def give_up(self, ticket: int) -> Reply | None:
        """End an exchange whose time is over; what has arrived is kept. None when it has ended already."""
        pending = self._pending.get(ticket)
        if pending is None:
            return None
        error = create_runware_error(REQUEST_TIMEOUT, "The platform did not answer within the time limit.")
        return self._fail(pending, error).reply

    def abandon(self, error: RunwareError) -> list[Effect]:
        """End every exchange: the client closes, or there will be no connection any more."""
        return [self._fail(pending, error) for pending in list(self._pending.values())]

    def receive(self, frame: str | bytes, now_s: float) -> list[Effect]:
        """Take one frame of the server."""
        self._pinged_at = None  # any frame proves that the line is alive, not only a pong
        reply = read_envelope(frame)
        if not reply.is_readable:
            return [Stray("unreadable_frame")]
        effects: list[Effect] = []
        touched: dict[int, _Pending] = {}
        for item in reply.loose_items:
            effects += self._loose_item(item, now_s, touched)
        for task_uuid, scoped in reply.by_task.items():
            for item in scoped.items:
                effects += self._item(task_uuid, item, touched)
            for error, entry in zip(scoped.errors, scoped.error_items, strict=True):
                effects += self._error(task_uuid, error, entry, touched)
        for error in reply.unscoped:
            effects += self._unscoped(error, touched)
        if not (reply.loose_items or reply.by_task or reply.unscoped):
            effects += self._empty()
        effects += self._settle(touched.values(), now_s)
        return effects

    def tick(self, now_s: float) -> list[Effect]:
        """Do what is due at this instant."""
        if self.state is SessionState.AUTHENTICATING and now_s >= self._auth_ends_at:
            return [Drop("authentication was not answered")]
        effects: list[Effect] = []
        if self.state is SessionState.UP:
            if self._pinged_at is not None and now_s >= self._pinged_at + self._times.pong_s:
                return [Drop("half-open: nothing came back after a ping")]
            if now_s >= self._ping_at:
                self._ping_at = now_s + self._times.heartbeat_s
                self._pinged_at = now_s if self._pinged_at is None else self._pinged_at
                effects.append(Send(PING_FRAME))
        for pending in list(self._pending.values()):
            if pending.settles_at is not None and now_s >= pending.settles_at:
                effects.append(self._finish(pending))
            elif pending.ends_at is not None and now_s >= pending.ends_at:
                error = create_runware_error(
                    CONNECTION_LOST, "The result was not replayed after a reconnect."
                )
                effects.append(self._fail(pending, error))
        return effects

    def due_at(self) -> float:
        """The instant of the next `tick` that has something to do; infinite when there is none."""
        dues = [self._auth_ends_at, self._ping_at]
        if self._pinged_at is not None:
            dues.append(self._pinged_at + self._times.pong_s)
        for pending in self._pending.values():
            dues += [due for due in (pending.settles_at, pending.ends_at) if due is not None]
        return min(dues)

    # ---- authentication ---------------------------------------------------------------------

    def _auth_frame(self) -> Send:
        task = {"taskType": "authentication", "apiKey": self._api_key}
        self._sent_session_uuid = self.session_uuid is not None
        if self.session_uuid is not None:
            task["connectionSessionUUID"] = self.session_uuid
        return Send(orjson.dumps([task]).decode())

    def _authenticated(self, item: Item, now_s: float) -> list[Effect]:
        session_uuid = item.get("connectionSessionUUID")
        self.session_uuid = session_uuid if isinstance(session_uuid, str) else None
        self.state = SessionState.UP
        self._auth_ends_at = float("inf")
        self._ping_at = now_s + self._times.heartbeat_s
        for pending in self._pending.values():
            pending.ends_at = now_s + self._times.resume_s
        return [BecameUp()]

    def _not_authenticated(self, error: RunwareError) -> list[Effect]:
        if self._sent_session_uuid and "ApiKey" not in raw_code_of(error):
            # What an expired session answers is not documented: try once more as a new one before judging the key.
            self.session_uuid = None
            return [self._auth_frame()]
        if error.code is ErrorCode.AUTH:
            self.state = SessionState.REJECTED
            return [Rejected(error.changed(task_uuid=None))]
        return [Drop(f"authentication failed: {error.message}")]

    # ---- routing ----------------------------------------------------------------------------

    def _item(self, task_uuid: str, item: Item, touched: dict[int, _Pending]) -> list[Effect]:
        takers = [
            ticket
            for ticket, task_type in self._by_task.get(task_uuid, {}).items()
            if accepts_item(self._pending[ticket].exchange.kind, task_type, item)
        ]
        if not takers:
            return [Stray("item_of_no_request")]
        # An ACK carries no status and a poll's answer does: that tells them apart under one UUID.
        pending = self._first(takers, wants_poll="status" in item)
        pending.add(task_uuid, Scoped(items=(item,)))
        touched[pending.ticket] = pending
        if pending.exchange.on_item is None:
            return []
        return [Arrived(pending.ticket, item)]

    def _error(
        self, task_uuid: str, error: RunwareError, entry: Item, touched: dict[int, _Pending]
    ) -> list[Effect]:
        if self.state is SessionState.AUTHENTICATING and error.task_type == "authentication":
            return self._not_authenticated(error)
        takers = [
            ticket
            for ticket, task_type in self._by_task.get(task_uuid, {}).items()
            if accepts_error(self._pending[ticket].exchange.kind, task_type, error)
        ]
        if not takers:
            return [Stray("error_of_no_request")]
        pending = self._first(takers, wants_poll=entry.get("status") == "error")
        pending.add(task_uuid, Scoped(errors=(error,), error_items=(entry,)))
        touched[pending.ticket] = pending
        return []

    def _first(self, tickets: list[int], *, wants_poll: bool) -> _Pending:
        ticket = min(tickets, key=lambda t: ((self._pending[t].exchange.kind is Kind.POLL) != wants_poll, t))
        return self._pending[ticket]

    def _loose_item(self, item: Item, now_s: float, touched: dict[int, _Pending]) -> list[Effect]:
        task_type = item.get("taskType")
        if task_type == "authentication":
            return self._authenticated(item, now_s) if self.state is SessionState.AUTHENTICATING else []
        takers = [
            p
            for p in self._pending.values()
            if p.exchange.kind is Kind.UTILITY and p.exchange.group.tasks[0].task_type == task_type
        ]
        # One pong answers every ping that waits; another item without a UUID belongs to the oldest of its type.
        for pending in takers if task_type == "ping" else takers[:1]:
            pending.loose_items.append(item)
            touched[pending.ticket] = pending
        return [] if takers or task_type == "ping" else [Stray("item_of_no_request")]

    def _unscoped(self, error: RunwareError, touched: dict[int, _Pending]) -> list[Effect]:
        """Find the one exchange that an error without a task UUID can mean; with a doubt it means none.

        Missing credits, a key or a full queue leave a task as it was, to be sent again under its own
        UUID: there the oldest unanswered request may be taken, and a wrong guess ends in a conflict.
        """
        if self.state is SessionState.AUTHENTICATING and (
            error.task_type == "authentication" or error.code is ErrorCode.AUTH
        ):
            return self._not_authenticated(error)
        takers = [p for p in self._pending.values() if not p.is_answered]
        if error.task_type is not None:
            takers = [
                p for p in takers if any(t.task_type == error.task_type for t in p.exchange.group.tasks)
            ]
        if error.code is ErrorCode.QUOTA:
            takers = [p for p in takers if p.exchange.kind not in {Kind.POLL, Kind.UTILITY}]
        is_harmless = error.code in {ErrorCode.QUOTA, ErrorCode.AUTH, ErrorCode.RATE_LIMIT}
        if len(takers) == 1 or (takers and is_harmless):
            takers[0].unscoped.append(error)
            touched[takers[0].ticket] = takers[0]
            return []
        return [Stray("error_without_task")]

    def _empty(self) -> list[Effect]:
        """`{"data": []}` names nobody: it can only be understood while one request waits."""
        can_be_empty = {Kind.POLL, Kind.SUBMIT, Kind.UTILITY}
        waiting = [p for p in self._pending.values() if p.exchange.kind in can_be_empty]
        if len(waiting) != 1:
            return [Stray("empty_answer")]
        waiting[0].is_answered = True
        return [self._finish(waiting[0])]

    # ---- ends -------------------------------------------------------------------------------

    def _settle(self, touched: Iterable[_Pending], now_s: float) -> list[Effect]:
        effects: list[Effect] = []
        for pending in touched:
            pending.is_answered = True
            if has_answer(pending.exchange, pending.reply()):
                effects.append(self._finish(pending))
            elif pending.exchange.kind is Kind.POLL:
                pending.settles_at = now_s + self._times.poll_settle_s
            elif pending.exchange.kind is Kind.SUBMIT:
                pending.settles_at = now_s + self._times.submit_settle_s
        return effects

    def _finish(self, pending: _Pending) -> Finished:
        self._forget(pending)
        return Finished(pending.ticket, pending.reply())

    def _fail(self, pending: _Pending, error: RunwareError) -> Finished:
        self._forget(pending)
        return Finished(pending.ticket, pending.reply(error))

    def _forget(self, pending: _Pending) -> None:
        del self._pending[pending.ticket]
        for task in pending.exchange.group.tasks:
            tickets = self._by_task[task.task_uuid]
            tickets.pop(pending.ticket, None)
            if not tickets:
                del self._by_task[task.task_uuid]
