"""The WebSocket at /v1: login, answers, pushed results, and what fault rules do to a socket."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from .errors import Refusal, error_entry
from .faults.connections import reset, stop_reading
from .faults.over_rest import padded, poison_refusal, reshaped, status_refusal
from .messages import Caller, decode_message
from .pushes import Pusher, envelope_of
from .rest import INVALID_KEY, key_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.websockets import WebSocket

    from .faults.judging import Struck, Verdict
    from .ledger import RequestRecord
    from .messages import Answer
    from .protocol import Platform
    from .sessions import Session, Sessions

_UNAUTHENTICATED = Refusal(
    "missingApiKey", "Authenticate first: send the authentication task with your apiKey."
)
_UNKNOWN_SESSION = Refusal(
    "invalidConnectionSessionUUID", "The session does not exist or has expired.", "connectionSessionUUID"
)
_TOO_MANY = Refusal("maxConnectionsExceeded", "This API key has too many open connections.", "apiKey")
_PONG = {"data": [{"taskType": "ping", "pong": True}]}


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
            connection.leave()
            writer.cancel()


@dataclass(frozen=True, slots=True)
class _End:
    """The last thing on a connection's queue: a close frame, or with None an abrupt end."""

    code: int | None


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame to be sent; `pushed` is what its session wants back if it never leaves."""

    text: str
    pushed: Mapping[str, Any] | None = None


class Connection:
    """One socket. Frames go out through one queue, in the order they were said."""

    def __init__(self, platform: Platform, websocket: WebSocket, sessions: Sessions) -> None:
        self._platform = platform
        self._websocket = websocket
        self._sessions = sessions
        self._session: Session | None = None
        self._outgoing: asyncio.Queue[_Frame | _End] = asyncio.Queue()
        self._mute_s: float | None = None
        self._dry_run = websocket.query_params.get("dryRun") == "1"
        scheme = "https" if websocket.url.scheme == "wss" else "http"
        self._base_url = platform.config.public_url or f"{scheme}://{websocket.url.netloc}"

    def send(self, frame: Any) -> None:
        """Queue a frame for sending."""
        self._outgoing.put_nowait(_Frame(orjson.dumps(frame).decode()))

    def push(self, frame: Mapping[str, Any]) -> None:
        """Queue a frame that goes back to the session if the connection ends before it left."""
        self._outgoing.put_nowait(_Frame(orjson.dumps(frame).decode(), frame))

    def leave(self) -> None:
        """The connection is gone: its session keeps what was not sent, and further results."""
        if self._session is None:
            return
        waiting = [self._outgoing.get_nowait() for _ in range(self._outgoing.qsize())]
        unsent = [one.pushed for one in waiting if isinstance(one, _Frame) and one.pushed is not None]
        self._session.leave(self, unsent, self._platform.clock.now_s())

    async def write(self) -> None:
        """Send queued frames until cancelled, told to end, or the client is gone."""
        with contextlib.suppress(RuntimeError, OSError):
            while True:
                frame = await self._outgoing.get()
                if isinstance(frame, _End):
                    await self._end(frame)
                    return
                await self._websocket.send({"type": "websocket.send", "text": frame.text})

    async def read(self) -> None:
        """Handle frames until the client leaves, goes silent, or a fault ends the connection."""
        while True:
            switches = self._platform.switches
            try:
                async with asyncio.timeout(switches.idle_close_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                await self._websocket.close(switches.idle_close_code, "idle")
                return
            if message["type"] == "websocket.disconnect":
                return
            await self._handle(message.get("text") or message.get("bytes") or b"")
            if self._mute_s is not None:
                await self._stay_mute(self._mute_s)
                return

    async def _handle(self, body: str | bytes) -> None:
        tasks = decode_message(body, self._platform.switches)
        if isinstance(tasks, Refusal):
            self.send({"errors": [error_entry(tasks)]})
            return
        tasks = [task for task in tasks if not self._handled_here(task)]
        if not tasks:
            return
        if self._session is None:
            self.send({"errors": [_scoped(_UNAUTHENTICATED, task) for task in tasks]})
            return
        platform = self._platform
        record = platform.count_message(tasks, "websocket")
        verdict = platform.faults.judge(tasks, platform.clock.now_s(), "websocket")
        if self._is_refused(tasks, verdict, record):
            return
        caller = Caller(
            self._session.account,
            self._base_url,
            self._session.key_id,
            websocket=True,
            dry_run=self._dry_run,
        )
        answer = platform.answer(tasks, caller, verdict)
        # A promise that leaves must survive a crash: see state.py.
        platform.save()
        if verdict.strikes_a_task("webhook_first"):
            platform.schedule.run_due()
            await self._websocket.app.state.webhooks.attempted()
        self._say(answer, verdict, record)
        self._await_results(answer, self._session, gathered="gather" in verdict.message)

    def _is_refused(self, tasks: list[Mapping[str, Any]], verdict: Verdict, record: RequestRecord) -> bool:
        """Whether a fault ends the message before anything is accepted."""
        platform, faults = self._platform, verdict.message
        if "reset" in faults:
            platform.refuse_message(tasks, "connectionReset")
            record.outcome = "reset before acceptance"
            self._outgoing.put_nowait(_End(None))
            return True
        if "status" in faults:
            refusal = status_refusal(faults["status"])
            is_scoped = faults["status"].values["body"] in {None, "task", "single"}
        elif "poison" in faults:
            refusal, is_scoped = poison_refusal(faults["poison"]), False
        else:
            return False
        platform.refuse_message(tasks, refusal.code)
        record.outcome = "refused"
        self.send(
            {"errors": [_scoped(refusal, task) for task in tasks] if is_scoped else [error_entry(refusal)]}
        )
        return True

    def _say(self, answer: Answer, verdict: Verdict, record: RequestRecord) -> None:
        """Send the answer, as the faults of the message leave it; then end the connection if they say so."""
        faults = verdict.message
        if "half_open" in faults:
            record.outcome = "half-open"
            self._mute_s = faults["half_open"].values["seconds"]
            return
        lost = faults.get("lose_answer")
        if lost is not None:
            record.outcome = "answer lost"
            if lost.values["how"] == "reset":
                self._outgoing.put_nowait(_End(None))
            return
        if answer.data or answer.errors or not answer.waiting:
            envelope: Any = envelope_of(answer.data, answer.errors)
            if "error_shape" in faults:
                envelope = reshaped(envelope, faults["error_shape"])
            body = orjson.dumps(envelope)
            if "pad" in faults:
                body = padded(body, faults["pad"])
            self._queue(_Frame(body.decode()), faults.get("delay"), "seconds")
        if "drop_socket" in faults:
            self._queue(_End(faults["drop_socket"].values["code"]), faults["drop_socket"], "after_s")

    def _queue(self, frame: _Frame | _End, struck: Struck | None, field: str) -> None:
        """Put a frame on the queue, later if a fault says so; the connection works on meanwhile."""
        seconds = struck.values[field] if struck is not None else 0
        if seconds:
            platform = self._platform
            platform.schedule.call_at(platform.clock.now_s() + seconds, self._outgoing.put_nowait, frame)
        else:
            self._outgoing.put_nowait(frame)

    def _handled_here(self, task: Mapping[str, Any]) -> bool:
        """Answer authentication and ping, which concern the connection and not a task."""
        match task.get("taskType"):
            case "authentication":
                self._authenticate(task)
            case "ping":
                self.send(_PONG)
            case _:
                return False
        return True

    def _authenticate(self, task: Mapping[str, Any]) -> None:
        platform = self._platform
        now, switches = platform.clock.now_s(), platform.switches
        api_key = str(task.get("apiKey") or "")
        account = platform.accounts.of_key(api_key)
        faults = platform.faults.judge_event("auth", now, transport="websocket")
        if "stray_frame" in faults:
            self.send(_PONG)
        if account is None or "reject_key" in faults:
            self.send({"errors": [error_entry(INVALID_KEY, task_type="authentication")]})
            return
        key, wanted = key_id(api_key), task.get("connectionSessionUUID")
        if (
            switches.sockets_per_key is not None
            and len(list(self._sessions.connected(key))) >= switches.sockets_per_key
        ):
            self.send({"errors": [error_entry(_TOO_MANY, task_type="authentication")]})
            return
        session = self._sessions.find(str(wanted), key, not_before=now - switches.replay_s)
        if session is None and wanted is not None and switches.unknown_session == "error":
            self.send({"errors": [error_entry(_UNKNOWN_SESSION, task_type="authentication")]})
            return
        if self._session is not None:
            self._session.leave(self, [], now)
        self._session = session or self._sessions.open(account, key)
        self.send({"data": [{"taskType": "authentication", "connectionSessionUUID": self._session.uuid}]})
        self._session.resume(self, not_before=now - switches.replay_s)

    def _await_results(self, answer: Answer, session: Session, *, gathered: bool) -> None:
        """See to it that the items of sync tasks are pushed as they finish, or all in one frame."""
        platform = self._platform
        tasks = list(answer.waiting)
        if platform.switches.async_push:
            tasks += answer.acknowledged
        if not tasks:
            return
        pusher = Pusher(platform, self._sessions, session, tasks if gathered else [])
        for task in tasks:
            pusher.watch(task, gives_up=task in answer.waiting and task.kind.shape != "phases")

    async def _end(self, end: _End) -> None:
        """Close with the code, or break the connection."""
        if end.code is not None:
            await self._websocket.close(end.code)
            return
        with contextlib.suppress(ConnectionResetError):
            reset(self._websocket.scope)

    async def _stay_mute(self, seconds: float) -> None:
        """Neither read nor write for a while, with the connection open; then break it."""
        stop_reading(self._websocket.scope)
        self.leave()
        await asyncio.sleep(seconds)
        await self._end(_End(None))


def _scoped(refusal: Refusal, task: Mapping[str, Any]) -> dict[str, Any]:
    return error_entry(refusal, task_type=task.get("taskType"), task_uuid=task.get("taskUUID"))
