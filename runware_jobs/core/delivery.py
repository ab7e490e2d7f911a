"""When a webhook is delivered again: pure functions of what is known and one random number.

The schedule is the one that Standard Webhooks recommends: a receiver that is down
for a deploy hears from us within minutes, one that is down over a weekend is not
given up. What an answer means is decided in `webhooks.sender`.

A receiver that fails again and again rests as a whole: what else is for it waits
without using up tries, and one webhook at a time finds out whether it is back.
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
# Webhooks that were due for so long at a receiver that failed all the while are given up
# like one that was tried as often as the schedule says.
STALE_AFTER_S: Final = sum(SCHEDULE_S)
# By then it is no accident of one webhook.
RESTS_AFTER: Final = 5
_FIRST_REST_S: Final = SCHEDULE_S[0]
_LONGEST_REST_S: Final = SCHEDULE_S[1]
# What one answer asks for holds up everything else for that receiver.
_LONGEST_ASKED_REST_S: Final = 3_600.0
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


def next_rest(rest_s: float) -> float:
    """Let a receiver rest for this long, that failed again after a rest of `rest_s` (0: it had none)."""
    return min(max(rest_s * 2, _FIRST_REST_S), _LONGEST_REST_S)


def wait_of_rest(rest_s: float, *, retry_after_s: float | None, random: float) -> float:
    """Wait this many seconds before a resting receiver is tried with one webhook.

    `retry_after_s` is what it asked for, None where it did not; obeyed up to an hour.
    """
    return max(rest_s, min(retry_after_s or 0.0, _LONGEST_ASKED_REST_S)) * (1 + _JITTER * random)


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
