"""What can go wrong: every action of a fault rule, its fields, and where on a request's way it happens.

A table, and the reading of an action from JSON. When one strikes is a rule's matter (fault_rules.py);
they are carried out where the platform would fail: in protocol.py for tasks, and in rest_faults.py,
websocket.py, webhooks.py and serve.py for messages and connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from runware_jobs.emulator.latencies import latency
from runware_jobs.emulator.switches import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

On = Literal["submit", "poll", "any", "auth", "connect", "webhook"]
Reach = Literal["message", "task", "event"]

_MESSAGES: tuple[On, ...] = ("any", "submit", "poll")
_SUBMITS: tuple[On, ...] = ("submit", "any")


class FaultRuleError(ValueError):
    """A rule that cannot be used; the message names the field and the remedy."""


class Field(NamedTuple):
    """One field of an action: its types, its default (None: not given), and the choices of a word."""

    types: tuple[type, ...]
    default: Any = None
    choices: tuple[str, ...] = ()


_NUMBER = (int, float)
_LOWEST_STATUS, _HIGHEST_STATUS = 200, 599
_CODE, _MESSAGE = Field((str,)), Field((str,))


@dataclass(frozen=True, slots=True)
class ActionKind:
    """One thing that can go wrong. `on` is where it may strike, the first being the usual place.

    `reach` says what it befalls: the whole message, each task that matches, or the event itself.
    """

    name: str
    what: str
    on: tuple[On, ...]
    reach: Reach = "message"
    fields: Mapping[str, Field] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """What happens. `values` has every field of the kind, defaults filled in."""

    kind: str
    values: Mapping[str, Any]


_KINDS = (
    # On the way in: nothing has been accepted yet.
    ActionKind(
        "close_listener", "Connections are refused: the port is closed for `for_s`.", ("connect",), "event"
    ),
    ActionKind("reject_key", "The API key is refused with `invalidApiKey`.", ("auth",), "event"),
    ActionKind("stray_frame", "A WebSocket gets a pong before the answer to its login.", ("auth",), "event"),
    ActionKind("reset", "The connection breaks before anything is accepted.", (*_MESSAGES, "connect")),
    ActionKind(
        "status",
        "The message is refused: an HTTP status, or errors on a WebSocket.",
        _MESSAGES,
        fields={
            "status": Field((int,), 503),
            "retry_after": Field((*_NUMBER, str)),
            "retry_after_form": Field((str,), "seconds", ("seconds", "date")),
            "body": Field((str,), None, ("task", "request", "single", "html", "empty")),
            "code": _CODE,
            "message": _MESSAGE,
        },
    ),
    ActionKind(
        "poison",
        "A task, once struck, spoils every message it is in: a 400 without a taskUUID.",
        _SUBMITS,
        fields={"code": Field((str,), "invalidRequest"), "message": _MESSAGE},
    ),
    # To single tasks.
    ActionKind(
        "refuse",
        "The task is refused.",
        _SUBMITS,
        "task",
        {"code": Field((str,), "invalidModel"), "message": _MESSAGE, "parameter": Field((str, list))},
    ),
    ActionKind(
        "capacity",
        "Each model runs so many tasks at a time, lets so many wait, and answers 429 to others.",
        _SUBMITS,
        "task",
        {"running": Field((int,), 4), "queued": Field((int,), 16)},
    ),
    ActionKind(
        "latency",
        "The task takes this long, in platform seconds.",
        _SUBMITS,
        "task",
        {
            "distribution": Field((str,), "constant", ("constant", "uniform", "lognormal")),
            "min_s": Field(_NUMBER, 1.0),
            "max_s": Field(_NUMBER),
        },
    ),
    ActionKind(
        "item_error",
        "Items of the task fail; all, or those of `items`.",
        _SUBMITS,
        "task",
        {
            "code": Field((str,), "providerError"),
            "message": _MESSAGE,
            "items": Field((list,)),
            "form": Field((str,), None, ("A", "B")),
        },
    ),
    ActionKind("stuck", "The task is accepted and never ends.", _SUBMITS, "task"),
    ActionKind("lost", "The task is accepted and then unknown.", _SUBMITS, "task"),
    ActionKind(
        "webhook_first",
        "The task ends at once, and calls its webhook before it is answered.",
        _SUBMITS,
        "task",
    ),
    # On the way out: the tasks were accepted.
    ActionKind("delay", "The answer comes late.", _MESSAGES, fields={"seconds": Field(_NUMBER, 1.0)}),
    ActionKind(
        "lose_answer",
        "The answer never comes: the connection breaks, an empty status comes instead, or nothing.",
        _MESSAGES,
        fields={
            "how": Field((str,), "reset", ("reset", "status", "silence")),
            "status": Field((int,), 502),
        },
    ),
    ActionKind(
        "error_shape",
        "Errors come as `errors`, as a single `error`, a list under `error`, or inside an array; "
        "perhaps without their taskUUID.",
        _MESSAGES,
        fields={
            "shape": Field((str,), "single", ("errors", "single", "list", "array")),
            "scoped": Field((bool,), True),
        },
    ),
    ActionKind(
        "pad", "The answer grows to so many bytes.", _MESSAGES, fields={"bytes": Field((int,), 2_000_000)}
    ),
    ActionKind(
        "slow_body",
        "The body of the HTTP answer arrives in pieces over so many seconds.",
        _MESSAGES,
        fields={"seconds": Field(_NUMBER, 2.0), "pieces": Field((int,), 8)},
    ),
    ActionKind(
        "truncate",
        "The body of the HTTP answer, or the event stream, breaks off after this part.",
        _MESSAGES,
        fields={"part": Field(_NUMBER, 0.5)},
    ),
    # To sockets.
    ActionKind("gather", "Pushed results of the message leave together in one frame.", _SUBMITS),
    ActionKind(
        "drop_socket",
        "The WebSocket ends after the answer: with a close code, or without one abruptly.",
        _MESSAGES,
        fields={"code": Field((int,)), "after_s": Field(_NUMBER, 0.0)},
    ),
    ActionKind(
        "half_open",
        "The WebSocket stays open, and nothing is read from it or said on it any more.",
        _MESSAGES,
        fields={"seconds": Field(_NUMBER, 300.0)},
    ),
    # To callbacks.
    ActionKind(
        "webhook_duplicate",
        "A callback is made so many times.",
        ("webhook",),
        "event",
        {"times": Field((int,), 2)},
    ),
    ActionKind(
        "webhook_hold",
        "A callback waits until the next one was made, or so long.",
        ("webhook",),
        "event",
        {"seconds": Field(_NUMBER, 1.0)},
    ),
    ActionKind("webhook_lose", "A callback is never made.", ("webhook",), "event"),
)
ACTIONS: Mapping[str, ActionKind] = MappingProxyType({kind.name: kind for kind in _KINDS})

# Whole rules under one word, for the command line, the page, and tests that want no more than the usual.
READY_MADE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "rate_limit": {"on": "submit", "action": {"kind": "status", "status": 429, "retry_after": 2}},
        "overload": {"action": {"kind": "status", "status": 503}},
        "gateway_timeout": {"action": {"kind": "status", "status": 504}},
        "server_error": {"action": {"kind": "status", "status": 500}},
        "bad_gateway": {"action": {"kind": "status", "status": 502, "body": "html"}},
        "provider_error": {"action": {"kind": "item_error"}},
        "moderation": {"action": {"kind": "item_error", "code": "providerContentPolicyViolation"}},
        "safety": {
            "action": {"kind": "refuse", "code": "contentPolicyViolation", "parameter": "positivePrompt"}
        },
        "no_credits": {"action": {"kind": "refuse", "code": "insufficientCredits"}},
        "key_rejected": {"action": {"kind": "reject_key"}},
        "connection_refused": {"on": "connect", "for_s": 5, "action": {"kind": "close_listener"}},
        "reset_before": {"on": "submit", "action": {"kind": "reset"}},
        "reset_after": {"on": "submit", "action": {"kind": "lose_answer"}},
        "no_ack": {"on": "submit", "action": {"kind": "lose_answer", "how": "silence"}},
        "late_ack": {"on": "submit", "action": {"kind": "delay", "seconds": 5}},
    }
)


def action_table() -> list[dict[str, Any]]:
    """Every action as a row: name, what it does, where it may strike, and its fields with their defaults."""
    return [
        {
            "kind": kind.name,
            "what": kind.what,
            "on": list(kind.on),
            "fields": {name: one.default for name, one in kind.fields.items()},
        }
        for kind in ACTIONS.values()
    ]


def read_action(definition: Any) -> Action:
    """An action from JSON, an object with `kind`. Raises FaultRuleError."""
    kind = definition.get("kind") if isinstance(definition, dict) else None
    if not isinstance(definition, dict) or not isinstance(kind, str) or kind not in ACTIONS:
        raise FaultRuleError(
            f"action.kind: must be one of {', '.join(ACTIONS)}; or ready-made: {', '.join(READY_MADE)}"
        )
    known = ACTIONS[kind].fields
    unknown = sorted(set(definition) - {"kind", *known})
    if unknown:
        raise FaultRuleError(
            f"action.{unknown[0]}: no field of {kind}; known are {', '.join(known) or 'none'}"
        )
    values = {name: _value(name, one, definition.get(name, one.default)) for name, one in known.items()}
    if kind == "latency":
        values["latency"] = _latency(values)
    return Action(kind, values)


def _value(name: str, one: Field, value: Any) -> Any:
    if value is not None and (
        not isinstance(value, one.types) or (isinstance(value, bool) and bool not in one.types)
    ):
        wanted = " or ".join("number" if kind is float else kind.__name__ for kind in one.types)
        raise FaultRuleError(f"action.{name}: must be {wanted}, not {value!r}")
    if isinstance(value, int | float) and value < 0:
        raise FaultRuleError(f"action.{name}: must be 0 or more, not {value!r}")
    if name == "status" and isinstance(value, int) and not _LOWEST_STATUS <= value <= _HIGHEST_STATUS:
        raise FaultRuleError(
            f"action.status: must be from {_LOWEST_STATUS} to {_HIGHEST_STATUS}, not {value!r}"
        )
    if value is not None and one.choices and value not in one.choices:
        raise FaultRuleError(f"action.{name}: must be one of {', '.join(one.choices)}, not {value!r}")
    return value


def _latency(values: Mapping[str, Any]) -> Any:
    low, distribution = values["min_s"], values["distribution"]
    high = values["max_s"] if values["max_s"] is not None and distribution != "constant" else low
    try:
        return latency("of the action", low, high, "uniform" if distribution == "constant" else distribution)
    except ConfigError as error:
        raise FaultRuleError(f"action.min_s: {error}") from error
