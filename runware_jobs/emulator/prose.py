"""Small texts for the text tasks: plausible, about what was asked, and the same for the same seed."""

from __future__ import annotations

import math
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


_THOUGHTS = (
    "What is being asked comes first.",
    "There may be more than one reading; the plain one is likely meant.",
    "A short answer with one example should do.",
)
_AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
_SEGMENT_S = 6
LONGEST_PROMPT = 380


def reply(messages: Sequence[Mapping[str, Any]], seed: int) -> str:
    """The answer of a language model to the last message."""
    random = Random(seed)  # noqa: S311  # a repeatable text is the point
    sentences = random.sample(_SENTENCES, 3)
    return " ".join((random.choice(_OPENERS).format(subject=f"“{_subject(messages)}”"), *sentences))


def reasoning(messages: Sequence[Mapping[str, Any]], seed: int) -> str:
    """What a reasoning model thinks before it answers."""
    random = Random(f"{seed}/thoughts")  # noqa: S311  # a repeatable text is the point
    return " ".join((f"The question is about “{_subject(messages)}”.", *random.sample(_THOUGHTS, 2)))


def enhanced_prompt(prompt: str, seed: int, longest: int = LONGEST_PROMPT) -> str:
    """The prompt with more to see in it, in at most `longest` characters."""
    random = Random(seed)  # noqa: S311  # a repeatable text is the point
    enhanced = ", ".join(
        (prompt.rstrip(". "), random.choice(_LIGHT), random.choice(_LENS), random.choice(_DETAIL))
    )
    return enhanced[:longest].rstrip(", ")


def caption(reference: str, subject: str | None, seed: int) -> str:
    """A description of a picture; the same picture gets the same one. `subject` is what it is known to show."""
    random = Random(f"{reference[:200]}{seed % 3}")  # noqa: S311  # a repeatable text is the point
    scene = random.choice(_SCENES) if subject is None else subject.rstrip(". ")
    return f"{scene}, {random.choice(_LIGHT)}, {random.choice(_DETAIL)}."


def film_caption(reference: str, subject: str | None, seconds: float, seed: int) -> str:
    """A description of a film in segments of six seconds, each with its time."""
    segments = []
    for number in range(max(1, math.ceil(seconds / _SEGMENT_S))):
        start, end = number * _SEGMENT_S, min(seconds, (number + 1) * _SEGMENT_S)
        scene = caption(f"{reference[:180]}/{number}", subject if number == 0 else None, seed)
        segments.append(f"[{_clock(start)} - {_clock(max(start, end))}] {scene}")
    return "\n".join(segments)


def classification(reference: str) -> dict[str, Any]:
    """What a classifier of ages says about a picture: every class with its share, the likeliest named."""
    random = Random(reference[:200])  # noqa: S311  # a repeatable answer is the point
    weights = [random.random() ** 4 for _ in _AGES]
    scores = {age: round(weight / sum(weights), 4) for age, weight in zip(_AGES, weights, strict=True)}
    label = max(scores, key=lambda age: scores[age])
    return {"label": label, "confidence": scores[label], "scores": scores}


def structured_prompt(prompt: str, seed: int) -> dict[str, Any]:
    """A prompt taken apart the way some picture models report it."""
    random = Random(seed)  # noqa: S311  # a repeatable answer is the point
    return {
        "subject": prompt,
        "lighting": random.choice(_LIGHT),
        "camera": random.choice(_LENS),
        "details": [random.choice(_DETAIL)],
    }


def token_count(text: str) -> int:
    """Roughly the tokens of a text: four characters each."""
    return max(1, len(text) // 4)


def first_tokens(text: str, count: int) -> str:
    """The beginning of a text, as many tokens long."""
    return text if token_count(text) <= count else text[: count * 4]


def _subject(messages: Sequence[Mapping[str, Any]]) -> str:
    """The first words of the last message, whose content may be a list of parts."""
    content = messages[-1].get("content", "")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return " ".join(str(content).split()[:8]).rstrip(".?!") or "your question"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"
