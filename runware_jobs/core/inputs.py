"""Large inputs out of params, and back in: a job's row holds a reference, never the media.

A producer's data URI above `LARGE_BYTES` becomes `{"$input": "<sha256>"}`. What is
sent has the media in its place again: its UUID where it was uploaded ahead of the
job, else a data URI. The same picture in a thousand jobs is stored and uploaded once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from runware_jobs.errors import InvalidJob

from .states import Inputs, Kind
from .task_types import TASK_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Place = tuple[str, ...]

LARGE_BYTES: Final = 8_192
"""Below this a reference costs more than it saves."""

INLINE_BYTES: Final = 65_536
"""Up to this a picture goes along with its task. An upload is a request of its own, and
requests are what the platform rations; fifty pictures of this size still fit one submit."""

MAX_INPUT_BYTES: Final = 50_000_000

KEPT_S: Final = 12 * 3_600.0
"""How long an upload is relied on. The platform does not say how long it keeps one
(PROTOCOL 17.11): long enough for a batch over night, short enough that what it may have
forgotten is uploaded again before a job is refused for it."""

REFERENCE: Final = "$input"
_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)
_UPLOAD: Final = b"runware-jobs/input/1"

# Parameters that take the UUID of an upload, here or anywhere below (PROTOCOL 5).
_TAKE_UUIDS: Final = frozenset(
    {
        "inputs",
        "inputImage",
        "inputImages",
        "inputVideo",
        "seedImage",
        "maskImage",
        "guideImage",
        "referenceImages",
        "referenceVideos",
        "frameImages",
        "controlNet",
        "ipAdapters",
        "acePlusPlus",
        "instantID",
        "puLID",
    }
)


@dataclass(frozen=True, slots=True)
class NewInput:
    """Media to be stored under its content hash; `goes_ahead`: uploaded before its job is sent."""

    sha256: bytes
    content: bytes
    media_type: str
    goes_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """Where params stand for an input."""

    place: Place
    sha256: bytes

    @property
    def parameter(self) -> str:
        """The place as the platform would name it."""
        return ".".join(self.place)


def extract_inputs(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[NewInput]]:
    """Replace large data URIs by references; return the params and what they refer to.

    Raises:
        InvalidJob: a data URI is no base64, or larger than the platform takes, or a
            caller wrote a reference of its own.
    """
    found: dict[bytes, NewInput] = {}

    def replace(value: Any, place: Place) -> Any:
        if isinstance(value, dict):
            if REFERENCE in value:
                raise InvalidJob(f"{REFERENCE} is ours: pass the media itself", parameter=REFERENCE)
            return {name: replace(inner, (*place, str(name))) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [replace(inner, (*place, str(position))) for position, inner in enumerate(value)]
        if not isinstance(value, str) or len(value) < LARGE_BYTES:
            return value
        match = _DATA_URI.match(value[:200])
        if match is None:
            return value
        content, media_type = _decode(value[match.end() :]), match.group(1)
        sha256 = hashlib.sha256(content).digest()
        known = found.get(sha256)
        ahead = goes_ahead(params.get("taskType"), place, media_type, len(content))
        found[sha256] = NewInput(
            sha256, content, media_type, ahead or (known is not None and known.goes_ahead)
        )
        return {REFERENCE: sha256.hex()}

    return replace(dict(params), ()), list(found.values())


def inputs_of(found: Sequence[NewInput]) -> Inputs | None:
    """Say where a new job's inputs stand: None without any, `ready` when all of them go along with it."""
    if not found:
        return None
    return Inputs.AWAITED if any(new.goes_ahead for new in found) else Inputs.READY


def goes_ahead(task_type: object, place: Place, media_type: str, size_bytes: int) -> bool:
    """Tell whether an input at this place is uploaded before its job is sent.

    Not where a UUID means something else (an upload is given the media itself) or is
    unknown to be taken, and not where a picture is small enough to go along. Anything
    but a picture is: videos and datasets are taken by UUID or URL only (PROTOCOL 5, 7).
    """
    if task_type in TASK_TYPES[Kind.UPLOAD] or not place or place[0] not in _TAKE_UUIDS:
        return False
    return size_bytes > INLINE_BYTES or not media_type.startswith("image/")


def references(params: Mapping[str, Any]) -> list[Reference]:
    """List the places where params refer to inputs, in their order."""
    return list(_references(params, ()))


def restore_inputs(params: Any, media: Callable[[Reference], str]) -> Any:
    """Put `media(reference)` (a data URI or a media UUID) where params hold a reference."""
    return _restore(params, (), media)


def data_uri(media_type: str, content: bytes) -> str:
    """Spell media as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def upload_task_uuid(secret: bytes, account_id: int, tenant: str, sha256: bytes, number: int) -> UUID:
    """Derive the task UUID of an input's upload number `number`: sent again, it is the same task."""
    message = b"|".join((_UPLOAD, b"%d" % account_id, tenant.encode(), sha256, b"%d" % number))
    return UUID(bytes=hmac.digest(secret, message, "sha256")[:16], version=4)


def is_about_media(code: str, parameter: str | None) -> bool:
    """Tell whether an error may say that media was not found: it names neither the model nor the task."""
    named = (parameter or "").rpartition(".")[2]
    return code == "notFound" and named not in {"model", "taskUUID"}


def _references(value: Any, place: Place) -> Iterator[Reference]:
    if isinstance(value, dict):
        if set(value) == {REFERENCE}:
            yield Reference(place, bytes.fromhex(value[REFERENCE]))
            return
        for name, inner in value.items():
            yield from _references(inner, (*place, str(name)))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _references(inner, (*place, str(position)))


def _restore(value: Any, place: Place, media: Callable[[Reference], str]) -> Any:
    if isinstance(value, dict):
        if set(value) == {REFERENCE}:
            return media(Reference(place, bytes.fromhex(value[REFERENCE])))
        return {name: _restore(inner, (*place, str(name)), media) for name, inner in value.items()}
    if isinstance(value, list):
        return [_restore(inner, (*place, str(position)), media) for position, inner in enumerate(value)]
    return value


def _decode(encoded: str) -> bytes:
    try:
        content = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise InvalidJob("a data URI in params is not valid base64", parameter="params") from None
    if len(content) > MAX_INPUT_BYTES:
        raise InvalidJob(
            f"an input has {len(content)} bytes; at most {MAX_INPUT_BYTES}: pass a URL", parameter="params"
        )
    return content
