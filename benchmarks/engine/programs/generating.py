"""The platform's own SDK with one client per process, kept open, as its guide advises; used by every peer.

Runs in the peers' environment. Each result is noted in a file when `run()` has returned
it: the number of the task, its UUID, the time.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import runware
from runware import client as sdk

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")
_OPENS_WITHIN_S = 30.0


class Generator:
    """A client in a loop; `note` writes what became known."""

    def __init__(self) -> None:
        address = os.environ["BENCH_ADDRESS"]
        sdk.SCHEMAS_BASE_URL = f"{address}/schemas"  # a constant there, no option
        self._client = runware.Runware(
            api_key="benchmark",
            transport=os.environ["BENCH_TRANSPORT"],
            http_base_url=f"{address}/v1",
            ws_base_url=f"{address.replace('http', 'ws', 1)}/v1",
        )
        self._known = os.open(os.environ["BENCH_KNOWN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def open(self) -> None:
        """Connect, so that no task waits for that."""
        await self._client.connect()
        await self._client.account_management({"operation": "getDetails"})

    async def generate(self, number: int, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Run one task and give its results, as any program with this SDK does."""
        results = await self._client.run(task)
        os.write(self._known, f"{number} {results[0]['taskUUID']} {time.time():.6f}\n".encode())
        return results

    async def close(self) -> None:
        """Let the connection go."""
        await self._client.close()


class InThread:
    """A generator for code that is not async: its loop runs in a thread, one for all threads of the process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._generator = self._call(self._open(), _OPENS_WITHIN_S)

    def generate(self, number: int, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Run one task, from any thread."""
        return self._call(self._generator.generate(number, task), None)

    async def _open(self) -> Generator:
        generator = Generator()
        await generator.open()
        return generator

    def _call(self, work: Coroutine[Any, Any, _T], timeout_s: float | None) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)


def known_numbers() -> set[int]:
    """Name the tasks whose result was noted, also by a process that is gone."""
    path = Path(os.environ["BENCH_KNOWN"])
    lines = path.read_text().splitlines() if path.exists() else []
    return {int(line.split()[0]) for line in lines}
