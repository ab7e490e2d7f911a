"""When to try again: delays, and what a server says about them.

Pure; random comes in as an argument.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

from .error_codes import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

_CAP_MS = 30_000.0
# Which errors `run()` tries again, always under the task's own UUID and after a pause. A provider's failure is the
# end of that task: another try is a new task with a price of its own, and not for a client to decide.
IS_REPEATED: dict[ErrorCode, bool] = {
    ErrorCode.CONNECTION: True,
    ErrorCode.RATE_LIMIT: True,
    ErrorCode.SERVER_ERROR: True,
    ErrorCode.TIMEOUT: True,
    ErrorCode.ABORTED: False,
    ErrorCode.AUTH: False,
    ErrorCode.NOT_FOUND: False,
    ErrorCode.PROVIDER: False,
    ErrorCode.QUOTA: False,
    ErrorCode.SAFETY: False,
    ErrorCode.UNKNOWN: False,
    ErrorCode.VALIDATION: False,
}
# A server that asks for more than this is not obeyed to the letter: an hour is longer than any queue it could mean.
_MAX_RETRY_AFTER_S = 3_600.0


def retry_delay_s(
    attempt: int,
    *,
    base_ms: float,
    strategy: Literal["exponential", "linear"] = "exponential",
    rng: Callable[[], float] = random.random,
) -> float:
    """Seconds before try `attempt + 1` (the first failure is attempt 0): capped, then jittered downwards by up to half."""
    # 2**31 would overflow nothing, but a float power of a very large attempt does.
    grown = base_ms * (2.0 ** min(attempt, 30)) if strategy == "exponential" else base_ms * (attempt + 1)
    return min(grown, _CAP_MS) * (0.5 + 0.5 * rng()) / 1_000


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read a `Retry-After` header: seconds or an HTTP date. None when absent or unreadable; never negative."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), _MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    left_s = (date - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, left_s), _MAX_RETRY_AFTER_S)
