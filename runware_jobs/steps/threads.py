"""Threads for what may block: the code of users, a broker that is silent.

Not asyncio.to_thread: Python joins the threads of an executor before it exits, and one
call that hangs would keep a drained worker alive.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE: Final = 8
_MOST: Final = 32
_LIMIT_S: Final = 30.0
_IDLE_S: Final = 5.0


async def in_thread(call: Callable[..., None], *arguments: Any) -> None:
    """Run what may block in a thread that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            call(*arguments)
        except Exception as raised:  # noqa: BLE001  raised again where it is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(answer, error)

    threading.Thread(target=run, name="runware-jobs-call", daemon=True).start()
    await done


@dataclass(frozen=True, slots=True)
class Hung:
    """The call took longer than `limit_s`. It still has its thread, and may yet do what it was to do."""

    limit_s: float


@dataclass(slots=True, eq=False)
class _Work:
    call: Callable[[], None]
    loop: asyncio.AbstractEventLoop
    answered: asyncio.Future[BaseException | Hung | None]
    is_over: bool = False
    is_left: bool = False


class CallThreads:
    """Threads that are used again, for calls that are not to be trusted: each may fail, or never return.

    `at_once` run side by side. One that takes longer than `limit_s` is left alone with
    its thread and gives its place to the next; but there are never more than `most`
    threads. When that many are left alone, whoever calls waits until one returns.
    Belongs to one event loop; threads end by themselves when there is nothing to do.
    """

    def __init__(self, *, at_once: int = _AT_ONCE, most: int = _MOST, limit_s: float = _LIMIT_S) -> None:
        self._places = asyncio.Semaphore(at_once)
        self.most, self._limit_s = most, limit_s
        # So many may be left alone before their places are missed.
        self._spare = most - at_once
        self._left = 0
        self._work: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0
        self._threads = 0

    @property
    def has_place(self) -> bool:
        """Whether a call made now would begin at once."""
        return not self._places.locked()

    @property
    def is_stuck(self) -> bool:
        """Whether every thread there may be is taken by a call that hangs."""
        return self._left >= self.most

    async def call(
        self, call: Callable[[], None], *, begins: Callable[[], None] | None = None
    ) -> BaseException | Hung | None:
        """Run `call` in a thread, as soon as there is a place; give what it raised, None when it returned.

        `begins` is called, on the loop, when it has its place. Cancelled before that, it is never
        run; cancelled later, it is left alone.
        """
        await self._places.acquire()
        if begins is not None:
            begins()
        loop = asyncio.get_running_loop()
        work = _Work(call, loop, loop.create_future())
        self._begin(work)
        timer = loop.call_later(self._limit_s, self._leave, work)
        try:
            return await work.answered
        except asyncio.CancelledError:
            self._leave(work)
            raise
        finally:
            timer.cancel()

    def _begin(self, work: _Work) -> None:
        with self._lock:
            self._busy += 1
            is_short = self._busy > self._threads
            self._threads += is_short
        self._work.put(work)
        if is_short:
            threading.Thread(target=self._run, name="runware-jobs-receiver", daemon=True).start()

    def _leave(self, work: _Work) -> None:
        """Wait for a call no longer. Its place goes to another call, while there may be more threads."""
        if work.is_over or work.is_left:
            return
        work.is_left = True
        self._left += 1
        if self._left <= self._spare:
            self._places.release()
        if not work.answered.done():
            work.answered.set_result(Hung(self._limit_s))

    def _answer(self, work: _Work, error: BaseException | None) -> None:
        work.is_over = True
        with self._lock:
            self._busy -= 1
        if not work.is_left or self._left > self._spare:
            self._places.release()
        self._left -= work.is_left
        if not work.answered.done():
            work.answered.set_result(error)

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._busy >= self._threads:
                        continue  # somebody is about to hand over work for this thread
                    self._threads -= 1
                return
            error: BaseException | None = None
            try:
                work.call()
            except BaseException as raised:  # noqa: BLE001  whatever it is, its thread is used again
                error = raised
            try:
                work.loop.call_soon_threadsafe(self._answer, work, error)
            except RuntimeError:  # the loop is closed: nobody waits
                return
            del work, error  # whatever it held is free while the thread waits
