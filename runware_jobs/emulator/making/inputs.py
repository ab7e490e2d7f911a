"""What a task was given to work on: the bytes, picture or film behind a UUID, URL, data URI or base64.

An address elsewhere is never fetched: a picture of the address is drawn in its place, the same each time.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from runware_jobs.emulator.identifiers import uuid_in
from runware_jobs.emulator.pictures.scene import draw_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runware_jobs.emulator.protocol import Platform
    from runware_jobs.emulator.tasks import Task

_DRAWN_SIZE = (1024, 1024)
_FILE_NAME = re.compile(r"[^/?#]+(?=[?#]|$)")


class Inputs:
    """The media inputs of one request; `make` makes the file of an earlier item that one refers to."""

    def __init__(
        self, request: Mapping[str, Any], platform: Platform, make: Callable[[Task, int], bytes]
    ) -> None:
        nested = request.get("inputs")
        self._request = request
        self._nested = nested if isinstance(nested, dict) else {}
        self._platform = platform
        self._make = make

    def references(self, *names: str) -> list[str]:
        """Every reference under these names, in the request or its `inputs`, in that order of names."""
        found: list[str] = []
        for name in names:
            for holder in (self._nested, self._request):
                found.extend(_strings(holder.get(name)))
        return found

    def picture(self, *names: str) -> Image.Image | None:
        """The first picture under one of these names; None where there is none."""
        found = self.references(*names)
        return self.opened(found[0]) if found else None

    def opened(self, reference: str) -> Image.Image:
        """The picture behind a reference. What is no picture becomes a drawing of its name."""
        body = self.body(reference)
        if body is not None:
            try:
                return Image.open(io.BytesIO(body)).convert("RGB")
            except (UnidentifiedImageError, OSError):
                pass  # a film, a sound or damaged bytes: draw something for it
        return draw_picture(_name(reference), 1, _DRAWN_SIZE)

    def body(self, reference: str) -> bytes | None:
        """The bytes behind a reference; None for an address elsewhere and for text that is no file."""
        uuid = uuid_in(reference)
        if uuid is not None:
            media = self._platform.media.get(uuid)
            if media is not None and media.body:
                return media.body
            item = self._platform.items.get(uuid)
            return self._make(*item) if item is not None else None
        if reference.startswith(("http://", "https://")):
            return None
        try:
            return base64.b64decode(reference.partition(",")[2] or reference, validate=True)
        except (binascii.Error, ValueError):
            return None


def _strings(value: Any) -> Iterator[str]:
    """The references in a value: itself, or those of a list of strings or of objects with an image."""
    match value:
        case str():
            if value:
                yield value
        case list():
            for one in value:
                yield from _strings(one)
        case dict():
            for name in ("image", "inputImage", "guideImage", "video", "url"):
                yield from _strings(value.get(name))


def _name(reference: str) -> str:
    """What to write under a drawing that stands for a file we do not have."""
    if not reference.startswith(("http://", "https://")):
        return reference[:40]
    names: list[str] = _FILE_NAME.findall(reference)
    return names[-1][:80] if names else reference[:80]
