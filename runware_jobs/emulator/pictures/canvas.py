"""The brush: gradients, glows, noise and ridges, on a Pillow image addressed in shares of its size.

Everything is made of a few whole-image operations, so that a picture costs tens of milliseconds without
an array library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw

from .palettes import Colour, between

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Point = tuple[float, float]
_GRADIENT_STEPS = 64


class Canvas:
    """An RGB image with soft and crisp tools. Coordinates are pixels unless a name says share."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.width, self.height = image.size
        self.unit = min(image.size)
        self.draw = ImageDraw.Draw(image, "RGBA")

    def x(self, share: float) -> float:
        return share * self.width

    def y(self, share: float) -> float:
        return share * self.height

    def fill_gradient(self, stops: Sequence[Colour], top: float, bottom: float) -> None:
        """Fill the rows between two shares with a vertical gradient."""
        box = (0, round(self.y(top)), self.width, round(self.y(bottom)))
        if box[3] > box[1]:
            self.image.paste(vertical_gradient(stops, (self.width, box[3] - box[1])), box[:2])

    def fill_shape(self, points: Sequence[Point], stops: Sequence[Colour], top: float) -> None:
        """Fill a polygon (pixels) with a vertical gradient that begins at the share `top`."""
        start = max(0, round(self.y(top)))
        size = (self.width, self.height - start)
        if size[1] <= 0:
            return
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon([(px, py - start) for px, py in points], fill=255)
        self.image.paste(vertical_gradient(stops, size), (0, start), mask)

    def glow(self, centre: Point, radius: float, colour: Colour, strength: float) -> None:
        """A soft round light around a point; `strength` 0 to 1."""
        side = max(2, round(radius * 2))
        mask = _GLOW.resize((side, side), Image.Resampling.BILINEAR).point(
            [round(v * strength) for v in range(256)]
        )
        self.image.paste(colour, (round(centre[0] - radius), round(centre[1] - radius)), mask)

    def disc(self, centre: Point, radius: float, colour: Colour, alpha: int = 255) -> None:
        cx, cy = centre
        self.draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=(*colour, alpha))

    def shape(self, points: Sequence[Point], colour: Colour, alpha: int = 255) -> None:
        self.draw.polygon(list(points), fill=(*colour, alpha))

    def stroke(self, points: Sequence[Point], colour: Colour, width: float, alpha: int = 255) -> None:
        self.draw.line(list(points), fill=(*colour, alpha), width=max(1, round(width)), joint="curve")

    def clouds(
        self,
        random: Random,
        colour: Colour,
        *,
        drift: float,
        cover: float,
        bottom: float,
        strength: float,
        stretch: float = 2.6,
    ) -> None:
        """Wisps above the share `bottom`; `cover` 0 to 1, `drift` in widths, `stretch` their length to height."""
        size = (self.width, max(1, round(self.y(bottom))))
        mask = _fractal_noise(random, size, drift, stretch)
        edge = 1 - cover
        ramp = [round(255 * strength * _smooth((v / 255 - edge * 0.62) / 0.42)) for v in range(256)]
        fade = vertical_gradient(((0, 0, 0), (255, 255, 255), (200, 200, 200), (0, 0, 0)), size).getchannel(
            "R"
        )
        self.image.paste(colour, (0, 0), ImageChops.multiply(mask.point(ramp), fade))


def vertical_gradient(stops: Sequence[Colour], size: tuple[int, int]) -> Image.Image:
    """An image of a gradient from top to bottom."""
    column = Image.new("RGB", (1, _GRADIENT_STEPS))
    column.putdata([between(stops, step / (_GRADIENT_STEPS - 1)) for step in range(_GRADIENT_STEPS)])
    return column.resize((1, size[1]), Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)


def ridge(random: Random, *, roughness: float, height: float, points: int = 129) -> list[float]:
    """Heights (0 to about `height`) of a mountain line by midpoint displacement."""
    line = [0.0] * points
    line[0], line[-1] = random.uniform(0.2, 0.8), random.uniform(0.2, 0.8)
    step, spread = points - 1, 0.55
    while step > 1:
        half = step // 2
        for index in range(half, points - 1, step):
            middle = (line[index - half] + line[index + half]) / 2
            line[index] = middle + random.uniform(-spread, spread)
        spread *= roughness
        step = half
    low, high = min(line), max(line)
    return [(value - low) / (high - low) * height for value in line]


def rolling(
    random: Random, *, height: float, waves: float, points: int = 129, shift: float = 0.0
) -> list[float]:
    """Heights of a smooth hill line: a few sines with seeded phases."""
    phases = [random.uniform(0, math.tau) for _ in range(3)]
    weights = (0.55, 0.3, 0.15)
    return [
        height
        * sum(
            weight
            * (0.5 + 0.5 * math.sin(math.tau * waves * (number + 1) * (index / (points - 1) + shift) + phase))
            for number, (weight, phase) in enumerate(zip(weights, phases, strict=True))
        )
        for index in range(points)
    ]


def _fractal_noise(random: Random, size: tuple[int, int], drift: float, stretch: float) -> Image.Image:
    """Smooth noise; `stretch` makes its grains wider than high, `drift` moves it to the left."""
    layers = []
    for columns in (6, 13, 29):
        rows = max(3, round(columns * stretch * size[1] / size[0]))
        grain = Image.frombytes("L", (columns, rows), random.randbytes(columns * rows))
        # Twice side by side, and a window over both: noise that can drift for ever.
        pair = Image.new("L", (columns * 2, rows))
        pair.paste(grain, (0, 0))
        pair.paste(grain, (columns, 0))
        start = (drift % 1.0) * columns
        layers.append(pair.resize(size, Image.Resampling.BICUBIC, box=(start, 0, start + columns, rows)))
    first = Image.blend(layers[0], layers[1], 0.36)
    return Image.blend(first, layers[2], 0.16)


def _smooth(value: float) -> float:
    clamped = max(0.0, min(1.0, value))
    return clamped * clamped * (3 - 2 * clamped)


def _soft_disc() -> Image.Image:
    """A round light that is full in the middle and gone at the rim of the circle."""
    # radial_gradient is 255 beyond the inscribed circle times sqrt(2); rescale so that the circle ends at 0.
    distance = Image.radial_gradient("L")
    rim = 255 / math.sqrt(2)
    return distance.point([round(255 * max(0.0, 1 - v / rim) ** 2) for v in range(256)])


_GLOW = _soft_disc()
