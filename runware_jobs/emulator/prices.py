"""What a task costs: a table of base prices, a factor per model, and the size of what is asked for.

Money is counted in whole micro-dollars; floats appear only in the `cost` field, as on the platform.
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .identifiers import derived_int

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .kinds import Kind

MICRO_PER_USD = 1_000_000
_MEGAPIXEL = 1024 * 1024

# Micro-dollars per unit: megapixel, second of video or audio, or one call.
_BASE: Mapping[str, int] = MappingProxyType(
    {
        "imageInference": 1300,
        "videoInference": 28_000,
        "audioInference": 900,
        "textInference": 450,
        "3dInference": 40_000,
        "upscale": 1900,
        "removeBackground": 600,
        "caption": 600,
        "controlNetPreprocess": 600,
        "imageMasking": 600,
        "vectorize": 10_000,
        "promptEnhance": 100,
        "training": 1_950_000,
        "modelUpload": 0,
    }
)


def price_micro_usd(kind: Kind, request: Mapping[str, Any]) -> int:
    """The price of ONE item of a valid request: the same for the same model, size and duration."""
    percent = 60 + derived_int(12, "price", request.get("model", "")) * 15
    return round(_BASE[kind.name] * _units(kind, request) * percent / 100)


def usd(micro: int) -> str:
    """Micro-dollars as exact decimal dollars, with at least four places: `0.1234`."""
    amount = Decimal(micro) / MICRO_PER_USD
    text = f"{amount:.6f}"
    return text.removesuffix("00")


def micro_usd(amount_usd: str) -> int:
    """Exact dollars as micro-dollars. Raises decimal.InvalidOperation on anything but a number."""
    return int(Decimal(amount_usd) * MICRO_PER_USD)


def _units(kind: Kind, request: Mapping[str, Any]) -> float:
    width, height = _number(request.get("width"), 1024), _number(request.get("height"), 1024)
    match kind.name:
        case "imageInference":
            return max(0.25, width * height / _MEGAPIXEL)
        case "videoInference":
            return _number(request.get("duration"), 5) * max(0.5, width * height / _MEGAPIXEL)
        case "audioInference":
            return _number(request.get("duration"), 10)
        case "training":
            return max(0.2, _number(request.get("trainingSteps"), 1000) / 1000)
        case _:
            return 1.0


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
