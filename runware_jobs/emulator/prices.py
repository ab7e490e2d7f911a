"""What a task costs: a table of base prices, a factor per model, and the size of what is asked for.

Money is counted in whole micro-dollars; floats appear only in the `cost` field, as on the platform.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .identifiers import derived_int
from .numbers import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kinds import Kind

MICRO_PER_USD = 1_000_000
_TABLE = Path(__file__).parent / "prices.json"
_MEGAPIXEL = 1024 * 1024


def price_micro_usd(kind: Kind, request: Mapping[str, Any]) -> int:
    """The price of ONE item of a valid request: the same for the same model, size and duration."""
    percent = 60 + derived_int(12, "price", request.get("model", "")) * 15
    price = _prices()[kind.name]
    return round(price.micro_usd * _units(price.per, request) * percent / 100)


def usd(micro: int) -> str:
    """Micro-dollars as exact decimal dollars, with at least four places: `0.1234`."""
    amount = Decimal(micro) / MICRO_PER_USD
    text = f"{amount:.6f}"
    return text.removesuffix("00")


def micro_usd(amount_usd: str) -> int:
    """Exact dollars as micro-dollars. Raises decimal.InvalidOperation on anything but a number."""
    return int(Decimal(amount_usd) * MICRO_PER_USD)


@dataclass(frozen=True, slots=True)
class _Price:
    """Micro-dollars for one unit of `per`."""

    micro_usd: int
    per: str


@cache
def _prices() -> Mapping[str, _Price]:
    """The price table by task type."""
    table = orjson.loads(_TABLE.read_bytes())["prices"]
    return {name: _Price(micro_usd(one["usd"]), one["per"]) for name, one in table.items()}


def _units(per: str, request: Mapping[str, Any]) -> float:
    """How many units a request asks for, with the usual size where it names none."""
    megapixels = number(request.get("width"), 1024) * number(request.get("height"), 1024) / _MEGAPIXEL
    match per:
        case "megapixel":
            return max(0.25, megapixels)
        case "megapixel second":
            return number(request.get("duration"), 5) * max(0.5, megapixels)
        case "second":
            return number(request.get("duration"), 10)
        case "1000 steps":
            return max(0.2, number(request.get("trainingSteps"), 1000) / 1000)
        case _:
            return 1.0
