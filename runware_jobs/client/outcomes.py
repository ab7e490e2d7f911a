"""What came back from the platform, as values: one per task of a group.

Expected answers are values, not exceptions: a caller that holds money decides by
matching on these, never by reading an error's text. `submit_many` gives one
`SubmitOutcome` per task, `poll_many` one `PollOutcome` per task UUID.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .errors import RunwareError


@dataclass(frozen=True, slots=True)
class Accepted:
    """The platform has the task: an ACK, or already its first items."""

    items: tuple[Mapping[str, Any], ...] = ()
    errors: tuple[RunwareError, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """`conflictTaskUUID`: a task of this UUID is there already (PROTOCOL 3.5)."""

    error: RunwareError


@dataclass(frozen=True, slots=True)
class Refused:
    """An error scoped to this task: it was understood and not taken."""

    error: RunwareError


@dataclass(frozen=True, slots=True)
class Busy:
    """429, or 503 with a Runware error for this task: not taken, try later."""

    error: RunwareError
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the task left this process (DNS, connect, TLS, fence passed)."""

    error: RunwareError


@dataclass(frozen=True, slots=True)
class Unclear:
    """Bytes left and no answer for this task can be relied on: it may be running."""

    error: RunwareError


@dataclass(frozen=True, slots=True)
class Blocked:
    """The account may not submit now: nothing was taken, and no task is to blame.

    A key that was not accepted (HTTP 401, or an auth error without a task) or missing credits of
    the account itself (HTTP 402, `insufficientCredits`). `error.code` is `auth` or `quota`. It is
    the account that pauses; the task stays as it was and may be sent again with its own UUID.
    """

    error: RunwareError


SubmitOutcome = Accepted | Conflict | Refused | Busy | NotSent | Unclear | Blocked


@dataclass(frozen=True, slots=True)
class Polled:
    """The cumulative state of one task, as answered to one `getResponse`.

    `items` are the platform's own dicts in its order (processing, success and
    error items alike, PROTOCOL 3.3 form B); `errors` are entries of the
    top-level `errors` scoped to this task (form A).
    """

    items: tuple[Mapping[str, Any], ...] = ()
    errors: tuple[RunwareError, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The platform answered and does not know the task (empty data, or notFound)."""

    error: RunwareError | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The question failed: this says nothing about the task. Ask again later."""

    error: RunwareError
    retry_after_s: float | None = field(default=None)


PollOutcome = Polled | Missing | NoAnswer
