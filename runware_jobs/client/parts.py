"""What the operations of the client share, opened and closed by `Runware`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .backoff import LONGEST_PAUSE_S, Asked, is_repeated, retry_delay_s
from .error_codes import ABORTED, DISCONNECTED, RECONNECTION_FAILED
from .errors import RunwareError, create_runware_error, raw_code_of
from .stopping import until_set
from .wire.grouping import GroupTrust

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import httpx

    from .config import SDKConfig
    from .log import ClientLog
    from .outcomes import PollOutcome, SubmitOutcome
    from .running.sharing import SharedRequests
    from .services.registry import Registry
    from .wire.exchange import Transport

Value = TypeVar("Value")


class Closable(Protocol):
    """What ends with the client."""

    async def aclose(self) -> None:
        """End it; calling it again does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The open parts of one client. `poll_fallback` is a transport whose answers end (REST), or None for the same.

    `streams` are those that have been read from and are not at their end.
    """

    config: SDKConfig
    session: httpx.AsyncClient
    transport: Transport
    poll_fallback: Transport | None
    registry: Registry
    log: ClientLog
    submits: SharedRequests[SubmitOutcome]
    polls: SharedRequests[PollOutcome]
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: set[Closable] = field(default_factory=set)
    poll_groups: GroupTrust = field(default_factory=GroupTrust)


async def end_all(parts: Parts) -> None:
    """End what waits, with a `connection` error, and all streams. Call it before closing the rest."""
    parts.log.write("info", "client_closes", {"streams": len(parts.streams)})
    parts.closing.set()
    for stream in list(parts.streams):
        await stream.aclose()


def is_given_up(error: RunwareError) -> bool:
    """Say whether it is the client that stopped: closed, or out of reconnect attempts."""
    return raw_code_of(error) in {DISCONNECTED, RECONNECTION_FAILED}


async def pause_before_retry(
    parts: Parts,
    error: RunwareError,
    attempt: int | None,
    *,
    asked: Asked = "question",
    may_be_taken: bool = True,
    at_least_s: float = 0.0,
) -> None:
    """Sleep before try `attempt + 1`, or raise the error when it is not to be tried again.

    None for `attempt` counts nothing: then the caller has a time limit of its own.
    """
    is_exhausted = attempt is not None and attempt >= parts.config.max_retries
    if is_exhausted or is_given_up(error) or not is_repeated(error.code, asked, may_be_taken=may_be_taken):
        raise error
    pause_s = error.retry_after_s
    if pause_s is None:
        pause_s = retry_delay_s(
            attempt or 0, base_ms=parts.config.retry_delay, strategy=parts.config.retry_strategy
        )
    if pause_s > LONGEST_PAUSE_S:
        raise error
    pause_s = max(pause_s, at_least_s)
    parts.log.write("retry", "request_again", {"code": error.code.value, "pause_ms": round(pause_s * 1_000)})
    await asyncio.sleep(pause_s)


async def unless_cancelled(
    work: Coroutine[Any, Any, Value], event: asyncio.Event | None, closing: asyncio.Event | None = None
) -> Value:
    """Await `work`, giving up when one of the events is set. The platform goes on and bills what it has accepted.

    Errors:
        RunwareError: `aborted` when `event` was set first, `connection` when `closing` was.
    """
    events = {
        given: reason for given, reason in ((event, aborted), (closing, disconnected)) if given is not None
    }
    return await until_set(work, events)


def aborted() -> RunwareError:
    """Tell that a caller's `cancel_event` was set."""
    return create_runware_error(
        ABORTED, "Cancelled by its cancel_event. A task that was already submitted goes on and is billed."
    )


def disconnected() -> RunwareError:
    """Tell that the client was closed under what it was doing."""
    return create_runware_error(
        DISCONNECTED,
        "The client was closed. A task that was already submitted goes on and is billed: "
        "ask for it with get_response().",
    )
