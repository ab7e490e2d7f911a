"""The strip at the foot of a picture with the prompt in it, so that everybody sees what was asked."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

_MOST_LINES = 2
# More never fits, and measuring text costs time with its length.
_MOST_CHARACTERS = 400
_SHADE = (10, 12, 20)


def write_caption(
    image: Image.Image, prompt: str, seed: int | None = None, *, over_text: bool = False
) -> None:
    """Write the prompt into the lower edge of the image; long prompts end with an ellipsis.

    `over_text` covers what was written there before.
    """
    width, height = image.size
    size = max(9, round(min(width, height) * 0.030))
    font = _font(size)
    margin = round(size * 1.1)
    note = "" if seed is None else f"seed {seed}"
    note_width = (
        round(_font(round(size * 0.72)).getlength(note)) + margin if note and width > size * 24 else 0
    )
    lines = wrap(" ".join(prompt[:_MOST_CHARACTERS].split()), font, width - 2 * margin - note_width)
    strip = round(size * (1.35 * len(lines) + 1.1))
    if not lines or strip > height // 2:
        return
    lightest = 246 if over_text else 150
    ramp = [round(lightest + v * (232 - min(232, lightest)) / 255) for v in range(256)]
    shade = Image.linear_gradient("L").resize((width, strip)).point(ramp)
    image.paste(_SHADE, (0, height - strip), shade)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        y = height - strip + round(size * (0.48 + 1.35 * number))
        draw.text((margin, y), line, font=font, fill=(248, 246, 240))
    if note_width:
        position = (width - margin, height - round(size * 0.62))
        draw.text(position, note, font=_font(round(size * 0.72)), fill=(190, 194, 204), anchor="rs")


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in at most two lines of the width in pixels."""
    lines: list[str] = []
    rest = text.split(" ")
    while rest and rest != [""] and len(lines) < _MOST_LINES:
        count = 1
        while count < len(rest) and font.getlength(" ".join(rest[: count + 1])) <= width:
            count += 1
        lines.append(" ".join(rest[:count]))
        rest = rest[count:]
    if not lines:
        return []
    cut = bool(rest) and rest != [""]
    while lines[-1] and (font.getlength(lines[-1] + ("…" if cut else "")) > width):
        lines[-1], cut = lines[-1][:-1].rstrip(), True
    if cut:
        lines[-1] += "…"
    return lines


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own typeface: the same on every machine, so the same bytes.
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType; install a wheel that has it")
    return font
