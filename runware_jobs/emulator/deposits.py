"""Files put where the caller wants them: each finished item's bytes, by HTTP PUT to its `uploadEndpoint`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from .results import http_type, output_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .assets import Assets
    from .protocol import Platform
    from .tasks import Task

_MARK = b'"uploadEndpoint"'
_DEADLINE_S = 30.0
# Drawing is the slow part, and there are only so many cores.
_AT_ONCE = 4


class Deposits:
    """Watches tasks with an `uploadEndpoint` and puts each item there as it finishes."""

    def __init__(self, platform: Platform, assets: Assets) -> None:
        self._platform = platform
        self._assets = assets
        self._client: httpx.AsyncClient | None = None
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def watch(self, task: Task) -> None:
        """Put the task's files to its endpoint as they finish; does nothing for a task without one."""
        if _MARK in task.request and isinstance(task.parameters().get("uploadEndpoint"), str):
            task.listeners.append(self._start)

    async def aclose(self) -> None:
        """Stop; what has not arrived is lost, though its file can still be fetched here."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _start(self, task: Task, fresh: Sequence[int]) -> None:
        for index in fresh:
            if task.failure is not None and task.failure.hits(index):
                continue
            running = asyncio.get_running_loop().create_task(self._put(task, index))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _put(self, task: Task, index: int) -> None:
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, timeout=_DEADLINE_S)
        url = str(task.parameters()["uploadEndpoint"])
        headers = {"Content-Type": http_type(output_format(task))}
        async with self._limit:
            body = await self._assets.render_aside(task, index)
            for _ in range(self._platform.switches.upload_endpoint_attempts):
                try:
                    response = await self._client.put(url, content=body, headers=headers)
                except (httpx.HTTPError, httpx.InvalidURL):
                    continue
                if response.is_success:
                    return
