"""The WebSocket at /v1: sessions, pushed results, and their replay after a dropped connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from .connections import reset
from .errors import Refusal, error_entry
from .protocol import Caller, Platform, decode_message
from .rest import status_refusal
from .waiting import pushed, timeout_entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.websockets import WebSocket

    from .accounts import Account
    from .faults import Action
    from .tasks import Task

_UNAUTHENTICATED = Refusal(
    "missingApiKey", "Authenticate first: send the authentication task with your apiKey."
)
_INVALID_KEY = Refusal(
    "invalidApiKey", "Invalid API key. Check the key in your account's settings.", "apiKey"
)
_NORMAL_CLOSE = 1000


class Session:
    """What outlives a connection: results for a client that is gone wait here for its return."""

    def __init__(self, uuid: str, account: Account) -> None:
        self.uuid = uuid
        self.account = account
        self.connection: Connection | None = None
        self.dropped_at = 0.0
        self._undelivered: deque[tuple[float, Mapping[str, Any]]] = deque()

    def push(self, frame: Mapping[str, Any], now: float) -> None:
        """Send at once, or keep for the replay window."""
        if self.connection is not None:
            self.connection.send(frame)
        else:
            self._undelivered.append((now, frame))

    def resume(self, connection: Connection, *, not_before: float) -> None:
        """Attach a connection and send it what was kept since `not_before`."""
        self.connection = connection
        while self._undelivered:
            kept_at, frame = self._undelivered.popleft()
            if kept_at >= not_before:
                connection.send(frame)


async def accept_socket(websocket: WebSocket) -> None:
    """Serve one connection until either side closes it."""
    platform: Platform = websocket.app.state.platform
    platform.schedule.start()
    await websocket.accept()
    connection = Connection(platform, websocket, websocket.app.state.sessions)
    async with asyncio.TaskGroup() as group:
        writer = group.create_task(connection.write())
        try:
            await connection.read()
        finally:
            connection.detach()
            writer.cancel()


class Connection:
    """One socket. Frames go out through one queue, in the order they were said."""

    def __init__(self, platform: Platform, websocket: WebSocket, sessions: dict[str, Session]) -> None:
        self._platform = platform
        self._websocket = websocket
        self._sessions = sessions
        self._session: Session | None = None
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._dry_run = websocket.query_params.get("dryRun") == "1"
        scheme = "https" if websocket.url.scheme == "wss" else "http"
        self._base_url = platform.config.public_url or f"{scheme}://{websocket.url.netloc}"

    def send(self, frame: Mapping[str, Any]) -> None:
        """Queue a frame for sending."""
        self._outgoing.put_nowait(orjson.dumps(frame))

    def detach(self) -> None:
        """The connection is gone: its session keeps further results."""
        if self._session is not None and self._session.connection is self:
            self._session.connection = None
            self._session.dropped_at = self._platform.clock.now_s()

    async def write(self) -> None:
        """Send queued frames until cancelled or the client is gone."""
        with contextlib.suppress(RuntimeError, OSError):
            while True:
                frame = await self._outgoing.get()
                await self._websocket.send({"type": "websocket.send", "text": frame.decode()})

    async def read(self) -> None:
        """Handle frames until the client leaves, goes silent, or a fault drops it."""
        while True:
            try:
                async with asyncio.timeout(self._platform.switches.idle_close_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                await self._websocket.close(_NORMAL_CLOSE, "idle")
                return
            if message["type"] == "websocket.disconnect":
                return
            body = message.get("text") or message.get("bytes") or b""
            if not await self._handle(body):
                return

    async def _handle(self, body: str | bytes) -> bool:
        """Handle one frame; False when the connection is to end."""
        tasks = decode_message(body)
        if isinstance(tasks, Refusal):
            self.send({"errors": [error_entry(tasks)]})
            return True
        tasks = [task for task in tasks if not self._handled_here(task)]
        if not tasks:
            return True
        if self._session is None:
            self.send({"errors": [_scoped(_UNAUTHENTICATED, task) for task in tasks]})
            return True
        return await self._handle_tasks(tasks, self._session)

    async def _handle_tasks(self, tasks: list[Mapping[str, Any]], session: Session) -> bool:
        platform = self._platform
        platform.count_message(tasks, websocket=True)
        verdict = platform.faults.judge(tasks, platform.clock.now_s())
        faults = verdict.message
        if "reset" in faults:
            platform.refuse_message(tasks)
            return await self._drop(None)
        if "status" in faults:
            platform.refuse_message(tasks)
            refusal = status_refusal(faults["status"])
            scoped = faults["status"].values["body"] in {None, "task"}
            self.send(
                {"errors": [_scoped(refusal, task) for task in tasks] if scoped else [error_entry(refusal)]}
            )
            return True
        caller = Caller(session.account, self._base_url, websocket=True, dry_run=self._dry_run)
        answer = platform.answer(tasks, caller, verdict)
        for task in answer.waiting:
            self._push_results(task, session)
        if "delay" in faults:
            await asyncio.sleep(faults["delay"].values["seconds"])
        lost = faults.get("lose_answer")
        if lost is not None:
            return await self._drop(None) if lost.values["how"] == "reset" else True
        if answer.data or answer.errors or not answer.waiting:
            self.send(_envelope(answer.data, answer.errors))
        return await self._drop(faults["drop_socket"]) if "drop_socket" in faults else True

    def _handled_here(self, task: Mapping[str, Any]) -> bool:
        """Answer authentication and ping, which concern the connection and not a task."""
        match task.get("taskType"):
            case "authentication":
                self._authenticate(task)
            case "ping":
                self.send({"data": [{"taskType": "ping", "pong": True}]})
            case _:
                return False
        return True

    def _authenticate(self, task: Mapping[str, Any]) -> None:
        platform = self._platform
        account = platform.accounts.of_key(str(task.get("apiKey") or ""))
        if account is None:
            self.send({"errors": [error_entry(_INVALID_KEY, task_type="authentication")]})
            return
        session = self._sessions.get(str(task.get("connectionSessionUUID")))
        if session is None or session.account is not account:
            _forget_old(self._sessions, platform.clock.now_s() - platform.switches.replay_s)
            # An unknown or foreign session is silently a new one.
            session = Session(str(uuid4()), account)
            self._sessions[session.uuid] = session
        self.detach()
        self._session = session
        self.send({"data": [{"taskType": "authentication", "connectionSessionUUID": session.uuid}]})
        session.resume(self, not_before=platform.clock.now_s() - platform.switches.replay_s)

    def _push_results(self, task: Task, session: Session) -> None:
        """Push the items of a sync task to its session as they finish, or a timeout after the window."""
        platform = self._platform

        def push(task: Task, fresh: Sequence[int]) -> None:
            data, errors = pushed(platform.results, task, fresh)
            for item in data:
                session.push({"data": [item]}, platform.clock.now_s())
            if errors:
                session.push(_envelope([], errors), platform.clock.now_s())

        def give_up(task: Task) -> None:
            if push in task.listeners:
                task.listeners.remove(push)
                session.push({"errors": [timeout_entry(task)]}, platform.clock.now_s())

        task.listeners.append(push)
        if task.kind.shape != "phases":
            window_ends_at = task.accepted_at + platform.switches.sync_window_s
            if task.ends_at > window_ends_at:
                platform.schedule.call_at(window_ends_at, give_up, task)
        platform.settle(task, platform.clock.now_s())

    async def _drop(self, action: Action | None) -> bool:
        """End the connection: with a close code, or without a word. Always False."""
        code = action.values["code"] if action is not None else None
        if code is not None:
            # What was said before must leave before the close frame.
            while not self._outgoing.empty():
                await self._websocket.send(
                    {"type": "websocket.send", "text": self._outgoing.get_nowait().decode()}
                )
            await self._websocket.close(code)
            return False
        with contextlib.suppress(ConnectionResetError):
            reset(self._websocket.scope)
        return False


def _forget_old(sessions: dict[str, Session], not_before: float) -> None:
    """Drop sessions whose client left before that time."""
    gone = [uuid for uuid, one in sessions.items() if one.connection is None and one.dropped_at < not_before]
    for uuid in gone:
        del sessions[uuid]


def _envelope(data: list[dict[str, Any]], errors: list[dict[str, Any]]) -> dict[str, Any]:
    envelope: dict[str, Any] = {}
    if data or not errors:
        envelope["data"] = data
    if errors:
        envelope["errors"] = errors
    return envelope


def _scoped(refusal: Refusal, task: Mapping[str, Any]) -> dict[str, Any]:
    return error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID"))
