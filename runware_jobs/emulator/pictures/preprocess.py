"""Guide pictures for controlled generation: edges, depth, normals and the like of a given picture.

Each is computed from the pixels by plain image operations. They stand where the platform runs a network:
of the right kind and of that picture, not of that quality.
"""

from __future__ import annotations

import math
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from .cutout import subject_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FLAT = 128
_CANNY_GAIN = 8
_SEGMENTS = 9
# Colours of the ADE20K legend, so that a segmentation looks like one.
_LEGEND = (
    (120, 120, 120),
    (180, 120, 120),
    (6, 230, 230),
    (80, 50, 50),
    (4, 200, 3),
    (120, 120, 80),
    (140, 140, 140),
    (204, 5, 255),
    (230, 230, 230),
)
_HEAD, _NECK = (0.50, 0.12), (0.50, 0.24)
_BONES = (
    (_HEAD, _NECK),
    (_NECK, (0.34, 0.27)),
    ((0.34, 0.27), (0.27, 0.42)),
    ((0.27, 0.42), (0.31, 0.56)),
    (_NECK, (0.66, 0.27)),
    ((0.66, 0.27), (0.73, 0.42)),
    ((0.73, 0.42), (0.69, 0.56)),
    (_NECK, (0.42, 0.56)),
    ((0.42, 0.56), (0.40, 0.76)),
    ((0.40, 0.76), (0.38, 0.96)),
    (_NECK, (0.58, 0.56)),
    ((0.58, 0.56), (0.60, 0.76)),
    ((0.60, 0.76), (0.62, 0.96)),
)


def guide(image: Image.Image, kind: str, *, low: int = 100, high: int = 200) -> Image.Image:
    """The guide picture of that kind, as large as the image; an unknown kind gives edges.

    `kind` is the last part of a preprocessor's name (`canny`, `depth`, `openpose`...); `low` and `high` are
    the thresholds of canny, 0 to 255.
    """
    source = image.convert("RGB")
    if kind == "canny":
        return canny(source, low, high).convert("RGB")
    return _GUIDES.get(kind, _soft_edges)(source)


def canny(image: Image.Image, low: int, high: int) -> Image.Image:
    """Thin white edges on black: gradients, thinned to their crest, kept where they hang on a strong one."""
    across, down = _gradients(image)
    # Drawn edges are softer than those of photographs; the gain brings both into the usual thresholds.
    strength = ImageChops.add(across, down).point(lambda v: min(255, v * _CANNY_GAIN))
    is_steep_across = _above(ImageChops.subtract(across, down), 0)
    crest_across = _crest(strength, (1, 0))
    crest_down = _crest(strength, (0, 1))
    crest = ImageChops.composite(crest_across, crest_down, is_steep_across)
    thin = ImageChops.darker(crest, strength)
    strong, weak = _above(thin, high), _above(thin, low)
    for _ in range(6):
        strong = ImageChops.darker(strong.filter(ImageFilter.MaxFilter(3)), weak)
    # Neighbours beyond the edge come from the other side of the picture: nothing is known there.
    ImageDraw.Draw(strong).rectangle((0, 0, strong.width - 1, strong.height - 1), outline=0, width=2)
    return strong


def _depth(image: Image.Image) -> Image.Image:
    """Near is white: lower in the picture, and within the subject."""
    ground = Image.linear_gradient("L").resize(image.size)
    subject = subject_mask(image).filter(ImageFilter.GaussianBlur(max(2, min(image.size) // 40)))
    texture = ImageOps.autocontrast(
        ImageOps.grayscale(image).filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 90)))
    )
    depth = Image.blend(Image.blend(ground, subject, 0.45), texture, 0.15)
    return ImageOps.autocontrast(depth).convert("RGB")


def _normals(image: Image.Image) -> Image.Image:
    """Red and green lean with the slope, blue faces the viewer."""
    grey = ImageOps.grayscale(image).filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 200)))
    red = grey.filter(ImageFilter.Kernel((3, 3), (1, 0, -1, 2, 0, -2, 1, 0, -1), scale=1, offset=_FLAT))
    green = grey.filter(ImageFilter.Kernel((3, 3), (-1, -2, -1, 0, 0, 0, 1, 2, 1), scale=1, offset=_FLAT))
    blue = ImageChops.invert(ImageChops.lighter(*_gradients(image))).point(lambda v: 128 + v // 2)
    return Image.merge("RGB", (red, green, blue))


def _line_art(image: Image.Image) -> Image.Image:
    grey = ImageOps.grayscale(image)
    wide = grey.filter(ImageFilter.GaussianBlur(max(2, min(image.size) // 160)))
    return ImageOps.autocontrast(ImageChops.difference(grey, wide), cutoff=(0, 1)).convert("RGB")


def _anime_line_art(image: Image.Image) -> Image.Image:
    flat = image.quantize(12).convert("RGB").filter(ImageFilter.MedianFilter(3))
    return canny(flat, 60, 120).filter(ImageFilter.MaxFilter(3)).convert("RGB")


def _straight_lines(image: Image.Image) -> Image.Image:
    """Only what survives an opening along one of four directions: walls, horizons, roofs."""
    edges = canny(image, 60, 120).filter(ImageFilter.MaxFilter(3))
    reach = max(4, min(image.size) // 40)
    found = Image.new("L", image.size)
    for step in ((1, 0), (0, 1), (1, 1), (1, -1)):
        found = ImageChops.lighter(
            found, _along(_along(edges, step, reach, ImageChops.darker), step, reach, ImageChops.lighter)
        )
    return found.convert("RGB")


def _soft_edges(image: Image.Image) -> Image.Image:
    across, down = _gradients(image)
    edges = ImageOps.autocontrast(ImageChops.add(across, down), cutoff=(0, 0.5))
    return edges.filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 300))).convert("RGB")


def _scribble(image: Image.Image) -> Image.Image:
    soft = image.filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 180)))
    return canny(soft, 70, 140).filter(ImageFilter.MaxFilter(5)).convert("RGB")


def _segments(image: Image.Image) -> Image.Image:
    """Regions of like colour, each in a flat colour of the usual legend."""
    small = image.copy()
    small.thumbnail((256, 256))
    regions = small.filter(ImageFilter.MedianFilter(7)).quantize(_SEGMENTS, dither=Image.Dither.NONE)
    regions.putpalette([value for colour in _LEGEND for value in colour])
    return regions.convert("RGB").resize(image.size, Image.Resampling.NEAREST)


def _shuffled(image: Image.Image) -> Image.Image:
    """The picture's colours and textures, its shapes carried off in waves."""
    random = Random(7)  # noqa: S311  # the same picture is shuffled the same way
    columns, rows = 8, 8
    width, height = image.size
    mesh = []
    for row in range(rows):
        for column in range(columns):
            box = tuple(
                round(value)
                for value in (
                    column * width / columns,
                    row * height / rows,
                    (column + 1) * width / columns,
                    (row + 1) * height / rows,
                )
            )
            x, y = random.uniform(0, width * 0.8), random.uniform(0, height * 0.8)
            w, h = width / columns * 1.4, height / rows * 1.4
            mesh.append((box, (x, y, x, y + h, x + w, y + h, x + w, y)))
    shuffled = image.transform(image.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return shuffled.filter(ImageFilter.GaussianBlur(max(1, min(image.size) // 60)))


def _tiles(image: Image.Image) -> Image.Image:
    small = image.resize((max(1, image.width // 8), max(1, image.height // 8)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _pose(image: Image.Image) -> Image.Image:
    """A stick figure in the colours of the usual skeleton, standing where the subject is."""
    result = Image.new("RGB", image.size)
    box = subject_mask(image).point(lambda v: 255 if v > _FLAT else 0).getbbox() or (0, 0, *image.size)
    left, top, right, bottom = box
    width = min(right - left, (bottom - top) * 0.6)
    edge = (left + right - width) / 2
    draw = ImageDraw.Draw(result)
    thick = max(2, round(min(image.size) / 90))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return edge + point[0] * width, top + point[1] * (bottom - top)

    for number, (start, end) in enumerate(_BONES):
        draw.line((place(start), place(end)), fill=_rainbow(number / len(_BONES)), width=thick)
    for number, point in enumerate(sorted({point for bone in _BONES for point in bone})):
        x, y = place(point)
        draw.ellipse((x - thick, y - thick, x + thick, y + thick), fill=_rainbow(number / 14))
    return result


def _gradients(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """How steep each point is across and down, 0 to 127."""
    grey = ImageOps.grayscale(image).filter(ImageFilter.GaussianBlur(1.2))
    flat = Image.new("L", image.size, _FLAT)
    kernels = ((-1, 0, 1, -2, 0, 2, -1, 0, 1), (-1, -2, -1, 0, 0, 0, 1, 2, 1))
    across, down = (
        ImageChops.difference(grey.filter(ImageFilter.Kernel((3, 3), kernel, scale=2, offset=_FLAT)), flat)
        for kernel in kernels
    )
    return across, down


def _crest(strength: Image.Image, step: tuple[int, int]) -> Image.Image:
    """White where a point is at least as strong as both its neighbours along the step."""
    neighbours = ImageChops.lighter(
        ImageChops.offset(strength, *step), ImageChops.offset(strength, -step[0], -step[1])
    )
    return ImageChops.subtract(neighbours, strength).point(lambda v: 255 if v == 0 else 0)


def _above(image: Image.Image, limit: int) -> Image.Image:
    return image.point(lambda v: 255 if v > limit else 0)


def _along(
    image: Image.Image,
    step: tuple[int, int],
    reach: int,
    join: Callable[[Image.Image, Image.Image], Image.Image],
) -> Image.Image:
    result = image
    for distance in range(-(reach // 2), reach // 2 + 1):
        result = join(result, ImageChops.offset(image, step[0] * distance, step[1] * distance))
    return result


def _rainbow(share: float) -> tuple[int, int, int]:
    red, green, blue = (
        round(255 * max(0.0, min(1.0, 0.5 + math.cos(math.tau * (share - shift)))))
        for shift in (0, 1 / 3, 2 / 3)
    )
    return red, green, blue


_GUIDES: Mapping[str, Callable[[Image.Image], Image.Image]] = MappingProxyType(
    {
        "depth": _depth,
        "lineart": _line_art,
        "lineart-anime": _anime_line_art,
        "lineart_anime": _anime_line_art,
        "mlsd": _straight_lines,
        "normalbae": _normals,
        "openpose": _pose,
        "scribble": _scribble,
        "seg": _segments,
        "shuffle": _shuffled,
        "softedge": _soft_edges,
        "tile": _tiles,
    }
)
