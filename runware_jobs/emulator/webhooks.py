"""The platform's callbacks: one POST per finished item, tried again until the receiver says 2xx."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from .wording import worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .faults.judging import Struck
    from .protocol import Platform
    from .tasks import Task

_FIRST_RETRY_S = 0.25
_LONGEST_RETRY_S = 8.0
_AT_ONCE = 100


@dataclass(slots=True)
class _Callback:
    url: str
    body: bytes
    attempt: int = 0


class Webhooks:
    """Watches tasks with a `webhookURL` and calls it for each item that finishes."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._random = Random(platform.config.seed)  # noqa: S311  # jitter, not secrecy
        self._client: httpx.AsyncClient | None = None
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._held: list[_Callback] = []

    def watch(self, task: Task) -> None:
        """Call the task's webhook as its items finish; does nothing for a task without one."""
        if task.webhook_url is not None:
            task.listeners.append(self._announce)

    async def attempted(self) -> None:
        """Return when every callback that is being made now was made once."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop calling; what was not delivered is lost, as in a crash of the real sender."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _announce(self, task: Task, fresh: Sequence[int]) -> None:
        platform = self._platform
        for index in fresh:
            callback = _Callback(str(task.webhook_url), orjson.dumps(self._body(task, index)))
            faults = platform.faults.judge_event("webhook", platform.clock.now_s(), task=task)
            self._make(callback, faults)

    def _make(self, callback: _Callback, faults: Mapping[str, Struck]) -> None:
        """Make a callback, as often and as late as the faults have it."""
        if "webhook_lose" in faults:
            return
        if "webhook_hold" in faults:
            self._hold(callback, faults["webhook_hold"].values["seconds"])
            return
        times = faults["webhook_duplicate"].values["times"] if "webhook_duplicate" in faults else 1
        for _ in range(times):
            self._start(_Callback(callback.url, callback.body), releases=self._held)
        self._held = []

    def _hold(self, callback: _Callback, seconds: float) -> None:
        """Keep a callback back until the next one was made, or for so long."""

        def let_go(callback: _Callback) -> None:
            if callback in self._held:
                self._held.remove(callback)
                self._start(callback)

        self._held.append(callback)
        self._platform.schedule.call_at(self._platform.clock.now_s() + seconds, let_go, callback)

    def _body(self, task: Task, index: int) -> dict[str, Any]:
        switches = self._platform.switches
        if task.failure is not None and task.failure.hits(index):
            return self._failure(task)
        item = worded(self._platform.results.item(task, index), task, switches)
        item = {**item, "status": item.get("status", "success")}
        return {"data": [item]} if switches.webhook_body == "wrapped" else item

    def _failure(self, task: Task) -> dict[str, Any]:
        """The body of a failed item, which the platform does not document."""
        results = self._platform.results
        match self._platform.switches.webhook_failure:
            case "flat":
                entry = {**results.failure_entry(task), "status": "error"}
                return {"data": [entry]} if self._platform.switches.webhook_body == "wrapped" else entry
            case "errors":
                return {"errors": [results.failure_entry(task)]}
            case "item":
                failed = results.failed_item(task)
                return {"data": [failed]} if self._platform.switches.webhook_body == "wrapped" else failed

    def _start(self, callback: _Callback, *, releases: Sequence[_Callback] = ()) -> None:
        """Make a callback now, and the held ones it releases after it."""
        running = asyncio.get_running_loop().create_task(self._deliver(callback, releases))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _deliver(self, callback: _Callback, releases: Sequence[_Callback] = ()) -> None:
        callback.attempt += 1
        delivered = await self._post(callback)
        for held in releases:
            self._start(held)
        switches = self._platform.switches
        if delivered or callback.attempt >= switches.webhook_attempts:
            return
        pause_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** (callback.attempt - 1))
        at_s = self._platform.clock.now_s() + pause_s * self._random.uniform(1, 1.25)
        self._platform.schedule.call_at(at_s, self._start, callback)

    async def _post(self, callback: _Callback) -> bool:
        """Whether the receiver took it."""
        if self._client is None:
            # The platform calls whatever address it is given; the environment's proxies are not its own.
            self._client = httpx.AsyncClient(trust_env=False, timeout=None)  # noqa: S113  # one deadline for all of it, below
        headers = {"Content-Type": "application/json", "User-Agent": "Runware-Emulator"}
        switches = self._platform.switches
        try:
            async with self._limit, asyncio.timeout(switches.webhook_deadline_s):
                response = await self._client.post(
                    callback.url,
                    content=callback.body,
                    headers=headers,
                    follow_redirects=switches.webhook_redirects,
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return False
        return response.is_success
