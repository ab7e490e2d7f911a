"""Small texts for the text tasks: plausible, about what was asked, and the same for the same seed."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LIGHT = (
    "soft morning light",
    "golden hour glow",
    "cool moonlight",
    "diffused overcast light",
    "warm backlight",
)
_LENS = (
    "35mm photograph",
    "wide establishing shot",
    "shallow depth of field",
    "aerial view",
    "symmetrical framing",
)
_DETAIL = (
    "fine texture",
    "rich colour harmony",
    "crisp silhouettes",
    "gentle haze in the distance",
    "high detail",
)
_OPENERS = (
    "Here is a short answer about {subject}.",
    "Let us look at {subject} step by step.",
    "A few thoughts on {subject}.",
)
_SENTENCES = (
    "The essential part is small, and most of the rest follows from it.",
    "It helps to begin with one concrete example and to widen the view from there.",
    "Two things usually matter most: what you start from, and what you can measure.",
    "Where the sources disagree, it is worth trying both and keeping what holds.",
    "In practice the simplest version is the one that lasts.",
    "A good next step is to write down what you expect before you look.",
)
_SCENES = (
    "A calm landscape with layered hills under a gradient sky",
    "A quiet shoreline with a bright horizon and long reflections",
    "A skyline at dusk with lit windows and a low sun",
    "A wide plain with a single light source and soft shadows",
)


def reply(messages: Sequence[Mapping[str, Any]], seed: int) -> str:
    """The answer of a language model to the last message."""
    random = Random(seed)  # noqa: S311  # a repeatable text is the point
    subject = " ".join(str(messages[-1].get("content", "")).split()[:8]).rstrip(".?!") or "your question"
    sentences = random.sample(_SENTENCES, 3)
    return " ".join((random.choice(_OPENERS).format(subject=f"“{subject}”"), *sentences))


def enhanced_prompt(prompt: str, seed: int) -> str:
    """The prompt with more to see in it."""
    random = Random(seed)  # noqa: S311  # a repeatable text is the point
    return ", ".join(
        (prompt.rstrip(". "), random.choice(_LIGHT), random.choice(_LENS), random.choice(_DETAIL))
    )


def caption(reference: str, seed: int) -> str:
    """A description of a picture; the same picture gets the same one."""
    random = Random(f"{reference[:200]}{seed % 3}")  # noqa: S311  # a repeatable text is the point
    return f"{random.choice(_SCENES)}, {random.choice(_LIGHT)}, {random.choice(_DETAIL)}."


def token_count(text: str) -> int:
    """Roughly the tokens of a text: four characters each."""
    return max(1, len(text) // 4)
