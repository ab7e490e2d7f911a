"""What can be set about the emulator: once at start (Config) and while it runs (Switches, latencies).

Task durations are given in platform seconds and divided by `speed`. Protocol times (idle close, replay
window, webhook deadlines, ttl, retention) are real seconds whatever the speed: clients keep their own
real-time timers against them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ConfigError(ValueError):
    """A setting that cannot be used; the message names the field and what would be right."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a task takes, in platform seconds: something between both, fixed by seed and task UUID."""

    min_s: float
    max_s: float


# Runware's published guidance and typical runs: images in seconds, videos in half a minute, LoRA
# trainings in about two hours.
DEFAULT_LATENCIES: Mapping[str, Latency] = MappingProxyType(
    {
        "image": Latency(1, 3),
        "video": Latency(25, 40),
        "audio": Latency(3, 8),
        "text": Latency(1, 4),
        "3d": Latency(20, 60),
        "training": Latency(6300, 8100),
        "modelUpload": Latency(20, 60),
    }
)


@dataclass(frozen=True, slots=True)
class Switches:
    """Behaviours that the platform's sources contradict each other on, or that a test wants to choose."""

    failure_form: Literal["A", "B"] = "B"
    """A failed item in getResponse: A = entry of `errors`, B = item of `data` with `status: error`."""
    unknown_task: Literal["empty", "error"] = "empty"
    """getResponse for an unknown UUID: nothing at all, or the error `taskNotFound`."""
    webhook_body: Literal["flat", "wrapped"] = "flat"
    """A callback carries the item itself, or `{"data": [item]}`."""
    duplicate_overwrites_archive: bool = True
    """A refused duplicate replaces the archived response of the real task (getTaskDetails)."""
    result_index: bool = False
    """Items of getResponse carry `resultIndex`."""
    retention_s: float = 86_400
    """How long getResponse knows a finished task; the archive and the duplicate check know it for ever."""
    idle_close_s: float = 120
    """A WebSocket without an incoming message for this long is closed."""
    replay_s: float = 120
    """How long undelivered pushes of a dropped WebSocket are kept for its session."""
    sync_window_s: float = 120
    """A sync request that lasts longer is answered with a timeout; its task goes on."""
    webhook_attempts: int = 10
    """How often one callback is tried."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything known at start. `port` 0 picks a free one; `public_url` None means the Host asked for."""

    host: str = "127.0.0.1"
    port: int = 9300
    speed: float = 1.0
    seed: int = 1
    balance_usd: str = "25000"
    """What every organisation starts with."""
    state_path: Path | None = None
    """None keeps everything in memory only."""
    public_url: str | None = None
    registry_path: Path | None = None
    """None means the registry shipped beside the emulator; a missing file means a short built-in one."""
    latencies: Mapping[str, Latency] = field(default_factory=lambda: DEFAULT_LATENCIES)
    switches: Switches = field(default_factory=Switches)
    faults: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise ConfigError(
                f"speed: {self.speed} is not above 0; 1 is real time, 60 makes a minute a second"
            )
        try:
            is_amount = Decimal(self.balance_usd) >= 0
        except InvalidOperation:
            is_amount = False
        if not is_amount:
            raise ConfigError(f"balance: {self.balance_usd!r} is no amount of dollars; example: 25.50")


def parse_latencies(text: str) -> dict[str, Latency]:
    """Read `image=0.2,video=1-2` or a JSON object of numbers and [min, max] pairs; platform seconds.

    Keys are `image`, `video`, `audio`, `text`, `3d` or a taskType. Raises ConfigError.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            return latencies_from_json(orjson.loads(stripped))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"latency: not JSON ({error}); example: image=0.2,video=1-2") from error
    found: dict[str, Latency] = {}
    for part in filter(None, (piece.strip() for piece in stripped.split(","))):
        name, _, value = part.partition("=")
        low, _, high = value.partition("-")
        try:
            found[name.strip()] = _latency(name, float(low), float(high or low))
        except ValueError as error:
            raise ConfigError(
                f"latency: {part!r} is not NAME=SECONDS; example: image=0.2,video=1-2"
            ) from error
    return found


def latencies_from_json(values: Any) -> dict[str, Latency]:
    """The same from a decoded JSON object: `{"image": 0.2, "video": [1, 2]}`. Raises ConfigError."""
    if not isinstance(values, dict):
        raise ConfigError('latencies: must be an object such as {"image": 0.2, "video": [1, 2]}')
    found: dict[str, Latency] = {}
    for name, value in values.items():
        match value:
            case int() | float():
                found[name] = _latency(name, float(value), float(value))
            case [int() | float() as low, int() | float() as high]:
                found[name] = _latency(name, float(low), float(high))
            case _:
                raise ConfigError(f"latencies.{name}: must be seconds or [min, max], not {value!r}")
    return found


def changed_switches(switches: Switches, values: Any) -> Switches:
    """A copy of the switches with the given fields replaced. Raises ConfigError, naming the field."""
    if not isinstance(values, dict):
        raise ConfigError('switches: must be an object such as {"failure_form": "A"}')
    names = {one.name for one in dataclasses.fields(Switches)}
    choices = {
        "failure_form": ("A", "B"),
        "unknown_task": ("empty", "error"),
        "webhook_body": ("flat", "wrapped"),
    }
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f"switches.{name}: unknown; known are {', '.join(sorted(names))}")
        if name in choices and value not in choices[name]:
            raise ConfigError(f"switches.{name}: must be one of {', '.join(choices[name])}, not {value!r}")
        kind = type(getattr(switches, name))
        if kind is bool and not isinstance(value, bool):
            raise ConfigError(f"switches.{name}: must be true or false, not {value!r}")
        if kind in {int, float} and (
            isinstance(value, bool) or not isinstance(value, int | float) or value < 0
        ):
            raise ConfigError(f"switches.{name}: must be a number of 0 or more, not {value!r}")
    return dataclasses.replace(switches, **values)


def _latency(name: str, low: float, high: float) -> Latency:
    if not 0 <= low <= high:
        raise ConfigError(f"latency {name}: {low} to {high} is no range; give 0 <= min <= max, in seconds")
    return Latency(low, high)
