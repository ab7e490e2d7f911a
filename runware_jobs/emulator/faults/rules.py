"""When something goes wrong: a rule says what it looks at, how often it strikes, and within which time."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, get_args

from .actions import ACTIONS, Action, FaultRuleError, On, read_action
from .spellings import RULE_FIELDS, full_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.emulator.tasks import Task

_TRANSPORTS = ("rest", "websocket")
_NO_SUBMITS = {"getResponse", "ping", "authentication"}


@dataclass(slots=True)
class Rule:
    """When an action happens. `left` is how often still, None without limit; the window is unix seconds."""

    id: str
    on: On
    action: Action
    transport: str | None = None
    task_type: str | None = None
    model: str | None = None
    task_uuid: str | None = None
    prompt: str | None = None
    """Words that the prompt contains, whatever their case."""
    rate: float = 1.0
    random: Random | None = None
    """Its own chance, where it has a seed of its own."""
    left: int | None = None
    starts_at: float = 0.0
    ends_at: float = float("inf")
    hits: int = 0
    poisoned: set[str] = field(default_factory=set)
    """The tasks that a poison has struck; they stay struck."""

    def is_active(self, now: float) -> bool:
        return self.starts_at <= now < self.ends_at

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "on": self.on,
            "transport": self.transport,
            "taskType": self.task_type,
            "model": self.model,
            "taskUUID": self.task_uuid,
            "prompt": self.prompt,
            "rate": self.rate,
            "count": self.left,
            "starts_at": self.starts_at,
            "ends_at": None if self.ends_at == float("inf") else self.ends_at,
            "hits": self.hits,
            "action": {
                "kind": self.action.kind,
                **{name: self.action.values[name] for name in ACTIONS[self.action.kind].fields},
            },
        }


def read_rule(definition: Any, *, now: float, next_id: Callable[[], str]) -> Rule:
    """A rule from JSON, or the ready-made one of a name; windows count from `now`. Raises FaultRuleError."""
    definition = full_form(definition)
    unknown = sorted(set(definition) - set(RULE_FIELDS))
    if unknown:
        raise FaultRuleError(f"{unknown[0]}: no field of a rule; known are {', '.join(RULE_FIELDS)}")
    action = read_action(definition.get("action"))
    on, count = _on(definition, action), _count(definition)
    starts_at, ends_at = _window(definition, now)
    if on == "connect" and ends_at == float("inf") and (count is None or action.kind == "close_listener"):
        raise FaultRuleError("for_s: give it to a rule on connect; nobody could come in to end that rule")
    return Rule(
        id=str(definition.get("id") or next_id()),
        on=on,
        action=action,
        transport=_transport(definition),
        task_type=_text(definition, "taskType"),
        model=_text(definition, "model"),
        task_uuid=_text(definition, "taskUUID"),
        prompt=_text(definition, "prompt"),
        rate=_rate(definition),
        random=_random(definition),
        left=count,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def matches(rule: Rule, task: Mapping[str, Any], find: Callable[[str], Task | None]) -> bool:
    """Whether the rule looks at this task of a message; `find` knows the task that a poll asks about."""
    task_type, model = task.get("taskType"), task.get("model")
    is_poll = task_type == "getResponse"
    if rule.on == "poll" and not is_poll:
        return False
    if rule.on == "submit" and task_type in _NO_SUBMITS:
        return False
    types = {task_type}
    if is_poll and (rule.task_type or rule.model):
        # A poll names neither, so what it asks about counts.
        asked = find(str(task.get("taskUUID")))
        if asked is not None:
            types.add(asked.task_type)
            model = asked.model
    if rule.task_type is not None and rule.task_type not in types:
        return False
    if rule.model is not None and rule.model != model:
        return False
    if rule.task_uuid is not None and rule.task_uuid != task.get("taskUUID"):
        return False
    return rule.prompt is None or rule.prompt.lower() in str(task.get("positivePrompt", "")).lower()


def _on(definition: Mapping[str, Any], action: Action) -> On:
    allowed = ACTIONS[action.kind].on
    on = definition.get("on", allowed[0])
    if on not in get_args(On):
        raise FaultRuleError(f"on: must be one of {', '.join(get_args(On))}, not {on!r}")
    if on not in allowed:
        raise FaultRuleError(f"on: {action.kind} happens on {', '.join(allowed)}, not on {on}")
    for one in allowed:
        if one == on:
            return one
    raise AssertionError(on)


def _transport(definition: Mapping[str, Any]) -> str | None:
    transport = _text(definition, "transport")
    if transport is not None and transport not in _TRANSPORTS:
        raise FaultRuleError(f"transport: must be one of {', '.join(_TRANSPORTS)}, not {transport!r}")
    return transport


def _rate(definition: Mapping[str, Any]) -> float:
    rate = _number(definition, "rate")
    if rate is not None and rate > 1:
        raise FaultRuleError(f"rate: must be between 0 and 1, not {rate}")
    return 1.0 if rate is None else rate


def _random(definition: Mapping[str, Any]) -> Random | None:
    seed = definition.get("seed")
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise FaultRuleError(f"seed: must be null or a whole number, not {seed!r}")
    return Random(seed)  # noqa: S311  # repeatable faults are the point


def _count(definition: Mapping[str, Any]) -> int | None:
    count = definition.get("count")
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise FaultRuleError(f"count: must be null or a whole number of 0 or more, not {count!r}")
    return count


def _window(definition: Mapping[str, Any], now: float) -> tuple[float, float]:
    after_s, for_s, until_s = (_number(definition, name) for name in ("after_s", "for_s", "until_s"))
    if for_s is not None and until_s is not None:
        raise FaultRuleError("until_s: give for_s (from the start of the window) or until_s (from now)")
    starts_at = now + (after_s or 0.0)
    if for_s is not None:
        return starts_at, starts_at + for_s
    return starts_at, float("inf") if until_s is None else now + until_s


def _number(definition: Mapping[str, Any], name: str) -> float | None:
    value = definition.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise FaultRuleError(f"{name}: must be a number of 0 or more, not {value!r}")
    return float(value)


def _text(definition: Mapping[str, Any], name: str) -> str | None:
    value = definition.get(name)
    if value is not None and not isinstance(value, str):
        raise FaultRuleError(f"{name}: must be a string, not {value!r}")
    return value
