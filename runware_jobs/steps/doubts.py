"""Doubts: what this process was told of its account itself, until somebody has looked into it.

Nothing is concluded here: `accounts` asks the platform. Meanwhile, and for a while after
a doubt that was not confirmed, `submit` waits.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runware_jobs.client import Accepted, Blocked, Conflict, NoAnswer, NotSent
from runware_jobs.client.account_errors import speaks_of_account
from runware_jobs.core.standing import Doubt, PauseKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runware_jobs.client import PollOutcome, RunwareError, SubmitOutcome

_HOLD_FLOOR_S: Final = 1.0
_HOLD_CAP_S: Final = 30.0


@dataclass(slots=True)
class Doubts:
    """The doubts of one process. `due` is set when there is one to look into; `clock` gives seconds that only grow."""

    due: asyncio.Event = field(default_factory=asyncio.Event)
    clock: Callable[[], float] = time.monotonic
    _open: Doubt | None = None
    _unconfirmed: int = 0
    _hold_until: float = 0.0
    _quiet_until: float = 0.0

    def hear(self, outcomes: Iterable[SubmitOutcome | PollOutcome]) -> None:
        """Note what the outcomes of one request say of the account itself, if anything."""
        heard = list(outcomes)
        some_accepted = any(isinstance(outcome, Accepted | Conflict) for outcome in heard)
        if some_accepted:
            self._forget()
        refusal = next((error for outcome in heard if (error := _refusal(outcome)) is not None), None)
        if refusal is not None and self._open is None and self.clock() >= self._quiet_until:
            kind = PauseKind.AUTH if refusal.code == "auth" else PauseKind.CREDITS
            self._open = Doubt(kind=kind, message=refusal.message[:500], some_accepted=some_accepted)
            self.due.set()

    @property
    def holds_for_s(self) -> float:
        """Seconds for which nothing should be sent, as far as is known now; 0: go on."""
        return _HOLD_FLOOR_S if self._open is not None else max(0.0, self._hold_until - self.clock())

    def take(self) -> Doubt | None:
        """Give what is to be looked into; it stays open until `close`."""
        self.due.clear()
        return self._open

    def close(self, *, was_confirmed: bool) -> None:
        """Say that the doubt was looked into. Unconfirmed, sending and asking wait, longer each time."""
        doubt, self._open = self._open, None
        if was_confirmed or doubt is None:
            self._forget()
            return
        self._unconfirmed += 1
        wait_s = min(_HOLD_FLOOR_S * 2.0 ** min(self._unconfirmed - 1, 10), _HOLD_CAP_S)
        self._quiet_until = self.clock() + wait_s
        # One job that costs too much must not hold up those that were taken beside it.
        self._hold_until = 0.0 if doubt.some_accepted else self._quiet_until

    def _forget(self) -> None:
        self._unconfirmed = 0
        self._hold_until = 0.0


def _refusal(outcome: SubmitOutcome | PollOutcome) -> RunwareError | None:
    match outcome:
        case Blocked(error=error):
            return error
        # A socket whose login was refused sends nothing, and says so this way.
        case NotSent(error=error) | NoAnswer(error=error) if speaks_of_account(error):
            return error
        case _:
            return None
