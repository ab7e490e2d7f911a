"""What the operations of the client share, opened and closed by `Runware`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from .backoff import IS_REPEATED, retry_delay_s
from .error_codes import ABORTED
from .errors import RunwareError, create_runware_error

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import httpx

    from .config import SDKConfig
    from .exchange import Transport
    from .log import ClientLog
    from .registry import Registry

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Parts:
    """The open parts of one client. `poll_fallback` is a transport whose answers end (REST), or None for the same."""

    config: SDKConfig
    session: httpx.AsyncClient
    transport: Transport
    poll_fallback: Transport | None
    registry: Registry
    log: ClientLog


async def pause_before_retry(parts: Parts, error: RunwareError, attempt: int) -> None:
    """Sleep before try `attempt + 1`, or raise the error when it is not to be tried again."""
    if attempt >= parts.config.max_retries or not IS_REPEATED[error.code]:
        raise error
    pause_s = error.retry_after_s
    if pause_s is None:
        pause_s = retry_delay_s(
            attempt, base_ms=parts.config.retry_delay, strategy=parts.config.retry_strategy
        )
    parts.log.write("retry", "request_again", {"code": error.code.value, "pause_ms": round(pause_s * 1_000)})
    await asyncio.sleep(pause_s)


async def unless_cancelled(work: Coroutine[Any, Any, Value], event: asyncio.Event | None) -> Value:
    """Await `work`, giving up when `event` is set. The platform goes on and bills what it has accepted.

    Errors:
        RunwareError (aborted): the event was set first.
    """
    if event is None:
        return await work
    if event.is_set():  # before anything of it could be sent
        work.close()
        raise _aborted()
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _aborted()
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _aborted() -> RunwareError:
    return create_runware_error(
        ABORTED, "Cancelled by its cancel_event. A task that was already submitted goes on and is billed."
    )
