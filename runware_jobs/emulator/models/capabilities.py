"""What a model can do, in the platform's own words: `io:text-to-image`, `op:upscale`, `form:lora`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import Model

Category = Literal["image", "video", "audio", "text", "3d"]

_BY_TASK_TYPE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "imageInference": ("io:text-to-image",),
        "videoInference": ("io:text-to-video",),
        "audioInference": ("io:text-to-audio",),
        "textInference": ("io:text-to-text",),
        "3dInference": ("io:image-to-3d",),
        "upscale": ("io:image-to-image", "op:upscale"),
        "removeBackground": ("io:image-to-image", "op:remove-background"),
        "caption": ("io:image-to-text", "op:caption"),
        "controlNetPreprocess": ("io:image-to-image", "op:controlnet-preprocess"),
        "imageMasking": ("io:image-to-image", "op:masking"),
        "vectorize": ("io:image-to-vector", "op:vectorize"),
        "promptEnhance": ("io:text-to-text", "op:prompt-enhance"),
        "training": ("op:train",),
        "tools": ("op:convert",),
    }
)
# What a slug gives away beyond the task type.
_BY_WORD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "edit": ("io:image-to-image", "op:edit"),
        "kontext": ("io:image-to-image", "op:edit"),
        "remix": ("io:image-to-image", "op:edit"),
        "fill": ("io:image-to-image", "op:inpaint"),
        "eraser": ("io:image-to-image", "op:inpaint"),
        "inpainting": ("io:image-to-image", "op:inpaint"),
        "expand": ("io:image-to-image", "op:outpaint"),
        "outpainting": ("io:image-to-image", "op:outpaint"),
        "lip": ("io:audio-to-video", "op:lip-sync"),
        "lipsync": ("io:audio-to-video", "op:lip-sync"),
        "avatar": ("io:audio-to-video", "op:avatar"),
        "tts": ("op:text-to-speech",),
        "speech": ("op:text-to-speech",),
        "music": ("op:music",),
        "ace": ("op:music",),
        "layered": ("op:layers",),
    }
)
_CATEGORIES: Mapping[str, Category] = MappingProxyType(
    {
        "videoInference": "video",
        "audioInference": "audio",
        "textInference": "text",
        "promptEnhance": "text",
        "caption": "text",
        "3dInference": "3d",
    }
)


def capabilities_of(model: Model) -> list[str]:
    """The model's capability ids, without repetition."""
    words = model.slug.split("-")
    found = dict.fromkeys(_BY_TASK_TYPE.get(model.task_type, ()))
    if model.task_type in {"imageInference", "videoInference", "audioInference"}:
        for word in words:
            found.update(dict.fromkeys(_BY_WORD.get(word, ())))
    if "video" in words and model.task_type in {"upscale", "removeBackground"}:
        found = {"io:video-to-video": None, **{one: None for one in found if one.startswith("op:")}}
    found[f"form:{model.category}"] = None
    return list(found)


def category_of(model: Model) -> Category:
    """Which shelf of the catalogue the model stands on: what it makes."""
    if model.task_type in {"upscale", "removeBackground"} and "video" in model.slug.split("-"):
        return "video"
    return _CATEGORIES.get(model.task_type, "image")


def label_of(capability: str) -> str:
    """A capability id in words: `Text to image`."""
    words = capability.partition(":")[2].replace("-", " ")
    return words[:1].upper() + words[1:]
