"""What is to be seen: the words of a prompt turned into a plan of a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from .palettes import PALETTES, Palette, tinted

if TYPE_CHECKING:
    from collections.abc import Mapping

# Word -> what it brings into the picture. Plurals are tried without their s.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        word: meaning
        for meaning, words in {
            "lighthouse": "lighthouse beacon",
            "sea": "sea ocean beach coast harbor harbour island lake water wave shore bay surf underwater river",
            "boat": "boat ship sail sailboat yacht sailing",
            "mountain": "mountain alps peak summit himalaya volcano fjord cliff rock",
            "forest": "forest tree wood woodland pine jungle fox deer bear wolf",
            "hills": "hill meadow valley field countryside landscape farm vineyard garden grass",
            "city": "city skyline street tower building tokyo york london paris downtown cyberpunk urban skyscraper car",
            "desert": "desert dune sahara sand camel canyon pyramid cactus mars",
            "flower": "flower rose tulip blossom garden poppy sunflower lavender bloom petal butterfly bee",
            "house": "house cabin cottage home hut village barn castle temple",
            "balloon": "balloon airship zeppelin",
            "bird": "bird seagull gull eagle crane swan owl",
            "cat": "cat kitten tiger lion",
            "planet": "planet saturn space galaxy cosmos astronaut rocket universe nebula star spaceship alien",
            "aurora": "aurora northern borealis",
            "snow": "snow snowy winter ice icy arctic christmas blizzard",
            "rain": "rain rainy storm stormy thunder",
            "moon": "moon moonlight moonlit lunar",
        }.items()
        for word in words.split()
    }
)
_MOODS: Mapping[str, str] = MappingProxyType(
    {
        word: mood
        for mood, words in {
            "night": "night midnight dark starry moon moonlight moonlit aurora northern borealis owl",
            "sunset": "sunset dusk evening golden sundown romantic warm",
            "dawn": "dawn sunrise morning pastel soft dreamy watercolor watercolour",
            "day": "day noon sunny summer bright blue",
            "autumn": "autumn fall october harvest",
            "winter": "winter snow snowy ice icy arctic christmas",
            "mist": "mist misty fog foggy haze forest jungle",
            "neon": "neon cyberpunk synthwave vaporwave futuristic retro",
            "space": "space galaxy cosmos nebula universe planet astronaut rocket saturn",
            "storm": "storm stormy rain rainy thunder dramatic",
            "desert": "desert dune sahara canyon mars",
        }.items()
        for word in words.split()
    }
)
_ANY_MOOD = ("day", "sunset", "dawn", "autumn", "mist", "night", "sunset", "dawn")
_ANY_LAND = ("hills", "mountain", "sea", "forest", "desert", "hills")
_LANDS = ("mountain", "hills", "forest", "desert", "city", "sea", "planet")


@dataclass(frozen=True, slots=True)
class Plan:
    """A picture to draw. Positions are shares of width and height, from the top left."""

    prompt: str
    seed: int
    palette: Palette
    elements: frozenset[str]
    horizon: float
    light_x: float
    light_y: float
    side: int
    """-1 puts the main thing left, 1 right."""

    def random(self, name: str) -> Random:
        """A stream of numbers for one part of the picture, independent of the other parts."""
        return Random(f"{self.seed}/{name}")  # noqa: S311  # a repeatable picture is the point

    def has(self, *names: str) -> bool:
        return not self.elements.isdisjoint(names)


def plan_picture(prompt: str, seed: int) -> Plan:
    """A plan for any prompt; one without a known word still gets a landscape of its own."""
    words = [_singular(word) for word in re.findall(r"[a-zà-ÿ]+", prompt.lower())]
    by_words = Random(" ".join(sorted(set(words))))  # noqa: S311  # a repeatable picture is the point
    random = Random(f"{seed}/plan")  # noqa: S311  # the same
    elements = {_WORDS[word] for word in words if word in _WORDS}
    if "lighthouse" in elements or "boat" in elements:
        elements.add("sea")
    if not elements.intersection(_LANDS):
        elements.add(
            "hills" if elements & {"flower", "house", "cat", "balloon"} else by_words.choice(_ANY_LAND)
        )
    mood = next((_MOODS[word] for word in words if word in _MOODS), None) or (
        "desert" if "desert" in elements else by_words.choice(_ANY_MOOD)
    )
    side = random.choice((-1, 1))
    palette = tinted(PALETTES[mood], random)
    low = mood in {"sunset", "dawn", "autumn", "neon"}
    horizon = random.uniform(0.60, 0.68)
    return Plan(
        prompt=prompt,
        seed=seed,
        palette=palette,
        elements=frozenset(elements),
        horizon=horizon,
        light_x=0.5 - side * random.uniform(0.12, 0.26),
        light_y=horizon - (random.uniform(0.10, 0.18) if low else random.uniform(0.30, 0.42)),
        side=side,
    )


def _singular(word: str) -> str:
    if word in _WORDS or word in _MOODS:
        return word
    return word.removesuffix("s")
