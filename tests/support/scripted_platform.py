"""One platform on either transport whose answers a test decides, task by task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runware_jobs.client import Runware

Envelope = dict[str, Any]


class ScriptedPlatform:
    """`answers()` says what comes back to each request in turn; `sent` is every task that arrived.

    The last answer stays. Items and errors get the UUID of the task they answer, and items its type,
    unless they bring their own.
    """

    def __init__(
        self, transport: str, http_platform: Any, socket_platform: Any, open_client: Any, answer_with: Any
    ) -> None:
        self.transport = transport
        self._http = http_platform
        self._socket = socket_platform
        self._open_client = open_client
        self._answer_with = answer_with
        self._queue: list[Any] = [{"data": [{}]}]
        http_platform.script = self._over_http
        socket_platform.script = self._over_socket

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Every task that arrived, in order."""
        requests = self._http.requests if self.transport == "rest" else self._socket.frames
        return [task for request in requests for task in request]

    def answers(self, *answers: Any) -> None:
        """Answer request by request: an envelope, or a function from the first task to one."""
        self._queue = list(answers)

    def client(self, **options: Any) -> Runware:
        """Open a client of this transport."""
        return self._open_client(transport=self.transport, **options)

    def _over_http(self, tasks: list[dict[str, Any]]) -> Any:
        envelope = self._next(tasks[0])
        return self._answer_with(envelope, status=envelope.pop("status", 200))

    async def _over_socket(self, connection: Any, frame: list[dict[str, Any]]) -> None:
        envelope = self._next(frame[0])
        envelope.pop("status", None)
        await connection.send(json.dumps(envelope))

    def _next(self, task: dict[str, Any]) -> Envelope:
        answer = self._queue.pop(0) if len(self._queue) > 1 else self._queue[0]
        envelope = dict(answer(task) if callable(answer) else answer)
        scope = {"taskType": task["taskType"], "taskUUID": task.get("taskUUID")}
        if "data" in envelope:
            envelope["data"] = [{**scope, **item} for item in envelope["data"]]
        if "errors" in envelope:
            envelope["errors"] = [{**scope, "message": "m", **error} for error in envelope["errors"]]
        return envelope
