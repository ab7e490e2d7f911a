"""When to ask and when to try again: pure functions of what is known and one random number.

`random` is always a number in [0, 1) handed in by the caller, so that each
schedule can be read in a table of cases.
"""

from __future__ import annotations

from dataclasses import dataclass
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
# How often a task is asked within the time in which tasks like it usually end: alone in
# its message, and among a hundred. A simulation of the targets is in the tests.
_LONE_LOOKS: Final = 4
_CROWDED_LOOKS: Final = 24
_LONE_GROWTH: Final = 0.15
_CROWDED_GROWTH: Final = 0.05
# How much longer than need be a task waits for others to fill its message.
_PATIENCE: Final = 2.0
_RETRY_CAP_S: Final = 300.0
_BUSY_FLOOR_S: Final = 0.5
_BUSY_CAP_S: Final = 60.0
_RETRY_AFTER_CAP_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Expected:
    """How long tasks of one model and size take, in seconds from acceptance.

    Half of them end within `likely_s`, 19 of 20 within `late_s`.
    """

    likely_s: float
    late_s: float

    @property
    def early_s(self) -> float:
        """Hardly any has ended before this: as far before the median as the late ones are behind it."""
        return max(0.0, self.likely_s - 1.1 * (self.late_s - self.likely_s))

    @property
    def spread_s(self) -> float:
        """Between the early and the late; never nothing, since the next may differ from all before."""
        return max(self.late_s - self.early_s, 0.1 * self.likely_s)


@dataclass(frozen=True, slots=True)
class Look:
    """When to ask about a task, in seconds from now: in a full message from `ripe_s` on, in any at `due_s`."""

    ripe_s: float
    due_s: float


def first_look(
    lane: Lane, expected: Expected | None, *, waited_s: float = 0.0, minimum_s: float, random: float
) -> Look:
    """Say when to ask first about a task that was accepted `waited_s` ago.

    Shortly before the first ones usually end. `expected` None: nothing was learned.
    """
    if expected is None or lane is Lane.TRAINING:
        start_s = FIRST_POLL_S[lane] * (0.85 + 0.15 * random)
    else:
        start_s = min(expected.early_s - 0.1 * random * expected.spread_s, 10 * MAX_POLL_S[lane])
    due_s = max(minimum_s, start_s) - waited_s
    return Look(ripe_s=max(0.0, 0.97 * due_s), due_s=max(0.0, due_s))


def next_look(
    lane: Lane,
    expected: Expected | None,
    *,
    waited_s: float,
    together: int,
    minimum_s: float,
    random: float,
) -> Look:
    """Say when to ask again about a task that was accepted `waited_s` ago and has not ended.

    A message may carry many questions. In a full one a task is asked about a fixed
    number of times while tasks like it usually end; alone it is asked seldom, and
    `together` tasks that shared the last message as much oftener, so that together they
    cost what it costs. Past that time, and where nothing was learned, the pauses grow
    with the wait. Capped per lane, jittered.
    """
    if lane is Lane.TRAINING:
        lone_s = crowded_s = MAX_POLL_S[lane]
    elif expected is None:
        lone_s, crowded_s = _LONE_GROWTH * waited_s, _CROWDED_GROWTH * waited_s
    else:
        overdue_s = max(0.0, waited_s - expected.late_s)
        lone_s = expected.spread_s / _LONE_LOOKS + _LONE_GROWTH * overdue_s
        crowded_s = expected.spread_s / _CROWDED_LOOKS + _CROWDED_GROWTH * overdue_s
    ripe_s = min(max(minimum_s, crowded_s), MAX_POLL_S[lane])
    due_s = min(max(_PATIENCE * ripe_s, lone_s / together), MAX_POLL_S[lane])
    return Look(ripe_s=ripe_s, due_s=max(ripe_s, due_s * (0.9 + 0.1 * random)))


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
