"""A WebSocket session without the socket: frames and instants in, effects out.

One of the two modules that know the platform's envelope (the other is `envelope`). Pure: it reads
no clock and opens nothing, so every order of frames, drops and timeouts can be tried in a test.
It never asks for a frame to be sent twice; what may be repeated is decided by `runs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import orjson

from runware_jobs.client.error_codes import (
    AUTH_TIMEOUT,
    CONNECTION_LOST,
    RECONNECTION_FAILED,
    REQUEST_TIMEOUT,
    ErrorCode,
)
from runware_jobs.client.errors import RunwareError, create_runware_error, raw_code_of

from .envelope import Item, Reply, Scoped, read_envelope
from .exchange import Exchange, Kind
from .routing import accepts_error, accepts_item, has_answer
from .ws_pending import NEVER, Pending, PendingExchanges

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

    error: RunwareError


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
    about: str | None = None  # a task UUID, or the raw code of an error


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
    # Also how long the other results of a pushed task are waited for after one of them failed.
    submit_settle_s: float = 5.0
    resume_s: float = 10.0


class SocketSession:
    """One logical connection over any number of sockets. Instants are seconds of one monotonic clock."""

    def __init__(self, api_key: str, times: SessionTimes | None = None) -> None:
        self.state = SessionState.DOWN
        self.session_uuid: str | None = None
        self._api_key = api_key
        self._times = times or SessionTimes()
        self._pending = PendingExchanges()
        self._auth_ends_at = NEVER
        self._ping_at = NEVER
        self._pinged_at: float | None = None
        self._sent_session_uuid = False

    def is_usable(self, now_s: float) -> bool:
        """Whether a request may be written now: authenticated, and no answer to a ping is overdue.

        An overdue answer means that the line may be half open; what is written there may never arrive.
        """
        return self.state is SessionState.UP and now_s < self._pong_ends_at

    # ---- what the shell reports -------------------------------------------------------------

    def opened(self, now_s: float) -> list[Effect]:
        """A socket is open: authenticate, resuming the former session when there was one."""
        self.state = SessionState.AUTHENTICATING
        self._auth_ends_at = now_s + self._times.auth_s
        self._pinged_at = None
        return [self._auth_frame()]

    def lost(self, *, is_final: bool = False) -> list[Effect]:
        """The socket is gone: what was written and not answered has no answer. With `is_final` no other follows.

        Pushed results (sync delivery) may be replayed to a resumed session (PROTOCOL 2.2), so those
        exchanges stay for a while; all others end here.
        """
        if self.state is SessionState.AUTHENTICATING and self._sent_session_uuid:
            # The resume got no answer but the end of the line: another try with it could go on like this for ever.
            self.session_uuid = None
        if self.state is not SessionState.REJECTED:
            self.state = SessionState.DOWN
        self._auth_ends_at = self._ping_at = NEVER
        self._pinged_at = None
        effects: list[Effect] = []
        for pending in self._pending:
            if pending.exchange.kind is Kind.PUSH and self.session_uuid is not None and not is_final:
                pending.expect_replay()
                continue
            raw_code = RECONNECTION_FAILED if is_final else CONNECTION_LOST
            message = "No answer: the WebSocket connection was lost."
            effects.append(self._fail(pending, _lost_error(pending.exchange, message, raw_code)))
        return effects

    def begin(self, exchange: Exchange) -> tuple[int, str]:
        """Register an exchange and give its ticket and frame. Call it immediately before the write."""
        return self._pending.add(exchange).ticket, exchange.group.body().decode()

    def give_up(self, ticket: int) -> Reply | None:
        """End an exchange whose time is over; what has arrived is kept. None when it has ended already."""
        pending = self._pending.get(ticket)
        if pending is None:
            return None
        error = create_runware_error(REQUEST_TIMEOUT, "The platform did not answer within the time limit.")
        return self._fail(pending, error).reply

    def abandon(self, error: RunwareError) -> list[Effect]:
        """End every exchange: the client closes, or there will be no connection any more."""
        return [self._fail(pending, error) for pending in self._pending]

    def receive(self, frame: str | bytes, now_s: float) -> list[Effect]:
        """Take one frame of the server."""
        self._pinged_at = None  # any frame proves that the line is alive, not only a pong
        reply = read_envelope(frame)
        if not reply.is_readable:
            return [Stray("unreadable_frame")]
        effects: list[Effect] = []
        touched: dict[int, Pending] = {}
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
            return [_drop(AUTH_TIMEOUT, "The authentication on the WebSocket was not answered in time.")]
        effects: list[Effect] = []
        if self.state is SessionState.UP:
            if now_s >= self._pong_ends_at:
                return [_drop(CONNECTION_LOST, "The WebSocket is half open: nothing came back after a ping.")]
            if now_s >= self._ping_at:
                self._ping_at = now_s + self._times.heartbeat_s
                self._pinged_at = now_s if self._pinged_at is None else self._pinged_at
                effects.append(Send(PING_FRAME))
        while (pending := self._pending.next_due()) is not None and now_s >= pending.due_at:
            if pending.settles_at is not None and now_s >= pending.settles_at:
                effects.append(self._finish(pending))
            else:
                message = "The result was not replayed after a reconnect."
                effects.append(self._fail(pending, _lost_error(pending.exchange, message)))
        return effects

    def due_at(self) -> float:
        """The instant of the next `tick` that has something to do; infinite when there is none."""
        pending = self._pending.next_due()
        return min(
            self._auth_ends_at,
            self._ping_at,
            self._pong_ends_at,
            NEVER if pending is None else pending.due_at,
        )

    @property
    def _pong_ends_at(self) -> float:
        return NEVER if self._pinged_at is None else self._pinged_at + self._times.pong_s

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
        self._auth_ends_at = NEVER
        self._ping_at = now_s + self._times.heartbeat_s
        for pending in self._pending:
            self._pending.put_off(pending, ends_at=now_s + self._times.resume_s)
        return [BecameUp()]

    def _not_authenticated(self, error: RunwareError) -> list[Effect]:
        if self._sent_session_uuid and "ApiKey" not in raw_code_of(error):
            # What an expired session answers is not documented: try once more as a new one before judging the key.
            self.session_uuid = None
            return [self._auth_frame()]
        if error.code is ErrorCode.AUTH:
            self.state = SessionState.REJECTED
            return [Rejected(error.changed(task_uuid=None))]
        return [Drop(error)]

    # ---- routing ----------------------------------------------------------------------------

    def _item(self, task_uuid: str, item: Item, touched: dict[int, Pending]) -> list[Effect]:
        takers = [
            pending
            for pending, task_type in self._pending.about(task_uuid)
            if accepts_item(pending.exchange.kind, task_type, item)
        ]
        if not takers:
            return [Stray("item_of_no_request", task_uuid)]
        # An ACK carries no status and a poll's answer does: that tells them apart under one UUID.
        pending = _first(takers, wants_poll="status" in item)
        if pending.is_known(item):
            return []
        pending.add(task_uuid, Scoped(items=(item,)))
        touched[pending.ticket] = pending
        if pending.exchange.on_item is None:
            return []
        return [Arrived(pending.ticket, item)]

    def _error(
        self, task_uuid: str, error: RunwareError, entry: Item, touched: dict[int, Pending]
    ) -> list[Effect]:
        if self.state is SessionState.AUTHENTICATING and error.task_type == "authentication":
            return self._not_authenticated(error)
        takers = [
            pending
            for pending, task_type in self._pending.about(task_uuid)
            if accepts_error(pending.exchange.kind, task_type, error)
        ]
        if not takers:
            return [Stray("error_of_no_request", raw_code_of(error))]
        pending = _first(takers, wants_poll=entry.get("status") == "error")
        pending.add(task_uuid, Scoped(errors=(error,), error_items=(entry,)))
        touched[pending.ticket] = pending
        return []

    def _loose_item(self, item: Item, now_s: float, touched: dict[int, Pending]) -> list[Effect]:
        task_type = item.get("taskType")
        if task_type == "authentication":
            return self._authenticated(item, now_s) if self.state is SessionState.AUTHENTICATING else []
        takers = [
            p
            for p in self._pending
            if p.exchange.kind is Kind.UTILITY and p.exchange.group.tasks[0].task_type == task_type
        ]
        # One pong answers every ping that waits; another item without a UUID belongs to the oldest of its type.
        for pending in takers if task_type == "ping" else takers[:1]:
            pending.loose_items.append(item)
            touched[pending.ticket] = pending
        return [] if takers or task_type == "ping" else [Stray("item_of_no_request", str(task_type))]

    def _unscoped(self, error: RunwareError, touched: dict[int, Pending]) -> list[Effect]:
        """Find the one exchange that an error without a task UUID can mean; with a doubt it means none.

        Missing credits, a key or a full queue leave a task as it was, to be sent again under its own
        UUID: there the oldest unanswered request may be taken, and a wrong guess ends in a conflict.
        """
        if self.state is SessionState.AUTHENTICATING and (
            error.task_type in {None, "authentication"} or error.code is ErrorCode.AUTH
        ):
            return self._not_authenticated(error)
        takers = [p for p in self._pending if not p.is_answered]
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
        return [Stray("error_without_task", raw_code_of(error))]

    def _empty(self) -> list[Effect]:
        """`{"data": []}` names nobody: it can only be understood while one request waits."""
        can_be_empty = {Kind.POLL, Kind.SUBMIT, Kind.UTILITY}
        waiting = [p for p in self._pending if p.exchange.kind in can_be_empty]
        if len(waiting) != 1:
            return [Stray("empty_answer")]
        waiting[0].is_answered = True
        return [self._finish(waiting[0])]

    # ---- ends -------------------------------------------------------------------------------

    def _settle(self, touched: Iterable[Pending], now_s: float) -> list[Effect]:
        effects: list[Effect] = []
        for pending in touched:
            pending.is_answered = True
            if has_answer(pending.exchange, pending.reply()):
                effects.append(self._finish(pending))
            elif pending.exchange.kind is Kind.POLL:
                self._pending.put_off(pending, settles_at=now_s + self._times.poll_settle_s)
            elif pending.exchange.kind is Kind.SUBMIT or pending.has_failures():
                self._pending.put_off(pending, settles_at=now_s + self._times.submit_settle_s)
        return effects

    def _finish(self, pending: Pending) -> Finished:
        self._pending.forget(pending)
        return Finished(pending.ticket, pending.reply())

    def _fail(self, pending: Pending, error: RunwareError) -> Finished:
        self._pending.forget(pending)
        return Finished(pending.ticket, pending.reply(error))


def _first(takers: list[Pending], *, wants_poll: bool) -> Pending:
    """Give the oldest one of the kind that is meant, or else the oldest."""
    return min(takers, key=lambda p: ((p.exchange.kind is Kind.POLL) != wants_poll, p.ticket))


def _drop(raw_code: str, message: str) -> Drop:
    return Drop(create_runware_error(raw_code, message))


def _lost_error(exchange: Exchange, message: str, raw_code: str = CONNECTION_LOST) -> RunwareError:
    """Tell of an answer that was lost. What may be running without a way to ask for it must not be tried blindly."""
    error = create_runware_error(raw_code, message)
    return error.changed(retryable=False) if exchange.kind in {Kind.PUSH, Kind.PHASES} else error
