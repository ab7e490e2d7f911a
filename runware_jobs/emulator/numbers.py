"""Numbers out of a request, whatever was sent in their place."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any, default: float) -> float:
    """The value as a float, or the default for what is no finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return default


def whole(value: Any, default: int) -> int:
    """The value as an integer, or the default for what is no finite number."""
    return int(number(value, default))
