"""When a webhook is delivered again: pure functions of what is known and one random number.

The schedule is the one that Standard Webhooks recommends: a receiver that is down
for a deploy hears from us within minutes, one that is down over a weekend is not
given up. What an answer means is decided in `webhooks.sender`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# Seconds between one attempt and the next (DESIGN 8.6).
SCHEDULE_S: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
# A receiver may slow us down, but not past the longest step of our own schedule:
# "Retry-After: 10 years" would keep a row for ever that nobody looks at.
MAX_RETRY_AFTER_S: Final = SCHEDULE_S[-1]
# Only later, never earlier: what the receiver asked for stays kept, and the
# deliveries that one outage made fail together come back apart.
_JITTER: Final = 0.1


def next_delivery(attempts_made: int, *, retry_after_s: float | None, random: float) -> float | None:
    """Wait this many seconds before the next attempt; None means there is none, it is dead.

    `attempts_made` counts those that failed; the first attempt waits for nothing.
    `retry_after_s` is what the receiver asked for, None where it did not: it can
    lengthen a step, within bounds, and never adds one. `random` is in [0, 1).
    """
    if attempts_made <= 0:
        return 0.0
    if attempts_made > len(SCHEDULE_S):
        return None
    wait = SCHEDULE_S[attempts_made - 1]
    if retry_after_s is not None:
        wait = max(wait, min(retry_after_s, MAX_RETRY_AFTER_S))
    return wait * (1 + _JITTER * random)


def read_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, None where it says nothing usable.

    Both forms of RFC 9110 are read; a date in the past gives 0, and nothing gives
    more than `MAX_RETRY_AFTER_S`.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A float holds any count of digits; an int of thousands of them is refused by Python.
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), MAX_RETRY_AFTER_S)
