"""Failures in a row: which receivers rest because of them, and how their endpoints stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from runware_jobs.core.delivery import RESTS_AFTER, STALE_AFTER_S, next_rest, wait_of_rest
from runware_jobs.core.endpoints import DisabledReason
from runware_jobs.store import deliveries, endpoints
from runware_jobs.store.deliveries import Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.store.outbox import Due

    from .outcome import Outcome

_log = structlog.get_logger()
# More receivers than this do not fail at once; if they do, some begin to count anew.
_RECEIVERS_KEPT: Final = 10_000
_BURIED_AT_ONCE: Final = 1_000


@dataclass(slots=True)
class Verdicts:
    """What a turn writes because of what came back; made by `Streaks.judge`."""

    outcomes: Sequence[Outcome]
    streaks: dict[int, int] = field(default_factory=dict)
    rests: dict[int, Rest] = field(default_factory=dict)
    rested: set[int] = field(default_factory=set)
    failing: set[UUID] = field(default_factory=set)
    recovered: set[UUID] = field(default_factory=set)
    gone: set[UUID] = field(default_factory=set)

    @property
    def resting(self) -> set[int]:
        """Receivers that rest from now on."""
        return set(self.rests)

    @property
    def is_bad(self) -> bool:
        """True when somebody failed, or said that he wants no more."""
        return bool(self.failing or self.gone or self.rests)

    async def write(self, connection: AsyncConnection) -> bool:
        """Write it; safe to do twice. True: something waited behind a row that left."""
        has_more = await deliveries.settle_webhooks(connection, (one.mark for one in self.outcomes))
        if self.rests:
            await deliveries.let_rest(connection, self.rests.values())
            probes = [rest.receiver for rest in self.rests.values() if rest.is_probe and rest.wait_s > 0]
            if probes:
                buried = await deliveries.bury(
                    connection, probes, stale_s=STALE_AFTER_S, limit=_BURIED_AT_ONCE
                )
                if buried:
                    _log.error("webhooks_given_up", webhooks=buried)
        if self.rested:
            await deliveries.end_rest(connection, self.rested)
        if self.recovered:
            await endpoints.note_success(connection, self.recovered)
        for endpoint_id in sorted(self.gone):
            await endpoints.disable_endpoint(connection, endpoint_id, reason=DisabledReason.GONE)
        if self.failing:
            for endpoint_id in await endpoints.note_failure(connection, self.failing):
                _log.error("endpoint_disabled", endpoint_id=str(endpoint_id))
        return has_more


class Streaks:
    """How many webhooks in a row each receiver has failed, as far as this process has seen."""

    def __init__(self) -> None:
        self._streaks: dict[int, int] = {}

    def judge(self, outcomes: Sequence[Outcome], *, random: Callable[[], float]) -> Verdicts:
        """Conclude from outcomes, in their order; remembers nothing until `keep`."""
        verdicts = Verdicts(outcomes)
        for outcome in outcomes:
            match outcome.is_answered:
                case True:
                    _note_answer(verdicts, outcome.mark.due, is_gone=outcome.is_gone)
                case False:
                    self._note_failure(verdicts, outcome, random())
                case None:
                    _note_untried(verdicts, outcome.mark.due)
        return verdicts

    def _note_failure(self, verdicts: Verdicts, outcome: Outcome, random: float) -> None:
        due = outcome.mark.due
        if due.receiver is None or due.endpoint_id is None:
            return
        verdicts.failing.add(due.endpoint_id)
        streak = verdicts.streaks.get(due.receiver, self._streaks.get(due.receiver, 0)) + 1
        verdicts.streaks[due.receiver] = streak
        if streak < RESTS_AFTER and due.rest_s == 0 and outcome.asked_rest_s is None:
            return
        before = verdicts.rests.get(due.receiver)
        rest_s = next_rest(due.rest_s)
        wait_s = wait_of_rest(rest_s, retry_after_s=outcome.asked_rest_s, random=random)
        if before is None or wait_s > before.wait_s:
            verdicts.rests[due.receiver] = Rest(
                receiver=due.receiver, rest_s=rest_s, wait_s=wait_s, is_probe=due.rest_s > 0
            )

    def keep(self, verdicts: Verdicts) -> None:
        """Remember what was written."""
        if len(self._streaks) > _RECEIVERS_KEPT:
            self._streaks.clear()
        for receiver, streak in verdicts.streaks.items():
            if streak:
                self._streaks[receiver] = streak
            else:
                self._streaks.pop(receiver, None)
        for receiver, rest in verdicts.rests.items():
            if not rest.is_probe:
                _log.warning("receiver_rests", receiver=receiver, wait_s=round(rest.wait_s, 1))


def _note_answer(verdicts: Verdicts, due: Due, *, is_gone: bool) -> None:
    if due.receiver is None or due.endpoint_id is None:
        return
    verdicts.streaks[due.receiver] = 0
    verdicts.rests.pop(due.receiver, None)
    verdicts.failing.discard(due.endpoint_id)
    if due.rest_s > 0:
        verdicts.rested.add(due.receiver)
    if is_gone:
        verdicts.gone.add(due.endpoint_id)
    elif due.is_failing:
        verdicts.recovered.add(due.endpoint_id)


def _note_untried(verdicts: Verdicts, due: Due) -> None:
    """Open a receiver to the next try, whose one try after its rest was not made."""
    if due.receiver is not None and due.rest_s > 0:
        rest = Rest(receiver=due.receiver, rest_s=due.rest_s, wait_s=0.0, is_probe=True)
        verdicts.rests.setdefault(due.receiver, rest)
