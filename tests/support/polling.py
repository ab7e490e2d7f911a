"""Wait for what another process does without telling us: look again until a deadline."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

PATIENCE_S = 30.0
"""When to give up on a slow machine; never a time that a passing test takes."""

_AGAIN_S = 0.02


def poll_until(look: Callable[[], _T | None], *, what: str, within_s: float = PATIENCE_S) -> _T:
    """Give the first true answer of `look`.

    Raises:
        AssertionError: there was none in time; names `what`.
    """
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        if seen := look():
            return seen
        time.sleep(_AGAIN_S)
    raise AssertionError(f"not within {within_s:g} s: {what}")


async def poll_until_async(
    look: Callable[[], Awaitable[_T | None]], *, what: str, within_s: float = PATIENCE_S
) -> _T:
    """Give the first true answer of an async `look`; see `poll_until`."""
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        if seen := await look():
            return seen
        await asyncio.sleep(_AGAIN_S)
    raise AssertionError(f"not within {within_s:g} s: {what}")
