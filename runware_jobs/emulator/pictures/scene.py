"""The picture: sky, land and water by the plan, then the things the prompt names, then the caption.

`moment` (0 to 1, circular) is the time within an animation; a still is the moment 0.
"""

from __future__ import annotations

import math

from PIL import Image

from .canvas import Canvas, Point, ridge, rolling
from .caption import write_caption
from .motifs import draw_motifs
from .palettes import Colour, mix
from .plan import Plan, plan_picture
from .planets import draw_planets

# The scene is drawn at this many pixels per pixel asked for and then reduced: cheap smooth edges.
_OVERSAMPLING = 1.25
_LARGEST_SIDE = 1400
_SKY_SHARE = 0.3
_CURTAIN_PIXELS = 3
_CURTAIN_PARTS = 10
_PAST_THE_EDGE = 1.02
_SPIRE_SHARE = 0.35


def draw_picture(prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """The picture of a prompt, with the prompt written at its foot."""
    plan = plan_picture(prompt, seed)
    image = draw_scene(plan, size, 0.0)
    write_caption(image, prompt, seed)
    return image


def draw_scene(plan: Plan, size: tuple[int, int], moment: float) -> Image.Image:
    """The scene without its caption, in exactly the size asked for."""
    scale = min(_OVERSAMPLING, _LARGEST_SIDE / max(size))
    work = (max(16, round(size[0] * scale)), max(16, round(size[1] * scale)))
    canvas = Canvas(_sky(plan, work, moment))
    _land(canvas, plan, moment)
    draw_motifs(canvas, plan, moment)
    _weather(canvas, plan, moment)
    return canvas.image.resize(size, Image.Resampling.BILINEAR if scale >= 1 else Image.Resampling.BICUBIC)


def _sky(plan: Plan, work: tuple[int, int], moment: float) -> Image.Image:
    """Everything soft, drawn small and enlarged; then the crisp stars and the light's disc."""
    small = (max(16, round(work[0] * _SKY_SHARE)), max(16, round(work[1] * _SKY_SHARE)))
    soft = Canvas(Image.new("RGB", small))
    palette = plan.palette
    floor = 1.0 if plan.has("planet") else plan.horizon + 0.08
    soft.fill_gradient(palette.sky, 0.0, floor)
    if floor < 1:
        soft.fill_gradient((palette.sky[-1], palette.sky[-1]), floor, 1.0)
    light: Point = (soft.x(plan.light_x), soft.y(plan.light_y))
    if not plan.has("planet"):
        soft.glow(light, soft.unit * 0.85, palette.light, 0.35 if palette.dark else 0.75)
        soft.glow(light, soft.unit * 0.3, palette.light, 0.55 if palette.dark else 0.9)
    if plan.has("aurora"):
        _aurora(soft, plan, moment)
    if plan.has("planet"):
        for number, colour in enumerate((palette.accent, (120, 90, 220), (60, 140, 220))):
            soft.clouds(
                plan.random(f"nebula{number}"),
                colour,
                drift=moment,
                cover=0.62,
                bottom=1.0,
                strength=0.5,
                stretch=1.3,
            )
    else:
        colour = mix(palette.sky[-1], (255, 255, 255), 0.15 if palette.dark else 0.6)
        cover = 0.85 if plan.has("rain") else plan.random("cover").uniform(0.35, 0.66)
        strength = 0.35 if palette.dark else 0.8
        soft.clouds(
            plan.random("clouds"), colour, drift=moment, cover=cover, bottom=plan.horizon, strength=strength
        )
    canvas = Canvas(soft.image.resize(work, Image.Resampling.BICUBIC))
    if palette.dark:
        _stars(canvas, plan, moment)
    if not plan.has("planet", "rain"):
        _light(canvas, plan)
    return canvas.image


def _light(canvas: Canvas, plan: Plan) -> None:
    """The sun, or the moon with its shadow side."""
    centre = (canvas.x(plan.light_x), canvas.y(plan.light_y))
    radius = canvas.unit * (0.055 if plan.palette.dark else 0.07)
    canvas.disc(centre, radius, plan.palette.light)
    if plan.palette.dark:
        for dx, dy, share in (
            (-0.3, -0.2, 0.22),
            (0.25, 0.3, 0.28),
            (0.35, -0.35, 0.14),
            (-0.25, 0.45, 0.12),
        ):
            spot = (centre[0] + dx * radius, centre[1] + dy * radius)
            canvas.disc(spot, radius * share, mix(plan.palette.light, (150, 150, 165), 0.35))


def _stars(canvas: Canvas, plan: Plan, moment: float) -> None:
    random = plan.random("stars")
    reach = 1.0 if plan.has("planet") else plan.horizon
    for _ in range(420 if plan.has("planet") else 220):
        x, y = random.random(), random.random() ** 1.4 * reach
        phase, size = random.random(), random.random() ** 4
        twinkle = 0.7 + 0.3 * math.sin(math.tau * (moment * 2 + phase))
        alpha = round((70 + 185 * size) * twinkle * (1 - 0.6 * y / reach if reach < 1 else 1))
        radius = canvas.unit * (0.0009 + 0.0022 * size)
        canvas.disc((canvas.x(x), canvas.y(y)), radius, (255, 250, 240), alpha)


def _aurora(soft: Canvas, plan: Plan, moment: float) -> None:
    random = plan.random("aurora")
    for number, colour in enumerate(((70, 235, 160), (80, 200, 220), (170, 110, 235))):
        phase, base = random.random(), 0.30 + 0.07 * number
        for column in range(0, soft.width, _CURTAIN_PIXELS):
            x = column / soft.width
            wave = (
                math.sin(math.tau * (x * 1.3 + phase + moment)) * 0.07
                + math.sin(math.tau * (x * 3.1 - phase)) * 0.02
            )
            height = 0.17 + 0.11 * (0.5 + 0.5 * math.sin(math.tau * (x * 4.3 + phase * 3 + moment)))
            foot, top = soft.y(base + wave), soft.y(base + wave - height)
            for part in range(_CURTAIN_PARTS):
                share = part / _CURTAIN_PARTS
                start = round(top + (foot - top) * share)
                end = round(top + (foot - top) * (part + 1) / _CURTAIN_PARTS) - 1
                if end >= start:
                    box = (column, start, column + _CURTAIN_PIXELS - 1, end)
                    soft.draw.rectangle(box, fill=(*colour, round(120 * share**1.6)))


def _land(canvas: Canvas, plan: Plan, moment: float) -> None:
    """Layers from far to near; what lies far takes on the colour of the sky."""
    if plan.has("planet"):
        draw_planets(canvas, plan)
        return
    if plan.has("mountain"):
        _mountains(canvas, plan)
    if plan.has("sea"):
        if not plan.has("mountain") and not plan.has("city"):
            _line(
                canvas,
                plan,
                rolling(plan.random("coast"), height=0.035, waves=0.9),
                plan.horizon + 0.004,
                0.12,
            )
        if plan.has("city"):
            _skyline(canvas, plan)
        _water(canvas, plan, moment)
        return
    if plan.has("city"):
        _skyline(canvas, plan)
        _line(canvas, plan, rolling(plan.random("park"), height=0.03, waves=1.2), plan.horizon + 0.158, 0.92)
        return
    if plan.has("desert"):
        _dunes(canvas, plan)
        return
    for number in range(4):
        share = (number + 1) / 4
        line = rolling(plan.random(f"hill{number}"), height=0.10 + 0.03 * number, waves=1.1 - 0.12 * number)
        _line(canvas, plan, line, plan.horizon + 0.02 + 0.115 * number, share * 0.9)


def depth_colour(plan: Plan, nearness: float) -> Colour:
    """The land's colour at a distance: 0 melts into the sky, 1 is right in front."""
    return mix(plan.palette.far, plan.palette.near, nearness)


def _line(canvas: Canvas, plan: Plan, heights: list[float], base: float, nearness: float) -> None:
    """One layer of land under a line of heights (shares) that stands on `base`."""
    points = _outline(canvas, heights, base)
    colour = depth_colour(plan, nearness)
    haze = mix(colour, plan.palette.sky[-1], 0.34 * (1 - nearness) + 0.08)
    canvas.fill_shape(points, (mix(colour, plan.palette.light, 0.10), colour, haze), base - max(heights))


def _outline(canvas: Canvas, heights: list[float], base: float) -> list[Point]:
    last = len(heights) - 1
    points = [(canvas.x(index / last), canvas.y(base - height)) for index, height in enumerate(heights)]
    return [*points, (canvas.width, canvas.height), (0, canvas.height)]


def _mountains(canvas: Canvas, plan: Plan) -> None:
    for number, (height, nearness) in enumerate(((0.34, 0.12), (0.25, 0.38), (0.15, 0.68))):
        heights = ridge(plan.random(f"mountain{number}"), roughness=0.55 + 0.02 * number, height=height)
        base = plan.horizon + 0.01 + 0.03 * number
        _line(canvas, plan, heights, base, nearness)
        if number == 0:
            _snow_caps(canvas, plan, heights, base)
    if not plan.has("sea"):
        for number, nearness in enumerate((0.8, 1.0)):
            line = rolling(plan.random(f"foothill{number}"), height=0.09, waves=1.0 - 0.2 * number)
            _line(canvas, plan, line, plan.horizon + 0.17 + 0.14 * number, nearness)


def _snow_caps(canvas: Canvas, plan: Plan, heights: list[float], base: float) -> None:
    """Snow on what rises above two thirds, its lower edge torn."""
    random = plan.random("snow-line")
    last, limit = len(heights) - 1, max(heights) * 0.62
    snow = mix((255, 255, 255), plan.palette.light, 0.35)
    if plan.palette.dark:
        snow = mix(snow, plan.palette.far, 0.5)
    run: list[tuple[int, float]] = []
    for index, height in enumerate([*heights, 0.0]):
        if height > limit:
            run.append((index, height))
            continue
        if len(run) > 1:
            top = [(canvas.x(at / last), canvas.y(base - value)) for at, value in run]
            torn = [
                (
                    canvas.x(at / last),
                    canvas.y(base - max(limit, value - (value - limit) * random.uniform(0.25, 0.95))),
                )
                for at, value in reversed(run)
            ]
            canvas.shape([*top, *torn], snow, 225)
        run = []


def _dunes(canvas: Canvas, plan: Plan) -> None:
    for number in range(4):
        nearness = 0.1 + 0.26 * number
        heights = rolling(
            plan.random(f"dune{number}"), height=0.10 + 0.035 * number, waves=0.75 - 0.08 * number
        )
        base = plan.horizon + 0.02 + 0.12 * number
        _line(canvas, plan, heights, base, nearness)
        # The side away from the light falls into shadow below each crest.
        last = len(heights) - 1
        crest = max(range(10, last - 10), key=heights.__getitem__)
        span = range(crest, min(last, crest + 46))
        edge = [(canvas.x(index / last), canvas.y(base - heights[index])) for index in span]
        foot = (canvas.x((crest + 8) / last), canvas.y(base + 0.13))
        canvas.shape([*edge, foot], mix(depth_colour(plan, nearness), plan.palette.near, 0.55), 130)


def _water(canvas: Canvas, plan: Plan, moment: float) -> None:
    palette, horizon = plan.palette, plan.horizon
    canvas.fill_gradient(
        (mix(palette.water[0], palette.sky[-1], 0.35), palette.water[0], palette.water[1]), horizon, 1.0
    )
    random = plan.random("waves")
    lit, shade = mix(palette.water[0], (255, 255, 255), 0.35), mix(palette.water[1], palette.near, 0.4)
    rows = 46
    for row in range(rows):
        depth = (row / rows) ** 1.7
        y = horizon + (1 - horizon) * depth
        for _ in range(5):
            length = random.uniform(0.04, 0.16) * (0.35 + depth)
            start = (random.random() + moment * (1 if row % 2 else -1)) % 1.2 - 0.1
            bright = random.choice((True, False))
            sway = math.sin(math.tau * (moment + random.random())) * 0.003
            points = [
                (
                    canvas.x(start + length * part / 6),
                    canvas.y(y + sway + math.sin(part * 1.05) * 0.0016 * (1 + depth * 3)),
                )
                for part in range(7)
            ]
            width = canvas.unit * (0.0011 + 0.0034 * depth)
            canvas.stroke(points, lit if bright else shade, width, 70 if bright else 60)
    if not plan.has("rain"):
        _glitter(canvas, plan, moment)


def _glitter(canvas: Canvas, plan: Plan, moment: float) -> None:
    """The light's path on the water: dashes that widen towards the viewer."""
    random = plan.random("glitter")
    for row in range(54):
        depth = row / 54
        y = plan.horizon + 0.004 + (0.97 - plan.horizon) * depth**1.25
        spread = 0.018 + 0.085 * depth
        for _ in range(2):
            centre = plan.light_x + random.gauss(0, 1) * spread * 0.5
            pulse = 0.55 + 0.45 * math.sin(math.tau * (moment * 2 + random.random()))
            half = random.uniform(0.006, 0.03) * (0.5 + depth)
            height = canvas.unit * (0.0014 + 0.0034 * depth)
            alpha = round(200 * (1 - depth) ** 0.8 * pulse) + 20
            x, top = canvas.x(centre), canvas.y(y)
            box = (x - canvas.x(half), top - height, x + canvas.x(half), top + height)
            canvas.draw.ellipse(box, fill=(*plan.palette.light, alpha))


def _skyline(canvas: Canvas, plan: Plan) -> None:
    """Three rows of towers; windows are lit where it is dark enough to see them."""
    ground = plan.horizon if plan.has("sea") else plan.horizon + 0.16
    glow = plan.palette.light if not plan.palette.dark else plan.palette.accent
    for number, (tallest, nearness) in enumerate(((0.42, 0.22), (0.33, 0.55), (0.22, 0.9))):
        random = plan.random(f"towers{number}")
        x = -0.02
        while x < _PAST_THE_EDGE:
            width = random.uniform(0.028, 0.075) * min(1.0, canvas.height / canvas.width + 0.25)
            middle = 1 - abs(x + width / 2 - 0.5) * 0.9
            height = tallest * random.uniform(0.35, 1.0) * middle
            left, right, top = canvas.x(x), canvas.x(x + width), canvas.y(ground - height)
            colour = mix(depth_colour(plan, nearness), plan.palette.sky[-1], 0.10 * random.random())
            canvas.draw.rectangle((left, top, right, canvas.y(ground)), fill=(*colour, 255))
            if random.random() < _SPIRE_SHARE:
                _spire(canvas, (left, right, top), colour, random.uniform(0.02, 0.06))
            if number:
                _windows(canvas, plan, (left, right, top, canvas.y(ground)), glow, number)
            x += width + random.choice((0.0, 0.0, 0.004, 0.012))


def _spire(canvas: Canvas, roof: tuple[float, float, float], colour: Colour, height: float) -> None:
    left, right, top = roof
    middle, half = (left + right) / 2, (right - left) * 0.22
    canvas.draw.rectangle(
        (middle - half, top - canvas.y(height) * 0.4, middle + half, top), fill=(*colour, 255)
    )
    canvas.stroke([(middle, top), (middle, top - canvas.y(height))], colour, canvas.unit * 0.003)


def _windows(
    canvas: Canvas, plan: Plan, box: tuple[float, float, float, float], glow: Colour, number: int
) -> None:
    left, right, top, bottom = box
    random = plan.random(f"windows{number}/{left:.0f}")
    cell = canvas.unit * (0.0105 if number == 1 else 0.013)
    share = 0.5 if plan.palette.dark else 0.22
    columns, rows = int((right - left) / cell) - 1, int((bottom - top) / (cell * 1.25)) - 1
    for column in range(max(0, columns)):
        for row in range(max(0, rows)):
            if random.random() < share:
                x, y = left + cell * (column + 0.75), top + cell * 1.25 * (row + 0.7)
                fill = (*glow, random.randrange(110, 240))
                canvas.draw.rectangle((x, y, x + cell * 0.45, y + cell * 0.6), fill=fill)


def _weather(canvas: Canvas, plan: Plan, moment: float) -> None:
    random = plan.random("weather")
    if plan.has("rain"):
        for _ in range(260):
            x, y = random.random() * 1.2 - 0.1, (random.random() + moment * 3) % 1.0
            length = random.uniform(0.02, 0.05)
            line = [(canvas.x(x), canvas.y(y)), (canvas.x(x - length * 0.25), canvas.y(y + length))]
            canvas.stroke(line, (225, 235, 245), canvas.unit * 0.0012, random.randrange(40, 110))
    if plan.has("snow"):
        for _ in range(240):
            x, y = random.random(), (random.random() + moment) % 1.0
            sway = math.sin(math.tau * (moment + random.random())) * 0.01
            radius = canvas.unit * random.uniform(0.0012, 0.0045)
            canvas.disc(
                (canvas.x(x + sway), canvas.y(y)), radius, (255, 255, 255), random.randrange(120, 230)
            )
