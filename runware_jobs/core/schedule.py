"""When to ask and when to try again: pure functions of what is known and one random number.

`random` is always a number in [0, 1) handed in by the caller, so that each
schedule can be read in a table of cases.
"""

from __future__ import annotations

from typing import Final

from .states import Lane

FIRST_POLL_S: Final[dict[Lane, float]] = {
    # Before anything was learned: early, since a grouped poll costs next to nothing
    # and the first user of a model should not wait for a guess (PROTOCOL 3.4).
    Lane.IMAGE: 1.0,
    Lane.VIDEO: 2.0,
    Lane.AUDIO: 1.0,
    Lane.TEXT: 1.0,
    Lane.THREE_D: 2.0,
    Lane.TRAINING: 2.0,
    Lane.UPLOAD: 1.0,
}
MAX_POLL_S: Final[dict[Lane, float]] = {
    Lane.IMAGE: 5.0,
    Lane.VIDEO: 10.0,
    Lane.AUDIO: 5.0,
    Lane.TEXT: 5.0,
    Lane.THREE_D: 10.0,
    # "Poll every 5 to 10 minutes" (PROTOCOL 3.4); one minute shows progress to people
    # and costs nothing, since a hundred trainings share a request.
    Lane.TRAINING: 60.0,
    Lane.UPLOAD: 10.0,
}
_RETRY_CAP_S: Final = 300.0
_BUSY_FLOOR_S: Final = 0.5
_BUSY_CAP_S: Final = 60.0
_RETRY_AFTER_CAP_S: Final = 3600.0


def first_poll_delay(lane: Lane, expected_s: float | None, *, minimum_s: float, random: float) -> float:
    """Wait this many seconds after acceptance before the first poll.

    A little before the expected duration (`expected_s`, None while nothing was
    learned): being early costs one grouped poll, being late costs every user.
    """
    expected = FIRST_POLL_S[lane] if expected_s is None else expected_s
    return max(minimum_s, min(expected * (0.85 + 0.15 * random), 10 * MAX_POLL_S[lane]))


def next_poll_delay(lane: Lane, waited_s: float, *, minimum_s: float, random: float) -> float:
    """Wait this many seconds until the next poll of a task accepted `waited_s` ago.

    Grows with the wait (15 % of it), so that a known answer is never older than a
    fraction of what it took; capped per lane, with 20 % of jitter.
    """
    delay = min(max(minimum_s, waited_s * 0.15), MAX_POLL_S[lane])
    return delay * (0.9 + 0.2 * random)


def retry_delay(attempts: int, *, retry_after_s: float | None, random: float) -> float:
    """Wait this many seconds before attempt `attempts + 1` of a job."""
    backoff = min(2.0 ** max(attempts, 1), _RETRY_CAP_S) * (0.75 + 0.5 * random)
    if retry_after_s is None:
        return backoff
    return max(backoff, min(retry_after_s, _RETRY_AFTER_CAP_S))


def busy_delay(times: int, *, retry_after_s: float | None, random: float) -> float:
    """Wait this many seconds before sending the same attempt again; no attempt is used up.

    `times` counts how often this attempt was handed back already.
    """
    backoff = min(_BUSY_FLOOR_S * 2.0 ** min(times, 10), _BUSY_CAP_S) * (0.75 + 0.5 * random)
    if retry_after_s is None:
        return backoff
    # "Retry-After: 0" is no licence to hammer a platform that is busy.
    return min(max(retry_after_s, _BUSY_FLOOR_S), _RETRY_AFTER_CAP_S) * (1.0 + 0.1 * random)
