"""WebSocket sessions: what outlives a connection, so that a client that comes back finds its results."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .accounts import Account


class Line(Protocol):
    """An open connection, as a session sees it."""

    def push(self, frame: Mapping[str, Any]) -> None:
        """Send a frame that the session wants back if it cannot leave any more."""
        ...


class Session:
    """One login. Results for a client that is gone wait here for its return."""

    def __init__(self, uuid: str, account: Account, key_id: str) -> None:
        self.uuid = uuid
        self.account = account
        self.key_id = key_id
        self.line: Line | None = None
        self.dropped_at = 0.0
        self._undelivered: deque[tuple[float, Mapping[str, Any]]] = deque()

    def push(self, frame: Mapping[str, Any], now: float) -> None:
        """Send at once, or keep for the replay window."""
        if self.line is not None:
            self.line.push(frame)
        else:
            self._undelivered.append((now, frame))

    def resume(self, line: Line, *, not_before: float) -> None:
        """Attach a connection and send it what was kept since `not_before`."""
        self.line = line
        while self._undelivered:
            kept_at, frame = self._undelivered.popleft()
            if kept_at > not_before:
                line.push(frame)

    def leave(self, line: Line, unsent: list[Mapping[str, Any]], now: float) -> None:
        """The connection is gone; `unsent` are pushes that it could not send any more."""
        if self.line is line:
            self.line = None
            self.dropped_at = now
            self._undelivered.extend((now, frame) for frame in unsent)


class Sessions:
    """All sessions by UUID."""

    def __init__(self) -> None:
        self._by_uuid: dict[str, Session] = {}

    def find(self, uuid: str, key_id: str, *, not_before: float) -> Session | None:
        """The key's session, unless its client left before that time."""
        self._forget_old(not_before)
        session = self._by_uuid.get(uuid)
        return session if session is not None and session.key_id == key_id else None

    def open(self, account: Account, key_id: str) -> Session:
        """A new session."""
        session = Session(str(uuid4()), account, key_id)
        self._by_uuid[session.uuid] = session
        return session

    def connected(self, key_id: str) -> Iterator[Session]:
        """The key's sessions that have an open connection."""
        return (one for one in list(self._by_uuid.values()) if one.key_id == key_id and one.line is not None)

    def _forget_old(self, not_before: float) -> None:
        gone = [
            uuid for uuid, one in self._by_uuid.items() if one.line is None and one.dropped_at <= not_before
        ]
        for uuid in gone:
            del self._by_uuid[uuid]
