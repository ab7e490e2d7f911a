"""The many ways to write a fault rule, brought into the one that fault_rules.py reads.

The full form is `{"taskType": ..., "count": ..., "action": {"kind": ..., ...}}`. Also understood: a name
alone, the action's fields beside those of the rule, a status alone, and names in other spellings
(`task_type`, `retryAfter`, `half-open`).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .actions import ACTIONS, READY_MADE, FaultRuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RULE_FIELDS = (
    "id",
    "on",
    "transport",
    "taskType",
    "model",
    "taskUUID",
    "prompt",
    "rate",
    "seed",
    "count",
    "after_s",
    "for_s",
    "until_s",
    "action",
)
_OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {"times": "count", "probability": "rate", "type": "kind", "fault": "kind", "name": "kind"}
)


def full_form(definition: Any) -> dict[str, Any]:
    """The rule in its full form; what it says is not checked yet. Raises FaultRuleError for no rule at all."""
    if isinstance(definition, str):
        definition = {"action": definition}
    if not isinstance(definition, dict):
        raise FaultRuleError(
            'a rule must be an object such as {"on": "submit", "action": {"kind": "status"}}'
        )
    rule = dict(definition)
    action = rule.pop("action") if "action" in rule else _taken_out(rule)
    rule = _respelled(rule, RULE_FIELDS)
    if isinstance(action, str):
        action = {"kind": action}
    if not isinstance(action, dict) or not isinstance(action.get("kind"), str):
        return {**rule, "action": action}
    kind = _canonical(action["kind"], (*ACTIONS, *READY_MADE))
    usual = READY_MADE.get(kind, {"action": {"kind": kind}})
    action = _respelled(action, _action_fields(kind))
    return {**usual, **rule, "action": {**action, **_missing_in(action, usual["action"])}}


def _taken_out(rule: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of an action from a rule that has them beside its own."""
    named = next((name for name in rule if _OTHER_WORDS.get(name, name) == "kind"), None)
    kind = rule.pop(named) if named is not None else "status" if "status" in rule else None
    fields = _action_fields(_canonical(kind, (*ACTIONS, *READY_MADE))) if isinstance(kind, str) else ()
    own = [name for name in rule if _canonical(name, fields) in fields]
    return {"kind": kind, **{name: rule.pop(name) for name in own}}


def _action_fields(kind: str) -> tuple[str, ...]:
    """The fields of an action, or of that of a ready-made rule."""
    known = ACTIONS.get(READY_MADE[kind]["action"]["kind"] if kind in READY_MADE else kind)
    return tuple(known.fields) if known is not None else ()


def _missing_in(action: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in usual.items() if name == "kind" or name not in action}


def _respelled(values: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    names = tuple(known)
    return {
        _canonical(name if name in names else _OTHER_WORDS.get(name, name), names): value
        for name, value in values.items()
    }


def _canonical(name: str, known: Iterable[str]) -> str:
    """The known name that differs at most in case, hyphens and underscores, else the name itself."""
    return next((one for one in known if _bare(one) == _bare(name)), name)


def _bare(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
