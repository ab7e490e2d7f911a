"""What one model lets through: feedback from the platform, decided as numbers.

Two stories in one value. *Room*: a refusal for lack of room (429, 503) cuts what may be
in flight, each success raises it a little, until the limit binds nobody and is
forgotten. *Trouble*: errors of the provider in a row pause the model, and after a wait
that grows one job goes out to see whether it works again. Pauses by hand are not touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from .states import AttemptEnd, AttemptState, Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .moves import Move

CUT_TO: Final = 0.8
"""Of what the platform holds now: it took so many, so the room is not far below."""
CUT_EVERY_S: Final = 2.0
"""Refusals within this time tell of one shortage: one group's fifty are one cut."""
RAISE_BY: Final = 4.0
"""Places gained while as many tasks succeed as are allowed at once."""
BURST: Final = 5
"""So many errors of the provider without a success between are no accident."""
FIRST_WAIT_S: Final[dict[str, float]] = {"provider": 30.0, "busy": 1.0}
LONGEST_WAIT_S: Final[dict[str, float]] = {"provider": 900.0, "busy": 60.0}
PROBE_PATIENCE_S: Final = 900.0
"""A probe that nothing was heard of for so long is given up, and another goes out."""

_PROVIDERS: Final = frozenset({"provider", "quota"})
"""Ends that the provider behind a model is guilty of. `quota`: its credits; ours pause the account."""


class FlowState(StrEnum):
    """How a model stands. `probing`: paused, and one job is out to see whether it works."""

    OPEN = "open"
    PAUSED = "paused"
    PROBING = "probing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One model of an account as it stands after what was heard: the rows under the account's lock.

    `limit` is what may be in flight without feedback; `allowed` what feedback allows
    (None: nothing was refused of late). `by_hand`: a person paused it.
    """

    in_flight: int
    limit: int
    allowed: float | None = None
    since_cut_s: float | None = None
    state: FlowState = FlowState.OPEN
    by_hand: bool = False
    pause_reason: str | None = None
    failures: int = 0
    pauses: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What one transaction's outcomes say of a model; `wait_s` is the longest wait that was asked for."""

    successes: int = 0
    refusals: int = 0
    failures: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a flow stands from now on; every field is written. `cut`: its time is now.

    `probe_in_s` None leaves the time of the probe alone.
    """

    allowed: float | None
    state: FlowState
    pause_reason: str | None
    failures: int
    pauses: int
    cut: bool = False
    probe_in_s: float | None = None


def hear(moves: Iterable[Move]) -> dict[tuple[Lane, str], Heard]:
    """Sum up what moves say of each (lane, model); moves that say nothing are left out."""
    heard: dict[tuple[Lane, str], Heard] = {}
    for move in moves:
        said = _said(move)
        if said is not None:
            key = (move.live.lane, move.live.model)
            before = heard.get(key, Heard())
            heard[key] = Heard(
                before.successes + said.successes,
                before.refusals + said.refusals,
                before.failures + said.failures,
                max(before.wait_s, said.wait_s),
            )
    return heard


def is_ordinary(flow: Mapping[str, object], heard: Heard) -> bool:
    """Tell from a flow's row that nothing changes: open, without feedback, and only successes."""
    return (
        flow["state"] == FlowState.OPEN
        and flow["allowed"] is None
        and not flow["failures"]
        and not flow["pauses"]
        and not heard.refusals
        and not heard.failures
    )


def feed_back(flow: Flow, heard: Heard) -> Change | None:
    """Decide what a model lets through after what was heard; None: as before."""
    if flow.by_hand:
        return None
    failures = 0 if heard.successes else flow.failures + heard.failures
    change = Change(
        allowed=flow.allowed,
        state=flow.state,
        pause_reason=flow.pause_reason,
        failures=failures,
        pauses=flow.pauses,
    )
    if heard.successes:
        change = _after_success(flow, heard)
    if heard.refusals:
        change = _after_refusal(flow, heard, change)
    if change.state is not FlowState.PAUSED and not heard.successes and heard.failures:
        is_probe = flow.state is FlowState.PROBING
        if is_probe or failures >= BURST:
            change = _paused(change, "provider", heard.wait_s)
    before = (flow.allowed, flow.state, flow.failures, flow.pauses)
    after = (change.allowed, change.state, change.failures, change.pauses)
    return None if before == after and not change.cut and change.probe_in_s is None else change


def wait_before_probe(reason: str, pauses: int) -> float:
    """Give the seconds until one job may try a model, after so many pauses in a row."""
    return min(FIRST_WAIT_S[reason] * 2.0 ** min(pauses, 20), LONGEST_WAIT_S[reason])


def _said(move: Move) -> Heard | None:
    if move.attempt_to is AttemptState.PREPARED:
        return Heard(refusals=1, wait_s=move.delay_s or 0.0) if move.crowded else None
    if move.attempt_to is not AttemptState.ENDED or move.live.state is AttemptState.ENDED:
        return None
    if move.outcome is AttemptEnd.SUCCEEDED:
        return Heard(successes=1)
    if move.outcome not in {AttemptEnd.FAILED, AttemptEnd.REFUSED} or move.attempt_error is None:
        return None
    if move.attempt_error.code == "rateLimit":
        return Heard(refusals=1)
    return Heard(failures=1) if move.attempt_error.code in _PROVIDERS else None


def _after_success(flow: Flow, heard: Heard) -> Change:
    """Open a model that works, and give it a few more places; forget a limit that binds nobody."""
    allowed = flow.allowed
    if allowed is not None:
        allowed += RAISE_BY * heard.successes / allowed
        is_idle = flow.in_flight + heard.successes < allowed / 2
        if allowed >= flow.limit or (is_idle and not heard.refusals):
            allowed = None
    return Change(allowed=allowed, state=FlowState.OPEN, pause_reason=None, failures=0, pauses=0)


def _after_refusal(flow: Flow, heard: Heard, change: Change) -> Change:
    if change.state is FlowState.PAUSED:
        return change
    if change.state is FlowState.PROBING or (flow.in_flight == 0 and not heard.successes):
        # It takes nothing at all: asking with one job after the other would be asking
        # as fast as the account may.
        return _paused(_with(change, allowed=1.0), "busy", heard.wait_s)
    if flow.since_cut_s is not None and flow.since_cut_s < CUT_EVERY_S:
        return change
    held = min(flow.in_flight, flow.allowed if flow.allowed is not None else math.inf)
    return _with(change, allowed=max(1.0, held * CUT_TO), cut=True)


def _paused(change: Change, reason: str, at_least_s: float) -> Change:
    return Change(
        allowed=change.allowed,
        state=FlowState.PAUSED,
        pause_reason=reason,
        failures=change.failures,
        pauses=change.pauses + 1,
        cut=change.cut,
        probe_in_s=max(wait_before_probe(reason, change.pauses), at_least_s),
    )


def _with(change: Change, *, allowed: float, cut: bool = False) -> Change:
    return Change(
        allowed=allowed,
        state=change.state,
        pause_reason=change.pause_reason,
        failures=change.failures,
        pauses=change.pauses,
        cut=cut,
        probe_in_s=change.probe_in_s,
    )
