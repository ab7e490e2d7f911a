"""A lighthouse on its headland, with a lamp that sweeps when it is dim."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .palettes import mix

if TYPE_CHECKING:
    from .canvas import Canvas
    from .plan import Plan


def draw_lighthouse(canvas: Canvas, plan: Plan, moment: float) -> None:
    """Draw it at the plan's side; `moment` turns the lamp."""
    side, unit = plan.side, canvas.unit
    random = plan.random("headland")
    middle, ground = canvas.x(0.5 + side * 0.24), canvas.y(plan.horizon + 0.035)
    edge = canvas.width if side > 0 else 0.0
    near = plan.palette.near
    height, foot, head = unit * 0.40, unit * 0.058, unit * 0.036
    top = ground - height
    lamp = (middle, top - unit * 0.022)
    if plan.palette.dark or plan.has("rain"):
        for turn in (0.0, math.pi):
            angle = math.sin(math.tau * moment + turn) * 0.16 + (0.05 if turn else -0.05)
            reach = canvas.width * 0.9 * (-1 if turn == 0.0 else 1) * side
            for spread, alpha in ((0.085, 34), (0.055, 42), (0.028, 52)):
                ends = [
                    (lamp[0] + reach, lamp[1] + abs(reach) * math.tan(angle + one))
                    for one in (-spread, spread)
                ]
                canvas.shape([lamp, *ends], plan.palette.light, alpha)
    start = middle - side * unit * 0.26
    rocks = [(start, canvas.y(plan.horizon + 0.10))]
    steps = 14
    for step in range(1, steps):
        share = step / steps
        x = start + (edge - start) * share
        rise = math.sin(min(1.0, share * 2.3) * math.pi / 2) * unit * 0.075
        rocks.append((x, canvas.y(plan.horizon + 0.10) - rise - random.uniform(0, unit * 0.012)))
    rocks += [(edge, ground - unit * 0.01), (edge, canvas.y(plan.horizon + 0.30))]
    foot_line = [
        (
            start + (edge - start) * share,
            canvas.y(plan.horizon + 0.10 + 0.17 * share) + random.uniform(0, unit * 0.012),
        )
        for share in (0.9, 0.75, 0.6, 0.45, 0.3, 0.15)
    ]
    canvas.shape([*rocks, *foot_line], mix(near, plan.palette.far, 0.12))
    _tower(canvas, plan, middle, ground + unit * 0.012, (top, foot, head))
    canvas.glow(lamp, unit * 0.10, plan.palette.light, 0.95)
    canvas.disc(lamp, unit * 0.011, (255, 252, 235))


def _tower(
    canvas: Canvas, plan: Plan, middle: float, ground: float, form: tuple[float, float, float]
) -> None:
    top, foot, head = form
    unit = canvas.unit
    dim = 0.42 if plan.palette.dark else 0.08
    white, red = mix((250, 246, 238), plan.palette.near, dim), mix((205, 62, 52), plan.palette.near, dim)
    for band in range(7):
        low, high = band / 7, (band + 1) / 7
        widths = [foot + (head - foot) * share for share in (low, high)]
        rows = [ground + (top - ground) * share for share in (low, high)]
        corners = [
            (middle - widths[0], rows[0]),
            (middle - widths[1], rows[1]),
            (middle + widths[1], rows[1]),
            (middle + widths[0], rows[0]),
        ]
        canvas.shape(corners, red if band % 2 else white)
    # The side away from the light is in shadow.
    away = 1 if plan.light_x < middle / canvas.width else -1
    shaded = [
        (middle + away * foot * 0.25, ground),
        (middle + away * head * 0.25, top),
        (middle + away * head, top),
    ]
    canvas.shape([*shaded, (middle + away * foot, ground)], plan.palette.near, 90)
    dark = mix(plan.palette.near, (20, 20, 30), 0.5)
    canvas.draw.rectangle(
        (middle - head * 1.5, top - unit * 0.006, middle + head * 1.5, top + unit * 0.006), fill=dark
    )
    canvas.draw.rectangle(
        (middle - head * 0.8, top - unit * 0.042, middle + head * 0.8, top - unit * 0.006),
        fill=mix(dark, plan.palette.light, 0.55),
    )
    canvas.shape(
        [
            (middle - head, top - unit * 0.042),
            (middle, top - unit * 0.085),
            (middle + head, top - unit * 0.042),
        ],
        red,
    )
    for share in (0.25, 0.55, 0.8):
        y = ground + (top - ground) * share
        canvas.draw.rectangle((middle - unit * 0.007, y, middle + unit * 0.007, y + unit * 0.02), fill=dark)
