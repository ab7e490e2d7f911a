"""Still pictures, one function per task type: drawn from the prompt, or made from the picture given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from runware_jobs.emulator.numbers import number, whole
from runware_jobs.emulator.pictures.caption import write_caption
from runware_jobs.emulator.pictures.cutout import box_mask, cut_out, detections, subject_mask
from runware_jobs.emulator.pictures.plan import plan_picture
from runware_jobs.emulator.pictures.preprocess import guide
from runware_jobs.emulator.pictures.scene import draw_scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runware_jobs.emulator.pictures.cutout import Box, Part

    from .inputs import Inputs

Parameters = dict[str, Any]

DEFAULT_SIDE = 1024
_LARGEST_UPSCALED_SIDE = 4096
_MOST_REFERENCES = 4
_DEFAULT_STRENGTH = 0.8
# What the last part of a masking model's name says about what it finds.
_PARTS: Mapping[str, tuple[Part, ...]] = {
    "hand": ("hand",),
    "person": ("person",),
    "eyes-lips": ("eyes", "lips"),
    "nose-eyes": ("nose", "eyes"),
    "nose-lips": ("nose", "lips"),
    "nose": ("nose",),
    "lips": ("lips",),
    "eyes": ("eyes",),
}
_SEED_IMAGE = ("seedImage", "image", "inputImage")
_REFERENCES = (
    "referenceImages",
    "inputImages",
    "images",
    "ipAdapters",
    "controlNet",
    "guideImage",
    "acePlusPlus",
)


def paint(request: Parameters, seed: int, inputs: Inputs) -> Image.Image:
    """The scene of the prompt; with a seed image grown out of it, with references pinned onto it."""
    prompt = prompt_of(request)
    first = inputs.picture(*_SEED_IMAGE)
    size = size_of(request, first.size if first is not None else (DEFAULT_SIDE, DEFAULT_SIDE))
    image = draw_scene(plan_picture(prompt, seed), size, 0.0)
    if first is not None:
        image = _joined(image, first, request, inputs.picture("maskImage", "mask"))
    _pin(image, [inputs.opened(one) for one in inputs.references(*_REFERENCES)[:_MOST_REFERENCES]])
    write_caption(image, prompt, seed, over_text=first is not None)
    return image


def upscaled(image: Image.Image, request: Parameters) -> Image.Image:
    """The picture enlarged by `upscaleFactor` (2 where not said), or to the size asked for."""
    factor = number(request.get("upscaleFactor"), 2.0)
    width, height = size_of(request, (round(image.width * factor), round(image.height * factor)))
    limit = min(1.0, _LARGEST_UPSCALED_SIDE / max(width, height))
    size = (max(1, round(width * limit)), max(1, round(height * limit)))
    return image.resize(size, Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))


def without_background(image: Image.Image, request: Parameters) -> Image.Image:
    """The subject alone; `settings` may ask for a colour behind it, or for the mask only."""
    settings = {**request, **_object(request.get("settings"))}
    if settings.get("returnOnlyMask") is True:
        return subject_mask(image).convert("RGB")
    rgba = settings.get("rgba")
    if isinstance(rgba, list) and len(rgba) == 4:  # noqa: PLR2004  # red, green, blue, alpha
        red, green, blue, alpha = (max(0, min(255, whole(value, 0))) for value in rgba)
        return cut_out(image, (red, green, blue, alpha))
    return cut_out(image)


def preprocessed(image: Image.Image, request: Parameters) -> Image.Image:
    """The guide picture of the preprocessor asked for, in the size asked for."""
    settings = {**request, **_object(request.get("settings"))}
    name = str(request.get("preProcessorType") or str(request.get("model", "")).rpartition("@")[2])
    result = guide(
        image,
        name.lower(),
        low=whole(settings.get("lowThresholdCanny", settings.get("lowThreshold")), 100),
        high=whole(settings.get("highThresholdCanny", settings.get("highThreshold")), 200),
    )
    return result.resize(size_of(request, image.size))


def found_boxes(image: Image.Image, request: Parameters, slug: str) -> list[Box]:
    """Where a masking model finds what it looks for; `slug` is its short name."""
    settings = {**request, **_object(request.get("settings"))}
    return detections(
        image,
        _parts(slug),
        padding=max(0, whole(settings.get("maskPadding"), 0)),
        most=max(1, whole(settings.get("maxDetections"), 6)),
        key=slug,
    )


def mask(image: Image.Image, request: Parameters, slug: str) -> Image.Image:
    """White where the model finds something, black elsewhere."""
    settings = {**request, **_object(request.get("settings"))}
    blur = max(0, whole(settings.get("maskBlur"), 4))
    if _parts(slug) == ("person",):
        return subject_mask(image).convert("RGB")
    return box_mask(image.size, found_boxes(image, request, slug), blur).convert("RGB")


def _parts(slug: str) -> tuple[Part, ...]:
    return next((parts for word, parts in _PARTS.items() if word in slug), ("face",))


def prompt_of(request: Parameters) -> str:
    """What the task is about, in words."""
    speech = _object(request.get("speech")).get("text")
    return str(request.get("positivePrompt") or speech or request.get("model") or request["taskType"])


def size_of(request: Parameters, default: tuple[int, int]) -> tuple[int, int]:
    """Width and height asked for, else the default, in pixels."""
    return whole(request.get("width"), default[0]), whole(request.get("height"), default[1])


def _joined(
    image: Image.Image, first: Image.Image, request: Parameters, masked_area: Image.Image | None
) -> Image.Image:
    """The drawn picture with the given one in it: around it, under a mask, or shining through."""
    outpaint = request.get("outpaint")
    if isinstance(outpaint, dict):
        return _outpainted(image, first, outpaint)
    fitted = ImageOps.fit(first, image.size)
    if masked_area is not None:
        area = ImageOps.fit(masked_area.convert("L"), image.size).filter(ImageFilter.GaussianBlur(2))
        return Image.composite(image, fitted, area)
    strength = max(0.0, min(1.0, number(request.get("strength"), _DEFAULT_STRENGTH)))
    # Even at full strength something of the seed stays to be seen, or nobody could tell it was used.
    return Image.blend(fitted, image, 0.15 + 0.65 * strength)


def _outpainted(image: Image.Image, first: Image.Image, outpaint: Parameters) -> Image.Image:
    """The given picture in its place, with the drawn one where `outpaint` has made room."""
    left, top, right, bottom = (
        max(0, whole(outpaint.get(side), 0)) for side in ("left", "top", "right", "bottom")
    )
    size = (max(1, image.width - left - right), max(1, image.height - top - bottom))
    blur = max(0, whole(outpaint.get("blur"), 0))
    stays = Image.new("L", image.size)
    inner = (left + blur, top + blur, left + size[0] - blur, top + size[1] - blur)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        ImageDraw.Draw(stays).rectangle(inner, fill=255)
    placed = image.copy()
    placed.paste(ImageOps.fit(first, size), (left, top))
    return Image.composite(placed, image, stays.filter(ImageFilter.GaussianBlur(blur / 2)) if blur else stays)


def _pin(image: Image.Image, references: Sequence[Image.Image]) -> None:
    """Small framed copies of the references in a row at the top right."""
    side = max(24, min(image.size) // 6)
    frame = max(2, side // 28)
    x, y = image.width, side // 8
    for reference in references:
        x -= side + side // 8
        if x < 0:
            return
        card = Image.new("RGB", (side, side), (250, 248, 242))
        card.paste(ImageOps.fit(reference, (side - 2 * frame, side - 2 * frame)), (frame, frame))
        shadow = Image.new("L", (side, side), 90)
        image.paste((0, 0, 0), (x + frame, y + frame), shadow)
        image.paste(card, (x, y))


def _object(value: Any) -> Parameters:
    return value if isinstance(value, dict) else {}
