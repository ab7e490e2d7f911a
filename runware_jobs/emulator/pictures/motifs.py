"""The things a prompt names, each drawn into the landscape: lighthouse, boat, trees, house, cat, ..."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .lighthouse import draw_lighthouse
from .palettes import Colour, mix

if TYPE_CHECKING:
    from .canvas import Canvas, Point
    from .plan import Plan

_PAST_THE_EDGE = 1.03


def draw_motifs(canvas: Canvas, plan: Plan, moment: float) -> None:
    """Draw everything the plan names, from far to near."""
    if plan.has("bird") or (plan.has("sea") and not plan.palette.dark):
        _birds(canvas, plan, moment)
    if plan.has("balloon"):
        _balloons(canvas, plan, moment)
    if plan.has("forest") and not plan.has("planet"):
        _forest(canvas, plan)
    if plan.has("desert"):
        _cacti(canvas, plan)
    if plan.has("house"):
        _house(canvas, plan)
    if plan.has("boat"):
        _boat(canvas, plan, moment)
    if plan.has("lighthouse"):
        draw_lighthouse(canvas, plan, moment)
    if plan.has("flower"):
        _flowers(canvas, plan, moment)
    if plan.has("cat"):
        _cat(canvas, plan)


def _boat(canvas: Canvas, plan: Plan, moment: float) -> None:
    unit = canvas.unit
    x = canvas.x(0.5 - plan.side * 0.17) + math.sin(math.tau * moment) * unit * 0.03
    y = canvas.y(plan.horizon + 0.12) + math.sin(math.tau * moment * 2) * unit * 0.006
    hull = mix(plan.palette.near, (70, 30, 25), 0.5)
    sail = mix((252, 246, 232), plan.palette.sky[-2], 0.3 if not plan.palette.dark else 0.6)
    for step in range(8):
        width = unit * (0.085 - step * 0.008)
        top = y + unit * (0.012 + step * 0.013)
        canvas.draw.ellipse((x - width, top, x + width, top + unit * 0.006), fill=(*sail, 60 - step * 6))
    canvas.shape(
        [
            (x - unit * 0.085, y - unit * 0.012),
            (x + unit * 0.1, y - unit * 0.02),
            (x + unit * 0.066, y + unit * 0.016),
            (x - unit * 0.06, y + unit * 0.016),
        ],
        hull,
    )
    canvas.stroke([(x, y - unit * 0.012), (x, y - unit * 0.22)], hull, unit * 0.005)
    canvas.shape(
        [
            (x + unit * 0.006, y - unit * 0.215),
            (x + unit * 0.006, y - unit * 0.03),
            (x + unit * 0.082, y - unit * 0.035),
        ],
        sail,
    )
    canvas.shape(
        [
            (x - unit * 0.007, y - unit * 0.19),
            (x - unit * 0.007, y - unit * 0.03),
            (x - unit * 0.058, y - unit * 0.03),
        ],
        mix(sail, plan.palette.accent, 0.55),
    )


def _forest(canvas: Canvas, plan: Plan) -> None:
    """Rows of firs, each row nearer, darker and larger, with mist between them."""
    rows = 4
    for row in range(rows):
        random = plan.random(f"trees{row}")
        nearness = 0.28 + 0.72 * row / (rows - 1)
        colour = mix(plan.palette.far, plan.palette.near, nearness)
        base = plan.horizon + 0.06 + 0.12 * row
        x = -0.03
        while x < _PAST_THE_EDGE:
            size = canvas.unit * (0.10 + 0.075 * row) * random.uniform(0.65, 1.15)
            # The near trees leave the middle open, so that one looks through.
            if row < rows - 1 or abs(x - 0.5) > random.uniform(0.16, 0.3):
                _fir(canvas, (canvas.x(x), canvas.y(base + random.uniform(0, 0.03))), size, colour)
            x += (0.022 + 0.018 * row) * random.uniform(0.6, 1.4)
        if row < rows - 1:
            haze = mix(plan.palette.sky[-1], colour, 0.45)
            steps = 12
            for step in range(steps):
                top = canvas.y(base - 0.02 + 0.10 * step / steps)
                alpha = round(70 * math.sin(math.pi * (step + 0.5) / steps) * (1 - nearness * 0.6))
                canvas.draw.rectangle(
                    (0, top, canvas.width, top + canvas.y(0.10 / steps)), fill=(*haze, alpha)
                )


def _fir(canvas: Canvas, foot: Point, size: float, colour: Colour) -> None:
    x, y = foot
    half = size * 0.24
    outline = [(x, y - size)]
    for level in range(1, 5):
        reach, depth = half * level / 4, y - size + size * 0.92 * level / 4
        outline += [(x + reach, depth), (x + reach * 0.45, depth - size * 0.02)]
    left = [(2 * x - px, py) for px, py in reversed(outline[1:])]
    canvas.shape([*outline, *left], colour)
    canvas.draw.rectangle((x - size * 0.025, y - size * 0.1, x + size * 0.025, y + size * 0.05), fill=colour)


def _birds(canvas: Canvas, plan: Plan, moment: float) -> None:
    random = plan.random("birds")
    colour = mix(plan.palette.near, plan.palette.sky[0], 0.25)
    for _ in range(9 if plan.has("bird") else 4):
        x = (0.5 - plan.side * 0.18 + random.gauss(0, 0.12) + moment * 0.12) % 1.0
        y, span = random.uniform(0.16, 0.42), canvas.unit * random.uniform(0.012, 0.028)
        flap = 0.5 + 0.3 * math.sin(math.tau * (moment * 4 + random.random()))
        cx, cy = canvas.x(x), canvas.y(y)
        wing = [
            (cx - span, cy - span * flap),
            (cx - span * 0.45, cy - span * flap * 0.95),
            (cx, cy),
            (cx + span * 0.45, cy - span * flap * 0.95),
            (cx + span, cy - span * flap),
        ]
        canvas.stroke(wing, colour, canvas.unit * 0.003, 220)


def _balloons(canvas: Canvas, plan: Plan, moment: float) -> None:
    random = plan.random("balloons")
    hues: tuple[Colour, ...] = ((214, 72, 62), (240, 170, 60), (60, 130, 170), (120, 90, 160), (70, 150, 110))
    places = (
        (0.0, 0.30, 0.105),
        (-0.28, 0.20, 0.05),
        (0.27, 0.40, 0.045),
        (0.36, 0.14, 0.03),
        (-0.38, 0.42, 0.026),
    )
    for number, (dx, y, share) in enumerate(places):
        radius = canvas.unit * share
        bob = math.sin(math.tau * (moment + random.random())) * 0.012
        x, top = canvas.x(0.5 + plan.side * (dx + 0.1)), canvas.y(y + bob)
        first, second = random.sample(hues, 2)
        basket = (x, top + radius * 1.75)
        canvas.shape(
            [
                (x - radius * 0.62, top + radius * 0.75),
                (x + radius * 0.62, top + radius * 0.75),
                (x + radius * 0.16, top + radius * 1.45),
                (x - radius * 0.16, top + radius * 1.45),
            ],
            first,
        )
        canvas.disc((x, top), radius, first)
        for half, colour in ((0.72, second), (0.40, first), (0.12, second)):
            canvas.draw.ellipse(
                (x - radius * half, top - radius, x + radius * half, top + radius), fill=colour
            )
            canvas.shape(
                [
                    (x - radius * half * 0.62, top + radius * 0.75),
                    (x + radius * half * 0.62, top + radius * 0.75),
                    (x + radius * half * 0.16, top + radius * 1.45),
                    (x - radius * half * 0.16, top + radius * 1.45),
                ],
                colour,
            )
        for end in (-1, 1):
            canvas.stroke(
                [
                    (x + end * radius * 0.15, top + radius * 1.45),
                    (basket[0] + end * radius * 0.11, basket[1]),
                ],
                plan.palette.near,
                max(1.0, radius * 0.02),
            )
        canvas.draw.rectangle(
            (basket[0] - radius * 0.14, basket[1], basket[0] + radius * 0.14, basket[1] + radius * 0.2),
            fill=(96, 62, 40),
        )
        if number == 0:
            canvas.glow((x - radius * 0.4, top - radius * 0.4), radius * 0.7, (255, 255, 255), 0.3)


def _cacti(canvas: Canvas, plan: Plan) -> None:
    random = plan.random("cacti")
    colour = mix(plan.palette.near, (30, 60, 45), 0.55)
    for x, y, size in (
        (0.5 - plan.side * 0.30, 0.88, 0.24),
        (0.5 + plan.side * 0.33, 0.80, 0.13),
        (0.5 + plan.side * 0.16, 0.765, 0.07),
    ):
        height = canvas.unit * size * random.uniform(0.9, 1.1)
        cx, foot, width = canvas.x(x), canvas.y(y), height * 0.13
        _limb(canvas, [(cx, foot), (cx, foot - height)], width, colour)
        for end, low, high in ((-1, 0.45, 0.78), (1, 0.58, 0.92)):
            bend = cx + end * height * 0.24
            path = [(cx, foot - height * low), (bend, foot - height * low), (bend, foot - height * high)]
            _limb(canvas, path, width * 0.75, colour)


def _limb(canvas: Canvas, path: list[Point], width: float, colour: Colour) -> None:
    canvas.stroke(path, colour, width)
    for point in path:
        canvas.disc(point, width / 2, colour)


def _house(canvas: Canvas, plan: Plan) -> None:
    """A cottage with a lit window and smoke."""
    unit = canvas.unit
    x, foot = canvas.x(0.5 + plan.side * 0.2), canvas.y(plan.horizon + 0.175)
    half, wall = unit * 0.082, unit * 0.085
    body, roof = (
        mix((236, 224, 204), plan.palette.near, 0.5 if plan.palette.dark else 0.18),
        mix((150, 66, 52), plan.palette.near, 0.35),
    )
    for step in range(7):
        centre = (
            x + half * 0.55 + math.sin(step * 0.9) * unit * 0.012 + step * unit * 0.008,
            foot - wall * 2.05 - step * unit * 0.026,
        )
        canvas.disc(
            centre,
            unit * (0.009 + 0.0035 * step),
            mix(plan.palette.sky[-1], (255, 255, 255), 0.4),
            90 - 11 * step,
        )
    canvas.draw.rectangle((x + half * 0.42, foot - wall * 2.0, x + half * 0.68, foot - wall), fill=roof)
    canvas.draw.rectangle((x - half, foot - wall, x + half, foot + unit * 0.012), fill=body)
    canvas.shape(
        [(x - half * 1.18, foot - wall), (x, foot - wall * 1.95), (x + half * 1.18, foot - wall)], roof
    )
    glow = mix(plan.palette.accent, (255, 226, 150), 0.6)
    for place in (-0.5, 0.5):
        centre = (x + half * place, foot - wall * 0.52)
        canvas.draw.rectangle(
            (centre[0] - half * 0.2, centre[1] - wall * 0.2, centre[0] + half * 0.2, centre[1] + wall * 0.2),
            fill=glow,
        )
        canvas.glow(centre, unit * 0.055, glow, 0.7 if plan.palette.dark else 0.25)
    canvas.draw.rectangle(
        (x - half * 0.14, foot - wall * 0.6, x + half * 0.14, foot + unit * 0.012),
        fill=mix(roof, plan.palette.near, 0.5),
    )


def _flowers(canvas: Canvas, plan: Plan, moment: float) -> None:
    """A foreground meadow: stems that sway, and heads with petals."""
    random = plan.random("flowers")
    stem = mix(plan.palette.near, (60, 120, 70), 0.45)
    hues: tuple[Colour, ...] = (
        (232, 84, 96),
        (246, 190, 74),
        (247, 243, 232),
        (190, 120, 200),
        plan.palette.accent,
    )
    blooms = sorted((random.random(), random.random()) for _ in range(80))
    for x, depth in sorted(blooms, key=lambda one: one[1]):
        size = canvas.unit * (0.012 + 0.030 * depth)
        foot = (canvas.x(x), canvas.y(0.80 + 0.16 * depth))
        sway = math.sin(math.tau * (moment + x)) * size * 0.35
        head = (
            foot[0] + sway + random.uniform(-1, 1) * size * 0.6,
            foot[1] - size * random.uniform(3.0, 5.2),
        )
        canvas.stroke(
            [foot, ((foot[0] + head[0]) / 2 + size * 0.2, (foot[1] + head[1]) / 2), head], stem, size * 0.15
        )
        hue = mix(
            random.choice(hues), plan.palette.near, 0.35 * (1 - depth) + (0.3 if plan.palette.dark else 0.0)
        )
        petals, turn = random.choice((5, 6, 8)), random.random() * math.tau
        for petal in range(petals):
            angle = turn + math.tau * petal / petals
            centre = (head[0] + math.cos(angle) * size * 0.55, head[1] + math.sin(angle) * size * 0.5)
            canvas.disc(centre, size * 0.42, mix(hue, (255, 255, 255), 0.10 * (petal % 2)))
        canvas.disc(head, size * 0.3, mix((120, 72, 30), hue, 0.2))


def _cat(canvas: Canvas, plan: Plan) -> None:
    """A cat from behind, looking at the light."""
    unit = canvas.unit
    x, foot = canvas.x(0.5 - plan.side * 0.02), canvas.y(0.90)
    colour = mix(plan.palette.near, (12, 12, 18), 0.55)
    canvas.draw.ellipse(
        (x - unit * 0.105, foot - unit * 0.23, x + unit * 0.105, foot + unit * 0.03), fill=colour
    )
    canvas.draw.ellipse(
        (x - unit * 0.078, foot - unit * 0.30, x + unit * 0.078, foot - unit * 0.10), fill=colour
    )
    head = foot - unit * 0.345
    canvas.draw.ellipse(
        (x - unit * 0.078, head - unit * 0.062, x + unit * 0.078, head + unit * 0.068), fill=colour
    )
    for end in (-1, 1):
        canvas.shape(
            [
                (x + end * unit * 0.076, head - unit * 0.005),
                (x + end * unit * 0.066, head - unit * 0.108),
                (x + end * unit * 0.014, head - unit * 0.052),
            ],
            colour,
        )
    tail = [
        (
            x + plan.side * unit * (0.07 + 0.10 * math.sin(part * 0.34)),
            foot + unit * 0.004 - unit * 0.030 * part * 0.55,
        )
        for part in range(11)
    ]
    _limb(canvas, tail, unit * 0.026, colour)
