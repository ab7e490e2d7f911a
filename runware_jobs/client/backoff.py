"""When a request is tried again, and how soon: the one table, the delays, and what a server says of them.

Pure; random comes in as an argument.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal, NamedTuple

from .error_codes import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable


class Repeat(Enum):
    """How one kind of request is repeated after one class of error."""

    NEVER = auto()
    UNLESS_TAKEN = auto()  # only when nothing left this process, or the platform said that it took nothing
    AGAIN = auto()


class Retry(NamedTuple):
    """What follows an error, for each kind of request."""

    submit: Repeat  # async delivery; repeated with its own task UUID, so that a second arrival is a conflict
    push: Repeat  # sync delivery: its result may be on its way, and another try may be billed once more
    question: (
        Repeat  # getResponse, getTaskDetails, modelSearch, accountManagement, ping, catalogue and registry
    )
    change: Repeat  # uploads and deletions
    stream: Repeat  # a second stream is a second text with a price of its own


_ANOTHER_TRY = Retry(
    submit=Repeat.AGAIN,
    push=Repeat.UNLESS_TAKEN,
    question=Repeat.AGAIN,
    change=Repeat.UNLESS_TAKEN,
    stream=Repeat.NEVER,
)
_NO_OTHER_TRY = Retry(*[Repeat.NEVER] * 5)

# Each retry waits as long as `Retry-After` says, else as `retry_delay_s` does; `max_retries` and the caller's time
# bound them. A provider's failure is the end of that task: another try is a new task with a price of its own, and
# not for a client to decide.
RETRIES: dict[ErrorCode, Retry] = {
    ErrorCode.CONNECTION: _ANOTHER_TRY,
    ErrorCode.RATE_LIMIT: _ANOTHER_TRY,
    ErrorCode.SERVER_ERROR: _ANOTHER_TRY,
    ErrorCode.TIMEOUT: _ANOTHER_TRY,
    ErrorCode.ABORTED: _NO_OTHER_TRY,
    ErrorCode.AUTH: _NO_OTHER_TRY,
    ErrorCode.NOT_FOUND: _NO_OTHER_TRY,
    ErrorCode.PROVIDER: _NO_OTHER_TRY,
    ErrorCode.QUOTA: _NO_OTHER_TRY,
    ErrorCode.SAFETY: _NO_OTHER_TRY,
    ErrorCode.UNKNOWN: _NO_OTHER_TRY,
    ErrorCode.VALIDATION: _NO_OTHER_TRY,
}
Asked = Literal["submit", "push", "question", "change", "stream"]

# A submit that is repeated sooner may overtake the platform's own knowledge of the first (PROTOCOL 3.5).
RESEND_AGE_S = 1.0
# Whoever is told to wait for longer is better off with the error, which says how long.
LONGEST_PAUSE_S = 300.0
_CAP_MS = 30_000.0
_JITTER_MS = 1_000.0
# A server that asks for more than this is not obeyed to the letter: an hour is longer than any queue it could mean.
_MAX_RETRY_AFTER_S = 3_600.0


def is_repeated(code: ErrorCode, asked: Asked, *, may_be_taken: bool) -> bool:
    """Look up whether a request is tried again; `may_be_taken` says that the platform could have it already."""
    match getattr(RETRIES[code], asked):
        case Repeat.AGAIN:
            return True
        case Repeat.UNLESS_TAKEN:
            return not may_be_taken
        case _:
            return False


def retry_delay_s(
    attempt: int,
    *,
    base_ms: float,
    strategy: Literal["exponential", "linear"] = "exponential",
    rng: Callable[[], float] = random.random,
) -> float:
    """Seconds before try `attempt + 1` (the first failure is attempt 0): capped, then up to a second of jitter."""
    # 2**31 would overflow nothing, but a float power of a very large attempt does.
    grown = base_ms * (2.0 ** min(attempt, 30)) if strategy == "exponential" else base_ms * (attempt + 1)
    return (min(grown, _CAP_MS) + rng() * min(base_ms, _JITTER_MS)) / 1_000


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
