"""Planets: banded balls with a night side, and the ring of the largest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from .canvas import Canvas, Point
from .palettes import Colour, mix

if TYPE_CHECKING:
    from .plan import Plan


def draw_planets(canvas: Canvas, plan: Plan) -> None:
    """One large planet with a ring, and two moons."""
    random = plan.random("planets")
    palette = plan.palette
    for number, (x, y, share) in enumerate(
        (
            (0.5 + plan.side * 0.16, 0.47, 0.24),
            (0.5 - plan.side * 0.30, 0.22, 0.06),
            (0.5 - plan.side * 0.22, 0.72, 0.035),
        )
    ):
        centre, radius = (canvas.x(x), canvas.y(y)), canvas.unit * share
        colour = (palette.accent, (120, 150, 220), (190, 120, 200))[number]
        canvas.glow(centre, radius * 1.9, colour, 0.35)
        _planet(canvas, centre, radius, colour, random.random())
        if number == 0:
            _ring(canvas, centre, radius, mix(colour, (255, 240, 220), 0.5))


def _planet(canvas: Canvas, centre: Point, radius: float, colour: Colour, tilt: float) -> None:
    """A banded ball with a night side."""
    side = max(4, round(radius * 2))
    ball = Canvas(Image.new("RGB", (side, side)))
    light, dark = mix(colour, (255, 245, 230), 0.55), mix(colour, (30, 15, 50), 0.55)
    ball.fill_gradient(
        (light, colour, mix(light, colour, 0.5), dark, colour, mix(dark, colour, 0.5), dark), 0, 1
    )
    shadow = (
        Image.radial_gradient("L")
        .resize((side * 2, side * 2))
        .point([min(235, round(v * 1.75)) for v in range(256)])
    )
    offset = round(side * (0.62 + 0.1 * tilt))
    ball.image.paste((4, 2, 14), (0, 0), shadow.crop((offset, offset, offset + side, offset + side)))
    mask = Canvas(Image.new("RGB", (side * 2, side * 2)))
    mask.disc((side, side), side - 1, (255, 255, 255))
    alpha = mask.image.getchannel("R").resize((side, side), Image.Resampling.BOX)
    canvas.image.paste(ball.image, (round(centre[0] - radius), round(centre[1] - radius)), alpha)


def _ring(canvas: Canvas, centre: Point, radius: float, colour: Colour) -> None:
    """Rings, the far half left out where the planet hides it."""
    for number in range(9):
        reach = radius * (1.42 + 0.07 * number)
        alpha = (150, 190, 120, 60, 170, 200, 140, 90, 60)[number]
        for part in range(64):
            start, end = math.tau * part / 64, math.tau * (part + 1) / 64
            hidden = (
                math.sin((start + end) / 2) < 0 and abs(math.cos((start + end) / 2)) * reach < radius * 1.0
            )
            if not hidden:
                line = [
                    (
                        centre[0] + math.cos(at) * reach,
                        centre[1] + math.sin(at) * reach * 0.24 - math.cos(at) * reach * 0.16,
                    )
                    for at in (start, end)
                ]
                canvas.stroke(line, colour, radius * 0.03, alpha)
