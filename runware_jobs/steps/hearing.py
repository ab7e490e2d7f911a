"""Hear: keep the connection on which hints come, and know whether they do."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.store.listening import open_listener
from runware_jobs.store.news import send_echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.store.listening import Listener
    from runware_jobs.store.news import Hint

_log = structlog.get_logger()
_ECHO_WITHIN_S: Final = 2.0
_CHECK_EVERY_S: Final = 30.0
_AGAIN_S: Final = 0.5
_LONGEST_AGAIN_S: Final = 30.0
_DEAF_AGAIN_S: Final = 60.0
"""A pooler is there to stay, but its mode can be changed without us."""


class _Deaf(Exception):
    """What we sent to ourselves has not come."""


class Hearing:
    """Hears hints for as long as `run` runs, again and again where the connection is lost.

    `is_hearing` is True once something sent to ourselves, by another connection, has
    arrived: behind a pooler in transaction mode it never does, although LISTEN succeeds.
    `heard` is called with each hint; `changed` when `is_hearing` has become another:
    what was said meanwhile is lost, so look.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        heard: Callable[[Hint], None],
        changed: Callable[[], None],
        echo_within_s: float = _ECHO_WITHIN_S,
    ) -> None:
        self.is_hearing = False
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._heard = heard
        self._changed = changed
        self._echo_within_s = echo_within_s
        self._echo = ""
        self._echoed = asyncio.Event()
        self._has_complained = False

    async def run(self) -> None:
        """Hear until canceled; whatever is away is tried again, later each time."""
        again_s = _AGAIN_S
        while True:
            was_heard = False
            try:
                async with open_listener(self._engine) as listener:
                    reading = asyncio.create_task(self._read(listener), name="hints")
                    try:
                        await self._check(reading)
                        was_heard = True
                        self._became(hearing=True)
                        await self._check_again_and_again(reading)
                    finally:
                        reading.cancel()
                        await asyncio.gather(reading, return_exceptions=True)
            except _Deaf:
                # It was heard before: the connection is a dead one, not one of a pooler.
                again_s = _AGAIN_S if was_heard else _DEAF_AGAIN_S
                self._complain(
                    "hints_not_heard", hint="a pooler in transaction mode? jobs are polled instead"
                )
            except Exception as error:  # noqa: BLE001  whatever is away: meanwhile the tables are polled
                again_s = _AGAIN_S if was_heard else min(again_s * 2, _LONGEST_AGAIN_S)
                self._complain("hints_connection_lost", error=type(error).__name__)
            self._became(hearing=False)
            await asyncio.sleep(again_s)

    async def _read(self, listener: Listener) -> None:
        async for hint in listener.hints():
            if hint.echo is None:
                self._heard(hint)
            elif hint.echo == self._echo:
                self._echoed.set()

    async def _check_again_and_again(self, reading: asyncio.Task[None]) -> None:
        """Send ourselves something now and then; a connection can be dead without a word."""
        while True:
            await asyncio.wait({reading}, timeout=_CHECK_EVERY_S)
            await self._check(reading)

    async def _check(self, reading: asyncio.Task[None]) -> None:
        """Send something to ourselves and hear it.

        Raises:
            _Deaf: it has not come.
            Exception: the connection is lost, or the database takes no NOTIFY.
        """
        if reading.done():
            await reading
        self._echo = uuid.uuid4().hex
        self._echoed.clear()
        async with self._autocommit.connect() as connection:
            await send_echo(connection, self._echo)
        echoed = asyncio.ensure_future(self._echoed.wait())
        try:
            await asyncio.wait(
                {echoed, reading}, timeout=self._echo_within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            echoed.cancel()
        if reading.done():
            await reading
        if not self._echoed.is_set():
            raise _Deaf

    def _became(self, *, hearing: bool) -> None:
        if hearing:
            self._has_complained = False
        if hearing is not self.is_hearing:
            self.is_hearing = hearing
            self._changed()

    def _complain(self, event: str, **fields: str) -> None:
        """Log the first of many."""
        if not self._has_complained:
            _log.warning(event, **fields)
        self._has_complained = True
