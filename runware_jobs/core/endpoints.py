"""Rules of webhook endpoints: what one may ask for, when a failing one is given up, how long an old secret signs.

Pure functions of what is known; the rows are the store's, the sending is the step's.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from runware_jobs.errors import InvalidJob

from .events import EventType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

GIVEN_UP_AFTER_S: Final = 5 * 86_400.0
"""An endpoint that has failed for so long, with no success between, is disabled.

Longer than all tries of one event take (`core.delivery`), so that a receiver that is
down over a long weekend and then mended is not given up."""

OVERLAP_S: Final = 86_400.0
"""So long after a rotation the secret before it signs beside the new one (Standard Webhooks suggests a day)."""

TEST_EVENT: Final = "endpoint.test"
"""Sent to one endpoint when a person asks for it; no filter names it."""

_WILDCARD: Final = "*"
# There may be two of them a second per job: whoever wants them says so by name.
_BY_NAME_ONLY: Final = frozenset({EventType.JOB_PROGRESS})
_GROUPS: Final = tuple(dict.fromkeys(f"{event.partition('.')[0]}.{_WILDCARD}" for event in EventType))


class DisabledReason(StrEnum):
    """Why an endpoint gets nothing; `endpoint.disabled_reason` is one of these."""

    USER = "user"
    GONE = "410 Gone"
    FAILING = "failing"


def is_given_up(failing_since: datetime | None, now: datetime) -> bool:
    """Say whether an endpoint is to be disabled, told that it failed at `now`.

    `failing_since` is its first failure since the last success, None where it has none.
    """
    return failing_since is not None and now - failing_since >= timedelta(seconds=GIVEN_UP_AFTER_S)


def old_secret_ends_at(rotated_at: datetime | None, *, has_old_secret: bool) -> datetime | None:
    """Return when the secret before the last rotation stops signing; None: only one signs."""
    if rotated_at is None or not has_old_secret:
        return None
    return rotated_at + timedelta(seconds=OVERLAP_S)


def read_filter(events: Sequence[str]) -> list[str]:
    """Return the events that a filter stands for, by name, sorted; empty stays empty (the default ones).

    `job.*` stands for every event of jobs that there is now, `*` for every event at
    all, both without `job.progress`, which has to be named.

    Raises:
        InvalidJob: an entry is neither an event nor a group of them.
    """
    wanted: set[str] = set()
    for place, asked in enumerate(events):
        found = _named(asked)
        if not found:
            raise InvalidJob(
                f"event {asked!r} is none of {', '.join((*EventType, *_GROUPS, _WILDCARD))}",
                parameter=f"events[{place}]",
            )
        wanted |= found
    return sorted(wanted)


def _named(asked: str) -> set[str]:
    if asked == _WILDCARD:
        return {event.value for event in EventType if event not in _BY_NAME_ONLY}
    if asked in _GROUPS:
        group = asked.removesuffix(_WILDCARD)
        return {event for event in _named(_WILDCARD) if event.startswith(group)}
    return {event.value for event in EventType if event == asked}
