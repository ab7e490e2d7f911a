"""Identifiers and numbers derived from others, so that a restart or a second run makes the same ones."""

from __future__ import annotations

import re
from hashlib import blake2b

_UUID_V4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
# Longer texts are inline bytes, no references.
_LONGEST_REFERENCE = 2000
_VARIANTS = "89ab"


def is_uuid_v4(value: object) -> bool:
    return isinstance(value, str) and _UUID_V4.fullmatch(value) is not None


def uuid_in(reference: str) -> str | None:
    """The UUID that a reference is, or has in its address; None for inline bytes and other addresses."""
    found = _UUID_V4.search(reference) if len(reference) < _LONGEST_REFERENCE else None
    return found[0].lower() if found is not None else None


def derived_uuid(*parts: object) -> str:
    """A v4-shaped UUID that depends on the parts only."""
    digest = _digest(parts).hex()
    variant = _VARIANTS[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def derived_fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts only."""
    return int.from_bytes(_digest(parts)[:7]) / (1 << 56)


def derived_int(limit: int, *parts: object) -> int:
    """An integer in [0, limit) that depends on the parts only."""
    return int.from_bytes(_digest(parts)[:8]) % limit


def _digest(parts: tuple[object, ...]) -> bytes:
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()
