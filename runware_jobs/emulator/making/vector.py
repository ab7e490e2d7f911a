"""Pictures as SVG: areas of one colour, traced along the edges of their pixels and rounded off."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

Corner = tuple[int, int]

_WORK_SIDE = 144
_COLOURS = 18
# In pixels of the working copy; smaller islands belong to their neighbours.
_SMALLEST_LOOP = 6
# Of a rounded corner, in the same pixels: a staircase becomes a slope, a rectangle stays one.
_RADIUS = 1.0


def trace(image: Image.Image, title: str) -> bytes:
    """An SVG document of the picture's areas, in the picture's size, with the title as its name."""
    width, height = image.size
    work = image.convert("RGB")
    work.thumbnail((_WORK_SIDE, _WORK_SIDE), Image.Resampling.LANCZOS)
    indexed = work.filter(ImageFilter.MedianFilter(3)).quantize(
        _COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    indexed = indexed.filter(ImageFilter.ModeFilter(3)) if indexed.mode == "L" else indexed
    palette = indexed.getpalette() or []
    pixels = indexed.tobytes()
    largest_first = [index for _, index in sorted(_counted(pixels), reverse=True)]
    paths = []
    for index in largest_first:
        colour = "#{:02x}{:02x}{:02x}".format(*palette[3 * index : 3 * index + 3])
        outline = "".join(_rounded(loop) for loop in _loops(pixels, work.size, index))
        if outline:
            # A hairline in the same colour closes the seams between rounded neighbours.
            paths.append(f'<path fill="{colour}" stroke="{colour}" d="{outline}"/>')
    ground = "#{:02x}{:02x}{:02x}".format(*palette[3 * largest_first[0] :][:3])
    document = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {work.width} {work.height}"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="{ground}"/>'
        f'<g fill-rule="evenodd" stroke-width="0.6" stroke-linejoin="round">{"".join(paths)}</g></svg>'
    )
    return document.encode()


def _counted(pixels: bytes) -> list[tuple[int, int]]:
    """How often each colour of the palette occurs, with its index."""
    return [(pixels.count(index), index) for index in set(pixels)]


def _loops(pixels: bytes, size: tuple[int, int], index: int) -> Iterator[list[Corner]]:
    """The closed borders of the areas with that colour, as corners of pixels, holes included."""
    steps = _border_steps(pixels, size, index)
    while steps:
        start = next(iter(steps))
        loop, corner = [], start
        while True:
            loop.append(corner)
            following = steps[corner]
            step = following.pop()
            if not following:
                del steps[corner]
            corner = step
            if corner == start:
                break
        if len(loop) >= _SMALLEST_LOOP:
            yield loop


def _border_steps(pixels: bytes, size: tuple[int, int], index: int) -> dict[Corner, list[Corner]]:
    """From each corner on a border to the next ones, walking with the colour on the right."""
    width, height = size
    steps: dict[Corner, list[Corner]] = defaultdict(list)
    for y in range(height):
        row = y * width
        for x in range(width):
            if pixels[row + x] != index:
                continue
            if y == 0 or pixels[row - width + x] != index:
                steps[x, y].append((x + 1, y))
            if x == width - 1 or pixels[row + x + 1] != index:
                steps[x + 1, y].append((x + 1, y + 1))
            if y == height - 1 or pixels[row + width + x] != index:
                steps[x + 1, y + 1].append((x, y + 1))
            if x == 0 or pixels[row + x - 1] != index:
                steps[x, y + 1].append((x, y))
    return steps


def _rounded(loop: list[Corner]) -> str:
    """A path along the border with its corners rounded off."""
    corners = [
        corner
        for previous, corner, following in zip([loop[-1], *loop], loop, [*loop[1:], loop[0]], strict=False)
        if (corner[0] - previous[0]) * (following[1] - corner[1])
        != (corner[1] - previous[1]) * (following[0] - corner[0])
    ]
    path: list[str] = []
    for before, corner, after in zip(
        [corners[-1], *corners], corners, [*corners[1:], corners[0]], strict=False
    ):
        entry, leave = _towards(corner, before), _towards(corner, after)
        path.append(
            f"{'L' if path else 'M'}{entry[0]:g} {entry[1]:g}Q{corner[0]} {corner[1]} {leave[0]:g} {leave[1]:g}"
        )
    return "".join(path) + "Z"


def _towards(corner: Corner, other: Corner) -> tuple[float, float]:
    """A point on the way from one corner to the next, where the rounding of the first ends."""
    length = max(abs(other[0] - corner[0]), abs(other[1] - corner[1]))
    share = min(0.5, _RADIUS / length)
    return corner[0] + (other[0] - corner[0]) * share, corner[1] + (other[1] - corner[1]) * share
