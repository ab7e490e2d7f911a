"""The file of a finished item: which picture, film, sound or model belongs to which task.

Everything follows from the task alone (prompt, seed, size, input), so a file made twice is the same.
Media given as an address elsewhere is never fetched: a picture is drawn from the address instead.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFilter, UnidentifiedImageError

from .audio import compose
from .files import cube_glb, training_zip
from .kinds import media_input
from .pictures.cutout import cut_out, edges, masked
from .pictures.scene import draw_picture
from .results import output_format
from .video import film

if TYPE_CHECKING:
    from .protocol import Platform
    from .tasks import Task

_DEFAULT_SIDE = 1024
_LARGEST_UPSCALED_SIDE = 4096
_LONGEST_FILM_S = 6.0
_LONGEST_SOUND_S = 30.0
_ITEM_IN_URL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_PILLOW_FORMATS = {"JPG": "JPEG", "PNG": "PNG", "WEBP": "WEBP"}


def produce(task: Task, index: int, platform: Platform | None) -> bytes:
    """The bytes of an item in the format asked for. Safe to call from any thread."""
    request = task.parameters()
    match task.kind.media:
        case "video":
            seconds = min(_LONGEST_FILM_S, _number(request, "duration", 3.0))
            return film(_prompt(request), task.seed + index, _size(request, (1280, 720)), seconds)
        case "audio":
            seconds = min(_LONGEST_SOUND_S, _number(request, "duration", 5.0))
            return compose(_prompt(request), task.seed + index, seconds, output_format(task))
        case "model":
            return cube_glb(_prompt(request), task.seed + index)
        case "archive":
            return training_zip(str(request["importModel"]["air"]), task.seed)
        case "image":
            image = _image(task, index, request, platform)
            return encode(image, output_format(task), int(_number(request, "outputQuality", 95)))


def encode(image: Image.Image, file_format: str, quality: int) -> bytes:
    """The image as JPG, PNG or WEBP; transparency becomes white in a JPG."""
    if file_format == "JPG" and image.mode == "RGBA":
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image.getchannel("A"))
        image = opaque
    out = io.BytesIO()
    # Fast settings: a demo fetches thousands of these.
    options: dict[str, Any] = {"method": 2} if file_format == "WEBP" else {"compress_level": 3}
    image.save(out, _PILLOW_FORMATS[file_format], quality=quality, **options)
    return out.getvalue()


def _image(task: Task, index: int, request: dict[str, Any], platform: Platform | None) -> Image.Image:
    if not task.kind.needs_input:
        return draw_picture(
            _prompt(request), task.seed + index, _size(request, (_DEFAULT_SIDE, _DEFAULT_SIDE))
        )
    source = _input_image(media_input(request) or "", platform)
    match task.kind.name:
        case "upscale":
            factor = min(_number(request, "upscaleFactor", 2), _LARGEST_UPSCALED_SIDE / max(source.size))
            size = (max(1, round(source.width * factor)), max(1, round(source.height * factor)))
            return source.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))
        case "removeBackground":
            return cut_out(source)
        case "imageMasking":
            return masked(source)
        case _:
            return edges(source)


def _input_image(reference: str, platform: Platform | None) -> Image.Image:
    """The picture a tool works on: an upload, an earlier result, inline bytes, or one drawn for an address."""
    found = _ITEM_IN_URL.search(reference) if len(reference) < 2000 else None  # noqa: PLR2004  # longer ones are inline bytes
    if found is not None and platform is not None:
        media = platform.media.get(found[0])
        if media is not None and media.body:
            return _opened(media.body, reference)
        item = platform.items.get(found[0])
        if item is not None and item[0].kind.media == "image":
            return _opened(produce(item[0], item[1], platform), reference)
    if found is None and not reference.startswith("http"):
        try:
            return _opened(base64.b64decode(reference.partition(",")[2] or reference), reference)
        except binascii.Error:
            pass  # not inline bytes either: draw something for it below
    return draw_picture(reference[:80], 1, (_DEFAULT_SIDE, _DEFAULT_SIDE))


def _opened(body: bytes, reference: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(body)).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return draw_picture(reference[:80], 1, (_DEFAULT_SIDE, _DEFAULT_SIDE))


def _prompt(request: dict[str, Any]) -> str:
    speech = request.get("speech")
    spoken = speech.get("text") if isinstance(speech, dict) else None
    return str(request.get("positivePrompt") or spoken or request["model"])


def _size(request: dict[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    return int(_number(request, "width", default[0])), int(_number(request, "height", default[1]))


def _number(request: dict[str, Any], name: str, default: float) -> float:
    value = request.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
