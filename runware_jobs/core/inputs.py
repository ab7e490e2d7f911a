"""Large inputs out of params, and back in: a job's row holds a reference, never the media.

A producer's data URI above `LARGE_BYTES` becomes `{"$input": "<sha256>"}`; the
submit puts the media back. The same picture in a thousand jobs is stored once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGE_BYTES: Final = 8_192
"""Below this a reference costs more than it saves."""

MAX_INPUT_BYTES: Final = 50_000_000
_REFERENCE: Final = "$input"
_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewInput:
    """Media to be stored under its content hash."""

    sha256: bytes
    content: bytes
    media_type: str


def extract_inputs(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[NewInput]]:
    """Replace large data URIs by references; return the params and what they refer to.

    Raises:
        InvalidJob: a data URI is no base64, or larger than the platform takes, or a
            caller wrote a reference of its own.
    """
    found: dict[bytes, NewInput] = {}

    def replace(value: Any) -> Any:
        if isinstance(value, dict):
            if _REFERENCE in value:
                raise InvalidJob(f"{_REFERENCE} is ours: pass the media itself", parameter=_REFERENCE)
            return {name: replace(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [replace(inner) for inner in value]
        if not isinstance(value, str) or len(value) < LARGE_BYTES:
            return value
        match = _DATA_URI.match(value[:200])
        if match is None:
            return value
        new = _decode(value[match.end() :], match.group(1))
        found[new.sha256] = new
        return {_REFERENCE: new.sha256.hex()}

    return replace(dict(params)), list(found.values())


def referenced_inputs(params: Any) -> set[bytes]:
    """Name the inputs that params refer to."""
    if isinstance(params, dict):
        if set(params) == {_REFERENCE}:
            return {bytes.fromhex(params[_REFERENCE])}
        return set().union(*(referenced_inputs(value) for value in params.values()))
    if isinstance(params, list):
        return set().union(*(referenced_inputs(value) for value in params))
    return set()


def restore_inputs(params: Any, media: Callable[[bytes], str]) -> Any:
    """Put `media(hash)` (a data URI or a media UUID) where params hold a reference."""
    if isinstance(params, dict):
        if set(params) == {_REFERENCE}:
            return media(bytes.fromhex(params[_REFERENCE]))
        return {name: restore_inputs(value, media) for name, value in params.items()}
    if isinstance(params, list):
        return [restore_inputs(value, media) for value in params]
    return params


def data_uri(media_type: str, content: bytes) -> str:
    """Spell media as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _decode(encoded: str, media_type: str) -> NewInput:
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise InvalidJob("a data URI in params is not valid base64", parameter="params") from None
    if len(content) > MAX_INPUT_BYTES:
        raise InvalidJob(
            f"an input has {len(content)} bytes; at most {MAX_INPUT_BYTES}: pass a URL", parameter="params"
        )
    return NewInput(hashlib.sha256(content).digest(), content, media_type)
