"""Many jobs at once: the next are checked while the server writes those before them.

Checking is this process's work, inserting is the server's: one after the other, each
would wait for half of the time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

_T = TypeVar("_T")
_CHUNK: Final = 1_000
_WRITERS: Final = 2
"""One transaction is with the server while another is on its way there or back; more would only wait."""

_AT_ONCE: Final = 25
"""Taken in one go, a millisecond's work: then whoever else lives on this loop has a turn."""


async def write_all(rows: Iterable[_T], write: Callable[[list[_T]], Coroutine[Any, Any, None]]) -> None:
    """Write all of `rows`, as they are made, with one call of `write` for each thousand.

    What `rows` raises goes to the caller when the thousands before are written; what was
    taken of the next is not. What `write` raises stops everything: the calls under way are
    canceled, their transactions are not kept.
    """
    room = asyncio.Semaphore(_WRITERS)
    source = iter(rows)
    refused: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                chunk: list[_T] = []
                try:
                    for row in source:
                        chunk.append(row)
                        if len(chunk) == _CHUNK:
                            break
                        if not len(chunk) % _AT_ONCE:
                            await asyncio.sleep(0)
                except Exception as error:  # noqa: BLE001  raised below, when those before it are written
                    refused = error
                if not chunk or refused is not None:
                    break
                await room.acquire()
                group.create_task(write(chunk)).add_done_callback(lambda _: room.release())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    if refused is not None:
        raise refused
