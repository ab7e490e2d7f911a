"""How long tasks take: constant, uniform or lognormal durations, and how they are written down.

Durations are platform seconds; whoever applies one divides it by `--speed`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson

from .switches import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Distribution = Literal["uniform", "lognormal"]

# Nine of ten lognormal durations lie between both ends: the quantiles at 5 and 95 percent.
_END_QUANTILE = NormalDist().inv_cdf(0.95)
_EXAMPLE = "example: image=0.2,video=1-2,audio=~3-20"


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of durations between two ends, in platform seconds; equal ends are a constant.

    A lognormal one has a tail: one of ten durations lies beyond the ends.
    """

    min_s: float
    max_s: float
    distribution: Distribution = "uniform"

    def seconds(self, share: float) -> float:
        """The duration below which the given share of all durations lies; 0 <= share < 1."""
        if self.distribution == "uniform" or self.min_s == self.max_s:
            return self.min_s + (self.max_s - self.min_s) * share
        low, high = math.log(self.min_s), math.log(self.max_s)
        # The quantile function has no value at 0.
        normal = NormalDist((low + high) / 2, (high - low) / (2 * _END_QUANTILE))
        return math.exp(normal.inv_cdf(max(share, 1e-9)))

    def to_json(self) -> Any:
        """What `latencies_from_json` reads."""
        if self.distribution == "uniform":
            return [self.min_s, self.max_s]
        return {"distribution": self.distribution, "min_s": self.min_s, "max_s": self.max_s}


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


def parse_latencies(text: str) -> dict[str, Latency]:
    """Read `image=0.2,video=1-2,audio=~3-20` (a tilde: lognormal) or JSON; platform seconds.

    Keys are `image`, `video`, `audio`, `text`, `3d` or a taskType. Raises ConfigError.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        try:
            return latencies_from_json(orjson.loads(stripped))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"latency: not JSON ({error}); {_EXAMPLE}") from error
    found: dict[str, Latency] = {}
    for part in filter(None, (piece.strip() for piece in stripped.split(","))):
        name, _, value = part.partition("=")
        low, _, high = value.removeprefix("~").partition("-")
        try:
            ends = float(low), float(high or low)
        except ValueError as error:
            raise ConfigError(f"latency: {part!r} is not NAME=SECONDS; {_EXAMPLE}") from error
        found[name.strip()] = latency(name, *ends, "lognormal" if value.startswith("~") else "uniform")
    return found


def latencies_from_json(values: Any) -> dict[str, Latency]:
    """The same from decoded JSON: seconds, [min, max], or {"distribution", "min_s", "max_s"} by name.

    Raises ConfigError.
    """
    if not isinstance(values, dict):
        raise ConfigError('latencies: must be an object such as {"image": 0.2, "video": [1, 2]}')
    found: dict[str, Latency] = {}
    for name, value in values.items():
        match value:
            case int() | float():
                found[name] = latency(name, value, value)
            case [int() | float() as low, int() | float() as high]:
                found[name] = latency(name, low, high)
            case {"distribution": str(distribution), "min_s": int() | float() as low, **rest}:
                found[name] = latency(name, low, rest.get("max_s", low), distribution)
            case _:
                raise ConfigError(f"latencies.{name}: must be seconds or [min, max], not {value!r}")
    return found


def latency(name: str, low: float, high: Any, distribution: str = "uniform") -> Latency:
    """A checked latency; `name` is what an error calls it. Raises ConfigError."""
    if distribution not in get_args(Distribution):
        raise ConfigError(
            f"latency {name}: {distribution!r} is no distribution; known are {', '.join(get_args(Distribution))}"
        )
    if not isinstance(high, int | float) or not 0 <= low <= high:
        raise ConfigError(f"latency {name}: {low} to {high} is no range; give 0 <= min <= max, in seconds")
    if distribution == "lognormal" and low == 0:
        raise ConfigError(f"latency {name}: a lognormal duration is never 0; give a min above 0")
    return Latency(float(low), float(high), "lognormal" if distribution == "lognormal" else "uniform")
