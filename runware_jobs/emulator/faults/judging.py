"""The fault rules in force, and what they do to a message, an event or a callback.

Judging is pure but for its bookkeeping (chance, hits, what is left of a count): a verdict comes out, and
whoever stands at that point of the way carries it out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from runware_jobs.emulator.identifiers import derived_fraction

from .actions import ACTIONS, Action, FaultRuleError
from .rules import Rule, matches, read_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runware_jobs.emulator.tasks import Task

__all__ = ["NO_FAULT", "Action", "FaultRuleError", "Faults", "Rule", "Struck", "Verdict"]

Event = Literal["auth", "connect", "webhook"]
Transport = Literal["rest", "websocket"]


@dataclass(frozen=True, slots=True)
class Struck:
    """An action together with the rule that struck; rules of one kind keep separate books by their id."""

    action: Action
    rule_id: str

    @property
    def values(self) -> Mapping[str, Any]:
        return self.action.values


@dataclass(slots=True)
class Verdict:
    """What one message suffers: at most one action of each kind, per message and per task UUID."""

    message: dict[str, Struck] = field(default_factory=dict)
    tasks: dict[str, dict[str, Struck]] = field(default_factory=dict)

    def of_task(self, task_uuid: Any) -> Mapping[str, Struck]:
        return self.tasks.get(task_uuid, {}) if isinstance(task_uuid, str) else {}

    def strikes_a_task(self, kind: str) -> bool:
        return any(kind in struck for struck in self.tasks.values())


NO_FAULT = Verdict()


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self, seed: int, find: Callable[[str], Task | None] = lambda _uuid: None) -> None:
        """`find` knows the task behind a UUID, so that polls can be matched by what they ask about."""
        self._seed = seed
        self._find = find
        self._random = Random(seed)  # noqa: S311  # repeatable faults are the point
        self._ids = itertools.count(1)
        self.rules: list[Rule] = []
        self.on_change: Callable[[], None] | None = None

    def add(self, definitions: Any, now: float) -> list[Rule]:
        """Add one rule or a list of them, all or none. Windows count from `now`. Raises FaultRuleError."""
        listed = definitions if isinstance(definitions, list) else [definitions]
        rules = [
            read_rule(definition, now=now, next_id=lambda: f"fault-{next(self._ids)}")
            for definition in listed
        ]
        self.rules.extend(rules)
        self._tell()
        return rules

    def remove(self, rule_id: str | None = None) -> int:
        """Remove one rule or, with None, all; returns how many went."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        self._tell()
        return before - len(self.rules)

    def judge(self, tasks: Sequence[Mapping[str, Any]], now: float, transport: Transport = "rest") -> Verdict:
        """What happens to a message with these tasks; counts the hits."""
        if not self.rules:
            return NO_FAULT
        verdict = Verdict()
        for rule in self.rules:
            if rule.on not in {"submit", "poll", "any"} or not self._looks(rule, now, transport):
                continue
            matching = [task for task in tasks if matches(rule, task, self._find)]
            kind = rule.action.kind
            if kind == "poison":
                if self._poisons(rule, matching):
                    verdict.message.setdefault(kind, Struck(rule.action, rule.id))
            elif ACTIONS[kind].reach == "message":
                if matching and kind not in verdict.message and self._strikes(rule):
                    verdict.message[kind] = Struck(rule.action, rule.id)
            else:
                for task in matching:
                    struck = verdict.tasks.setdefault(str(task.get("taskUUID")), {})
                    if kind not in struck and self._strikes(rule):
                        struck[kind] = Struck(rule.action, rule.id)
        return verdict

    def judge_event(
        self, event: Event, now: float, *, transport: Transport | None = None, task: Task | None = None
    ) -> Mapping[str, Struck]:
        """What happens to a login, a new connection, or a callback of `task`; counts the hits."""
        struck: dict[str, Struck] = {}
        for rule in self.rules:
            if rule.on != event or not self._looks(rule, now, transport) or not _concerns(rule, task):
                continue
            if rule.action.kind not in struck and self._strikes(rule):
                struck[rule.action.kind] = Struck(rule.action, rule.id)
        return struck

    def closed_until(self, now: float) -> tuple[bool, float]:
        """Whether the port is to be closed now, and when that may change; infinity when it will not."""
        rules = [rule for rule in self.rules if rule.action.kind == "close_listener"]
        closed = any(rule.is_active(now) for rule in rules)
        moments = [at for rule in rules for at in (rule.starts_at, rule.ends_at) if at > now]
        return closed, min(moments, default=float("inf"))

    def _looks(self, rule: Rule, now: float, transport: Transport | None) -> bool:
        return rule.is_active(now) and (rule.transport is None or rule.transport == transport)

    def _poisons(self, rule: Rule, tasks: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a poisonous task is among them; whether one is poisonous never changes."""
        for uuid in (str(task.get("taskUUID")) for task in tasks):
            if uuid in rule.poisoned:
                continue
            chance = derived_fraction("poison", self._seed, rule.id, uuid)
            if rule.left != 0 and chance < rule.rate:
                rule.poisoned.add(uuid)
                rule.hits += 1
                if rule.left is not None:
                    rule.left -= 1
        return any(str(task.get("taskUUID")) in rule.poisoned for task in tasks)

    def _strikes(self, rule: Rule) -> bool:
        chance = rule.random or self._random
        if rule.left == 0 or (rule.rate < 1 and chance.random() >= rule.rate):
            return False
        if rule.left is not None:
            rule.left -= 1
        rule.hits += 1
        return True

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _concerns(rule: Rule, task: Task | None) -> bool:
    """Whether the rule's task type, model and UUID fit the task of an event; an event without one fits."""
    if task is None:
        return True
    return (
        rule.task_type in {None, task.task_type}
        and rule.model in {None, task.model}
        and rule.task_uuid in {None, task.uuid}
    )
