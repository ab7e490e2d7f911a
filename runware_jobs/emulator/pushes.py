"""Results pushed on WebSockets: which frames the items of sync tasks make as they finish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .waiting import pushed, timeout_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .protocol import Platform
    from .sessions import Session, Sessions
    from .tasks import Task


class Pusher:
    """Pushes the items of some tasks to their session, one frame each, or with `together` one for all."""

    def __init__(
        self, platform: Platform, sessions: Sessions, session: Session, together: Sequence[Task]
    ) -> None:
        self._platform = platform
        self._sessions = sessions
        self._session = session
        self._open = {task.uuid for task in together}
        self._data: list[dict[str, Any]] = []
        self._errors: list[dict[str, Any]] = []

    def watch(self, task: Task, *, gives_up: bool) -> None:
        """Push what finishes from now on; with `gives_up` a timeout instead, after the sync window."""
        platform = self._platform
        task.listeners.append(self._push)
        window_ends_at = task.accepted_at + platform.switches.sync_window_s
        if gives_up and task.ends_at > window_ends_at:
            platform.schedule.call_at(window_ends_at, self._give_up, task)
        platform.settle(task, platform.clock.now_s())

    def _push(self, task: Task, fresh: Sequence[int]) -> None:
        data, errors = pushed(self._platform, task, fresh)
        if self._open:
            self._gather(task, data, errors)
            return
        for item in data:
            self._send({"data": [item]})
        if errors:
            self._send({"errors": errors})

    def _gather(self, task: Task, data: list[dict[str, Any]], errors: list[dict[str, Any]]) -> None:
        self._data += data
        self._errors += errors
        if task.settled == len(task.finish_at):
            self._open.discard(task.uuid)
        if not self._open:
            self._send(envelope_of(self._data, self._errors))

    def _give_up(self, task: Task) -> None:
        if self._push in task.listeners:
            task.listeners.remove(self._push)
            self._send({"errors": [timeout_entry(task)]})

    def _send(self, frame: Mapping[str, Any]) -> None:
        now = self._platform.clock.now_s()
        others: list[Session] = []
        if self._platform.switches.shared_pushes:
            others = [
                one for one in self._sessions.connected(self._session.key_id) if one is not self._session
            ]
        for session in (self._session, *others):
            session.push(frame, now)


def envelope_of(data: list[dict[str, Any]], errors: list[dict[str, Any]]) -> dict[str, Any]:
    """The frame with these items; on a WebSocket `data` is left out beside errors when it is empty."""
    envelope: dict[str, Any] = {}
    if data or not errors:
        envelope["data"] = data
    if errors:
        envelope["errors"] = errors
    return envelope
