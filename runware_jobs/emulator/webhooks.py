"""The platform's callbacks: one POST per finished item, tried again until the receiver says 2xx."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .protocol import Platform
    from .tasks import Task

_DEADLINE_S = 5.0
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

    def watch(self, task: Task) -> None:
        """Call the task's webhook as its items finish; does nothing for a task without one."""
        if task.webhook_url is not None:
            task.listeners.append(self._announce)

    async def aclose(self) -> None:
        """Stop calling; what was not delivered is lost, as in a crash of the real sender."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _announce(self, task: Task, fresh: Sequence[int]) -> None:
        for index in fresh:
            item = self._item(task, index)
            wrapped = self._platform.switches.webhook_body == "wrapped"
            body: dict[str, Any] = {"data": [item]} if wrapped else item
            self._start(_Callback(str(task.webhook_url), orjson.dumps(body)))

    def _item(self, task: Task, index: int) -> dict[str, Any]:
        if task.failure is not None and task.failure.hits(index):
            # Undocumented by the platform; integrations expect the error's fields beside the status.
            return {**self._platform.results.failure_entry(task), "status": "error"}
        return {**self._platform.results.item(task, index), "status": "success"}

    def _start(self, callback: _Callback) -> None:
        running = asyncio.get_running_loop().create_task(self._deliver(callback))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _deliver(self, callback: _Callback) -> None:
        if self._client is None:
            # The platform calls whatever address it is given; the environment's proxies are not its own.
            self._client = httpx.AsyncClient(timeout=_DEADLINE_S, trust_env=False)
        callback.attempt += 1
        headers = {"Content-Type": "application/json", "User-Agent": "Runware-Emulator"}
        try:
            async with self._limit:
                response = await self._client.post(callback.url, content=callback.body, headers=headers)
            delivered = response.is_success
        except httpx.HTTPError:
            delivered = False
        if delivered or callback.attempt >= self._platform.switches.webhook_attempts:
            return
        pause_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** (callback.attempt - 1))
        at_s = self._platform.clock.now_s() + pause_s * self._random.uniform(1, 1.25)
        self._platform.schedule.call_at(at_s, self._start, callback)
