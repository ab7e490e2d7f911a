"""Faults on demand: rules that say when something goes wrong, and what.

A rule matches a request message by what is in it and by chance, count and time window. What it does is
one of two sorts: something to the whole message (an HTTP status, a broken connection, a delay) or
something to the tasks of the message that match (a refusal, a failed item, a task that never ends).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

On = Literal["submit", "poll", "any"]
MessageAction = Literal["status", "reset", "lose_answer", "delay", "drop_socket"]
TaskAction = Literal["refuse", "item_error", "stuck", "lost"]

_MESSAGE_ACTIONS: tuple[str, ...] = get_args(MessageAction)
_TASK_ACTIONS: tuple[str, ...] = get_args(TaskAction)

# Fields of an action by kind: name -> (types, default). None as default means "not given".
_ACTION_FIELDS: Mapping[str, Mapping[str, tuple[tuple[type, ...], Any]]] = {
    "status": {
        "status": ((int,), 503),
        "retry_after": ((int, float, str), None),
        "body": ((str,), None),
        "code": ((str,), None),
        "message": ((str,), None),
    },
    "reset": {},
    "lose_answer": {"how": ((str,), "reset"), "status": ((int,), 502)},
    "delay": {"seconds": ((int, float), 1.0)},
    "drop_socket": {"code": ((int,), None)},
    "refuse": {"code": ((str,), "invalidModel"), "message": ((str,), None), "parameter": ((str, list), None)},
    "item_error": {
        "code": ((str,), "providerError"),
        "message": ((str,), None),
        "items": ((list,), None),
        "form": ((str,), None),
    },
    "stuck": {},
    "lost": {},
}
_CHOICES = {
    ("status", "body"): ("task", "request", "html", "empty"),
    ("lose_answer", "how"): ("reset", "status", "silence"),
    ("item_error", "form"): ("A", "B"),
}
_RULE_FIELDS = ("id", "on", "taskType", "model", "rate", "count", "after_s", "for_s", "action")


class FaultRuleError(ValueError):
    """A rule that cannot be used; the message names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Action:
    """What happens. `values` has every field of the kind, defaults filled in."""

    kind: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Rule:
    """When it happens. `left` is how often still, None without limit; the window is unix seconds."""

    id: str
    on: On
    action: Action
    task_type: str | None = None
    model: str | None = None
    rate: float = 1.0
    left: int | None = None
    starts_at: float = 0.0
    ends_at: float = float("inf")
    hits: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "on": self.on,
            "taskType": self.task_type,
            "model": self.model,
            "rate": self.rate,
            "count": self.left,
            "starts_at": self.starts_at,
            "ends_at": None if self.ends_at == float("inf") else self.ends_at,
            "hits": self.hits,
            "action": {"kind": self.action.kind, **self.action.values},
        }


@dataclass(slots=True)
class Verdict:
    """What one message suffers: at most one action of each kind, per message and per task UUID."""

    message: dict[str, Action] = field(default_factory=dict)
    tasks: dict[str, dict[str, Action]] = field(default_factory=dict)

    def of_task(self, task_uuid: Any) -> Mapping[str, Action]:
        return self.tasks.get(task_uuid, {}) if isinstance(task_uuid, str) else {}


NO_FAULT = Verdict()


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  # repeatable faults are the point
        self._ids = itertools.count(1)
        self.rules: list[Rule] = []

    def add(self, definitions: Any, now: float) -> list[Rule]:
        """Add one rule or a list of them, all or none. Windows count from `now`. Raises FaultRuleError."""
        listed = definitions if isinstance(definitions, list) else [definitions]
        rules = [self._read(definition, now) for definition in listed]
        self.rules.extend(rules)
        return rules

    def remove(self, rule_id: str | None = None) -> int:
        """Remove one rule or, with None, all; returns how many went."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        return before - len(self.rules)

    def judge(self, tasks: Sequence[Mapping[str, Any]], now: float) -> Verdict:
        """What happens to a message with these tasks; counts the hits."""
        if not self.rules:
            return NO_FAULT
        verdict = Verdict()
        for rule in self.rules:
            if not rule.starts_at <= now < rule.ends_at:
                continue
            matching = [task for task in tasks if _matches(rule, task)]
            if rule.action.kind in _MESSAGE_ACTIONS:
                if matching and rule.action.kind not in verdict.message and self._strikes(rule):
                    verdict.message[rule.action.kind] = rule.action
                continue
            for task in matching:
                actions = verdict.tasks.setdefault(str(task.get("taskUUID")), {})
                if rule.action.kind not in actions and self._strikes(rule):
                    actions[rule.action.kind] = rule.action
        return verdict

    def _strikes(self, rule: Rule) -> bool:
        if rule.left == 0 or (rule.rate < 1 and self._random.random() >= rule.rate):
            return False
        if rule.left is not None:
            rule.left -= 1
        rule.hits += 1
        return True

    def _read(self, definition: Any, now: float) -> Rule:
        if not isinstance(definition, dict):
            raise FaultRuleError(
                'a rule must be an object such as {"on": "submit", "action": {"kind": "status"}}'
            )
        _refuse_unknown(definition, _RULE_FIELDS, "rule")
        on = definition.get("on", "any")
        if on not in get_args(On):
            raise FaultRuleError(f"on: must be one of {', '.join(get_args(On))}, not {on!r}")
        rate = _number(definition, "rate", 1.0)
        if rate > 1:
            raise FaultRuleError(f"rate: must be between 0 and 1, not {rate}")
        count = definition.get("count")
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise FaultRuleError(f"count: must be null or a whole number of 0 or more, not {count!r}")
        starts_at = now + _number(definition, "after_s", 0.0)
        for_s = definition.get("for_s")
        return Rule(
            id=str(definition.get("id") or f"fault-{next(self._ids)}"),
            on=on,
            action=_read_action(definition.get("action")),
            task_type=_text(definition, "taskType"),
            model=_text(definition, "model"),
            rate=rate,
            left=count,
            starts_at=starts_at,
            ends_at=float("inf") if for_s is None else starts_at + _number(definition, "for_s", 0.0),
        )


def _matches(rule: Rule, task: Mapping[str, Any]) -> bool:
    """Whether the rule looks at this task. Utilities other than polls only match `any`."""
    task_type = task.get("taskType")
    is_poll = task_type == "getResponse"
    if rule.on == "poll" and not is_poll:
        return False
    if rule.on == "submit" and (is_poll or task_type in {"ping", "authentication"}):
        return False
    # A poll names no model and no type of the task it asks about; there the filters compare with the poll.
    return rule.task_type in {None, task_type} and rule.model in {None, task.get("model")}


def _read_action(definition: Any) -> Action:
    if isinstance(definition, str):
        definition = {"kind": definition}
    kinds = (*_MESSAGE_ACTIONS, *_TASK_ACTIONS)
    if not isinstance(definition, dict) or definition.get("kind") not in kinds:
        raise FaultRuleError(f"action.kind: must be one of {', '.join(kinds)}")
    kind = definition["kind"]
    known = _ACTION_FIELDS[kind]
    _refuse_unknown(definition, ("kind", *known), f"action {kind}")
    values: dict[str, Any] = {}
    for name, (types, default) in known.items():
        value = definition.get(name, default)
        if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
            raise FaultRuleError(
                f"action.{name}: must be {' or '.join(one.__name__ for one in types)}, not {value!r}"
            )
        allowed = _CHOICES.get((kind, name))
        if allowed and value is not None and value not in allowed:
            raise FaultRuleError(f"action.{name}: must be one of {', '.join(allowed)}, not {value!r}")
        values[name] = value
    return Action(kind, values)


def _refuse_unknown(definition: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    unknown = sorted(set(definition) - set(known))
    if unknown:
        raise FaultRuleError(f"{unknown[0]}: no field of a {what}; known are {', '.join(known)}")


def _number(definition: Mapping[str, Any], name: str, default: float) -> float:
    value = definition.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise FaultRuleError(f"{name}: must be a number of 0 or more, not {value!r}")
    return float(value)


def _text(definition: Mapping[str, Any], name: str) -> str | None:
    value = definition.get(name)
    if value is not None and not isinstance(value, str):
        raise FaultRuleError(f"{name}: must be a string, not {value!r}")
    return value
