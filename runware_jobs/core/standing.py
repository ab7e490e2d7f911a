"""How our account stands with the platform, and when that pauses or resumes it.

Pure. A refused send or poll is a suspicion, never a verdict: a read-only question is
asked first. PROTOCOL 1.5 parts 401 (no valid key) from 403 (a key that lacks a
permission): a key that may not read its account is a good key that says nothing of
the balance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal


class PauseKind(StrEnum):
    """Who paused an account: a person, or the platform for one of two reasons."""

    HAND = "hand"
    CREDITS = "credits"
    AUTH = "auth"


class Lift(StrEnum):
    """What a look at a paused account means."""

    STAY = "stay"
    RESUME = "resume"
    # The reason may be gone, and only sending can tell: the next refusal pauses for longer.
    TRY = "try"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What made us ask: the account's own refusal. `some_accepted` of the same request."""

    kind: PauseKind
    message: str
    some_accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the platform said when asked.

    `key_accepted` None: it did not answer. `balance_usd` None: this key may not read it.
    """

    key_accepted: bool | None
    balance_usd: Decimal | None = None


def confirmed(doubt: Doubt, standing: Standing) -> PauseKind | None:
    """Say what the account is paused for; None: it is not, the jobs are tried again later."""
    if standing.key_accepted is None:
        return None
    if not standing.key_accepted:
        return PauseKind.AUTH
    if doubt.kind is not PauseKind.CREDITS:
        return None
    if standing.balance_usd is None:
        # Nobody contradicts the platform's own 402. Where a neighbour of the same
        # request was taken, it was the one job that cost too much.
        return None if doubt.some_accepted else PauseKind.CREDITS
    # With money left it was one job that cost more than that, or what is in flight holds the rest.
    return PauseKind.CREDITS if standing.balance_usd <= 0 else None


def lifted(kind: PauseKind, standing: Standing) -> Lift:
    """Say whether the reason of an automatic pause is gone."""
    if not standing.key_accepted or kind is PauseKind.HAND:
        return Lift.STAY
    if kind is PauseKind.AUTH:
        return Lift.RESUME
    if standing.balance_usd is None:
        return Lift.TRY
    return Lift.RESUME if standing.balance_usd > 0 else Lift.STAY
