"""Colours by mood: the sky from top to horizon, the land from far to near, water and light."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one picture. `dark` scenes get stars and lit windows."""

    sky: tuple[Colour, ...]
    light: Colour
    far: Colour
    near: Colour
    water: tuple[Colour, Colour]
    accent: Colour
    dark: bool = False


def _hex(code: str) -> Colour:
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)


def _palette(
    sky: str, light: str, far: str, near: str, water: str, accent: str, *, dark: bool = False
) -> Palette:
    top, deep = water.split()
    return Palette(
        tuple(map(_hex, sky.split())),
        _hex(light),
        _hex(far),
        _hex(near),
        (_hex(top), _hex(deep)),
        _hex(accent),
        dark,
    )


PALETTES: Mapping[str, Palette] = MappingProxyType(
    {
        "day": _palette(
            "2a74b8 5fa5d6 a9d3e8 f3efdc", "fff4cf", "9dbfd0", "24584a", "8cc3d2 12506f", "f2b441"
        ),
        "sunset": _palette(
            "26245a 6b3a7c c9506b f58a5b ffd08a", "ffe9b0", "a8628a", "1c1533", "f0966f 2b2350", "ff7a59"
        ),
        "dawn": _palette(
            "4f71b0 9d92c8 efb3b8 fde3c4", "fff1d6", "a99ac0", "343f66", "e4b7bd 3c5380", "ee8e84"
        ),
        "night": _palette(
            "030818 0b1a42 1f3f73 4a7296", "f4f1dc", "2b4672", "040916", "35608c 050d22", "ffc861", dark=True
        ),
        "mist": _palette(
            "5b8f9a 9cc4bb dbe7d2 f2efdd", "fffbe8", "a9c7b6", "123327", "a5c9bf 23545a", "e59f57"
        ),
        "autumn": _palette(
            "5a84ae b9c3bd f0dcb0 f8cf93", "fff0c2", "c99a66", "4a2318", "d9b98c 3d4a58", "d9572b"
        ),
        "winter": _palette(
            "6f9ccb b3d0e6 e6f0f6 fdf3e6", "ffffff", "bfd3e2", "3d5f80", "b9d6e6 3b6b8f", "d9574f"
        ),
        "desert": _palette(
            "2f78a8 8dbfd0 f6e0b4 f7c58a", "fff5d0", "e3b07a", "823f25", "a9cfd0 2f6f80", "d8552f"
        ),
        "neon": _palette(
            "080424 2a0b5c 8a1f86 ff5f8f ffb08a",
            "ffd6a8",
            "5a2086",
            "0a041d",
            "e0508f 140a3a",
            "35e0d8",
            dark=True,
        ),
        "space": _palette(
            "020109 090722 1a1145 40205f", "e9e2ff", "33205c", "05030f", "40307a 070516", "ff9e64", dark=True
        ),
        "storm": _palette(
            "27323f 4d5c6b 8593a0 bcc2c2", "e9eef0", "76848f", "19222b", "7d8e99 1d2b38", "e2b35a"
        ),
    }
)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """A colour between both; `share` 0 is the first, 1 the second."""
    return (
        round(first[0] + (second[0] - first[0]) * share),
        round(first[1] + (second[1] - first[1]) * share),
        round(first[2] + (second[2] - first[2]) * share),
    )


def tinted(palette: Palette, random: Random) -> Palette:
    """The palette with a slight cast of its own, so that two pictures of a mood differ."""
    cast = random.choice(list(PALETTES.values())).sky[1]
    share = random.uniform(0.0, 0.16)
    light_share = share / 2
    return Palette(
        sky=tuple(mix(colour, cast, share) for colour in palette.sky),
        light=palette.light,
        far=mix(palette.far, cast, share),
        near=palette.near,
        water=(mix(palette.water[0], cast, light_share), mix(palette.water[1], cast, light_share)),
        accent=palette.accent,
        dark=palette.dark,
    )


def between(stops: Sequence[Colour], position: float) -> Colour:
    """The colour at `position` (0 to 1) of a gradient with evenly spaced stops."""
    scaled = max(0.0, min(1.0, position)) * (len(stops) - 1)
    index = min(int(scaled), len(stops) - 2)
    return mix(stops[index], stops[index + 1], scaled - index)
