"""The serverless apps that the emulator runs, and what each of their endpoints does.

An endpoint is a function of its payload: how long it takes, and what comes out. Add an app by adding it to
the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from runware_jobs.emulator.numbers import number

_LONGEST_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation comes to: after `seconds` (platform time) an output, or an error text."""

    seconds: float = 0.2
    output: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A field of the payload that is wrong: a JSON pointer, and what is wrong with it."""

    pointer: str
    detail: str


Endpoint = Callable[[Mapping[str, Any]], Outcome | Fault]


@dataclass(frozen=True, slots=True)
class App:
    """One app. `state` is `running`, or why nothing can be invoked."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    state: Literal["running", "stopped", "failed"] = "running"
    environments: tuple[str, ...] = ("production", "staging", "paused")
    """The environment `paused` has used up its monthly budget."""


def _echo(payload: Mapping[str, Any]) -> Outcome | Fault:
    return Outcome(output=dict(payload))


def _sleep(payload: Mapping[str, Any]) -> Outcome | Fault:
    """Answers after `seconds`."""
    seconds = number(payload.get("seconds", 1), -1)
    if not 0 <= seconds <= _LONGEST_S:
        return Fault("/payload/seconds", f"must be a number of seconds from 0 to {_LONGEST_S:g}")
    return Outcome(seconds, {"slept": seconds})


def _fail(payload: Mapping[str, Any]) -> Outcome | Fault:
    """Runs and fails, with `message` as its error."""
    return Outcome(error=str(payload.get("message", "The app raised an error.")))


def _add(payload: Mapping[str, Any]) -> Outcome | Fault:
    """The sum of `numbers`."""
    numbers = payload.get("numbers")
    if not isinstance(numbers, list) or not all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in numbers
    ):
        return Fault("/payload/numbers", "must be an array of numbers")
    return Outcome(output={"sum": sum(numbers)})


APPS: Mapping[str, App] = MappingProxyType(
    {
        "demo-app": App({"echo": _echo, "sleep": _sleep, "fail": _fail, "math/add": _add}),
        "echo-app": App({"echo": _echo, "generate": _echo}),
        "my-app": App({"generate": _echo, "echo": _echo, "sleep": _sleep, "fail": _fail}),
        "stopped-app": App({"echo": _echo}, state="stopped"),
        "failed-app": App({"echo": _echo}, state="failed"),
    }
)
