"""The subject of a picture: what stands out from its borders, as a mask, a cut-out, or boxes within it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from runware_jobs.emulator.identifiers import derived_fraction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Box = tuple[int, int, int, int]
Part = Literal["face", "hand", "person", "eyes", "nose", "lips"]

_WORK_SIDE = 160
# How far a colour may be from that of the border to count as background, summed over the channels. No
# one number suits every picture, so the one that leaves the best subject is taken.
_TOLERANCES = (140, 90, 50)
# A grey between black and white that marks one island of a mask.
_ISLAND = 100
# Of the picture: less is noise, more is a picture without a background.
_SMALLEST_SUBJECT, _LARGEST_SUBJECT = 0.015, 0.88
# Where a part sits within the subject's box: centre x, centre y, width, height, as shares.
_PARTS: Mapping[str, tuple[float, float, float, float]] = {
    "face": (0.5, 0.30, 0.42, 0.36),
    "hand": (0.24, 0.62, 0.20, 0.18),
    "person": (0.5, 0.5, 0.96, 0.98),
    "eyes": (0.5, 0.24, 0.34, 0.09),
    "nose": (0.5, 0.31, 0.10, 0.12),
    "lips": (0.5, 0.39, 0.18, 0.07),
}


def cut_out(image: Image.Image, background: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Image.Image:
    """The picture with everything but its subject in the colour of `background`, the edge softened."""
    result = Image.new("RGBA", image.size, background)
    subject = image.convert("RGBA")
    mask = subject_mask(image)
    if background[3] == 0:
        subject.putalpha(mask)
        return subject
    result.paste(subject, mask=mask)
    return result


def subject_mask(image: Image.Image) -> Image.Image:
    """White where the subject is: the main thing in colours that do not reach in from the borders.

    A picture whose colours never leave those of its borders gets its middle as the subject.
    """
    small = image.convert("RGB")
    small.thumbnail((_WORK_SIDE, _WORK_SIDE), Image.Resampling.BOX)
    soft = small.filter(ImageFilter.GaussianBlur(1))
    grey = small.convert("L")
    contrast = ImageChops.difference(grey, grey.filter(ImageFilter.GaussianBlur(_WORK_SIDE // 12)))
    best, best_score = _middle(small.size), 0.0
    for tolerance in _TOLERANCES:
        background = _reached_from_the_border(soft, tolerance)
        found, score = _main_thing(background.point(lambda v: 0 if v else 255), contrast)
        share = found.histogram()[255] / (found.width * found.height)
        if score > best_score and _SMALLEST_SUBJECT <= share <= _LARGEST_SUBJECT:
            best, best_score = found, score
    enlarged = best.resize(image.size, Image.Resampling.BICUBIC)
    return enlarged.filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 250)))


def detections(
    image: Image.Image, parts: Sequence[str], *, padding: int = 0, most: int = 8, key: str = ""
) -> list[Box]:
    """Boxes (left, top, right, bottom) of those parts of the subject, all within the picture, in pixels."""
    left, top, right, bottom = subject_mask(image).point(lambda v: 255 if v > 127 else 0).getbbox() or (  # noqa: PLR2004  # the middle of the range
        0,
        0,
        *image.size,
    )
    found = []
    for number, part in enumerate(parts[:most]):
        x, y, width, height = _PARTS[part]
        sway = 0.9 + 0.2 * derived_fraction("box", key, part, number)
        half_width, half_height = (right - left) * width * sway / 2, (bottom - top) * height * sway / 2
        centre_x, centre_y = left + (right - left) * x, top + (bottom - top) * y
        found.append(
            (
                max(0, round(centre_x - half_width) - padding),
                max(0, round(centre_y - half_height) - padding),
                min(image.width, max(round(centre_x + half_width) + padding, round(centre_x) + 1)),
                min(image.height, max(round(centre_y + half_height) + padding, round(centre_y) + 1)),
            )
        )
    return found


def box_mask(size: tuple[int, int], boxes: Sequence[Box], blur: int = 0) -> Image.Image:
    """White ovals in the boxes on black."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for left, top, right, bottom in boxes:
        draw.ellipse((left, top, right - 1, bottom - 1), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur else mask


def _reached_from_the_border(image: Image.Image, tolerance: int) -> Image.Image:
    """Non-zero where a flood of like colours from points along the borders gets to."""
    width, height = image.size
    marked = image.copy()
    reached = Image.new("L", image.size)
    # A colour no photograph has in bulk marks what the flood has taken.
    mark = (255, 0, 254)
    steps = 7
    points = [
        (round((width - 1) * step / steps), row) for step in range(steps + 1) for row in (0, height - 1)
    ]
    points += [
        (column, round((height - 1) * step / steps)) for step in range(steps + 1) for column in (0, width - 1)
    ]
    for point in points:
        if marked.getpixel(point) != mark:
            ImageDraw.floodfill(marked, point, mark, thresh=tolerance)
    flat = Image.new("RGB", image.size, mark)
    difference = _largest_channel_difference(marked, flat)
    reached.paste(255, mask=difference.point(lambda v: 255 if v == 0 else 0))
    return reached


def _main_thing(mask: Image.Image, contrast: Image.Image) -> tuple[Image.Image, float]:
    """The island of the mask that stands out most, its gaps closed, and by how much it does."""
    closed = mask.filter(ImageFilter.MaxFilter(11)).filter(ImageFilter.MinFilter(11))
    width, height = closed.size
    best, best_score = Image.new("L", mask.size), 0.0
    rest = closed.point(lambda v: 255 if v else 0)
    # Sown on a grid: an island that slips through is too small to be the subject.
    for y in range(2, height, 4):
        for x in range(2, width, 4):
            if rest.getpixel((x, y)) != 255:  # noqa: PLR2004  # white
                continue
            ImageDraw.floodfill(rest, (x, y), _ISLAND)
            island = rest.point(lambda v: 255 if v == _ISLAND else 0)
            rest = rest.point(lambda v: 0 if v == _ISLAND else v)
            score = _prominence(island, contrast)
            if score > best_score:
                best, best_score = island, score
    return best, best_score


def _prominence(island: Image.Image, contrast: Image.Image) -> float:
    """How much of a subject it is: contrast first, then size, a place in the middle, an upright shape."""
    left, top, right, bottom = island.getbbox() or (0, 0, 1, 1)
    area = island.histogram()[255]
    x, y = (left + right) / 2 / island.width - 0.5, (top + bottom) / 2 / island.height - 0.55
    central = max(0.05, 1 - 1.2 * math.hypot(x, y))
    upright = min(1.6, (bottom - top) / max(1, right - left) + 0.3)
    touches = (left == 0) + (top == 0) + (right == island.width)
    stands_out: float = ImageStat.Stat(contrast, island).mean[0]
    return math.sqrt(area) * central * upright * (1 + stands_out) ** 2 / float(3**touches)


def _largest_channel_difference(first: Image.Image, second: Image.Image) -> Image.Image:
    red, green, blue = ImageChops.difference(first, second).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _middle(size: tuple[int, int]) -> Image.Image:
    width, height = size
    mask = Image.new("L", size)
    box = (width * 0.14, height * 0.08, width * 0.86, height * 0.92)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=min(size) * 0.36, fill=255)
    return mask
