"""Questions: ask about a group of tasks, and find the one that spoils the answer for all.

The platform may answer a whole request with an error because of one task in it. Whether
it does, or is down, one harmless question tells: only when that is answered, the group is
asked about in parts. How often, and how far, `core.settling` decides; an outage costs one
question more, ever more seldom.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from runware_jobs.client import Missing, NoAnswer, Polled
from runware_jobs.core.settling import divides_on, next_probe_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runware_jobs.client import PollOutcome

    from .context import Context

_UNHEARD: Final = frozenset({"connection", "aborted"})
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500


@dataclass(slots=True)
class Silence:
    """When this process may ask again whether the platform answers anybody; `clock` gives seconds that only grow."""

    clock: Callable[[], float] = time.monotonic
    _in_vain: int = 0
    _next_at: float = field(default=float("-inf"))

    @property
    def may_probe(self) -> bool:
        """True when the last question of this kind was long enough ago."""
        return self.clock() >= self._next_at

    def probed(self, *, in_vain: bool) -> None:
        """Put the next question off: longer each time while they teach nothing."""
        self._in_vain = self._in_vain + 1 if in_vain else 0
        self._next_at = self.clock() + next_probe_s(self._in_vain)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back about each task.

    `silent` are those that were not answered while others were, `alone` those that were not
    although nothing else stood in the request; `is_up` False: nobody is answered at
    present (None: that was not looked into).
    """

    outcomes: dict[str, PollOutcome]
    silent: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()
    is_up: bool | None = None


async def ask(context: Context, tasks: Sequence[str]) -> Asked:
    """Ask about these tasks in the one request that the caller has a turn for, and more where that is spoilt."""
    outcomes = await _ask(context, tasks)
    if _has_answer(outcomes.values()):
        return Asked(outcomes, _unanswered(outcomes), is_up=True)
    if not all(_is_told(outcome) for outcome in outcomes.values()):
        return Asked(outcomes, is_up=False)
    if not context.silence.may_probe:
        return Asked(outcomes)
    context.silence.probed(in_vain=True)  # by now: other groups of this moment need not ask, too
    if not await answers_anybody(context):
        return Asked(outcomes, is_up=False)
    alone = set(tasks) if len(tasks) == 1 else set()
    if len(tasks) > 1 and all(_may_be_spoilt(outcome) for outcome in outcomes.values()):
        outcomes, alone = await _divide(context, tasks, outcomes)
    was_answered = _has_answer(outcomes.values())
    if was_answered or len(tasks) == 1:
        context.silence.probed(in_vain=False)
    return Asked(outcomes, frozenset(alone), frozenset(alone), is_up=True)


async def answers_anybody(context: Context) -> bool:
    """Ask about a task that nobody has: whoever says that it is unknown answers questions."""
    await context.pace.turn()
    [outcome] = (await context.client.poll_many([str(uuid4())])).values()
    return not isinstance(outcome, NoAnswer)


async def _ask(context: Context, tasks: Sequence[str]) -> dict[str, PollOutcome]:
    outcomes = await context.client.poll_many(tasks, before_more=context.pace.turn)
    context.doubts.hear(outcomes.values())
    return outcomes


async def _divide(
    context: Context, tasks: Sequence[str], before: dict[str, PollOutcome]
) -> tuple[dict[str, PollOutcome], set[str]]:
    """Ask in halves until each spoilt part is one task; give what came back, and those tasks."""
    outcomes = dict(before)
    alone: set[str] = set()
    groups = _halves(tasks)
    questions = answered = 0
    while groups and divides_on(questions, answered=answered):
        group = groups.pop()
        await context.pace.turn()
        found = await _ask(context, group)
        outcomes |= found
        questions += 1
        if _has_answer(found.values()):
            answered += 1
        elif len(group) == 1:
            alone.update(group)
        elif all(_may_be_spoilt(outcome) for outcome in found.values()):
            groups += _halves(group)
    return outcomes, alone


def _halves(tasks: Sequence[str]) -> list[Sequence[str]]:
    middle = len(tasks) // 2
    return [tasks[middle:], tasks[:middle]]


def _has_answer(outcomes: Iterable[PollOutcome]) -> bool:
    return any(isinstance(outcome, Polled | Missing) for outcome in outcomes)


def _unanswered(outcomes: dict[str, PollOutcome]) -> frozenset[str]:
    return frozenset(task for task, outcome in outcomes.items() if isinstance(outcome, NoAnswer))


def _is_told(outcome: PollOutcome) -> bool:
    """Tell whether somebody refused the question, rather than that it got lost on its way."""
    if not isinstance(outcome, NoAnswer):
        return False
    return outcome.error.status_code is not None or outcome.error.code not in _UNHEARD


def _may_be_spoilt(outcome: PollOutcome) -> bool:
    """Tell whether one task of a request may be to blame. When to come back is told by who is busy."""
    if not isinstance(outcome, NoAnswer) or outcome.retry_after_s is not None:
        return False
    status = outcome.error.status_code
    if status is None:
        return outcome.error.code in {"serverError", "timeout"}
    return status == _FORBIDDEN or status >= _SERVER_ERROR
