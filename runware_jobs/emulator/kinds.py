"""The task types of the platform in one table: what each needs and which fields its results carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Latencies = Literal["image", "video", "audio", "text", "3d", "training", "modelUpload"]
Shape = Literal["media", "text", "files", "training", "phases"]
MediaKind = Literal["image", "video", "audio", "model", "vector", "archive", "any"]

UPLOAD_PHASES = ("validated", "downloaded", "optimized", "stored", "ready")


@dataclass(frozen=True, slots=True)
class Kind:
    """One task type that runs for a while. `stem` names its media fields: image -> imageUUID, imageURL."""

    name: str
    latency: Latencies
    shape: Shape = "media"
    media: MediaKind = "image"
    stem: str = "image"
    needs_prompt: bool = False
    needs_input: bool = False
    async_only: bool = False
    delivers_sync: bool = True
    """Without a `deliveryMethod` the request waits for the result."""
    count_parameter: str | None = "numberResults"
    max_results: int = 20
    shows_progress: bool = False
    of_film: bool = False
    """A tool that was given a film instead of a picture."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("imageInference", "image", needs_prompt=True),
            Kind(
                "videoInference",
                "video",
                media="video",
                stem="video",
                needs_prompt=True,
                async_only=True,
                delivers_sync=False,
                max_results=4,
                shows_progress=True,
            ),
            Kind("audioInference", "audio", media="audio", stem="audio", needs_prompt=True, max_results=4),
            Kind("textInference", "text", shape="text", max_results=4),
            Kind("3dInference", "3d", shape="files", media="model", stem="model", max_results=4),
            Kind("upscale", "image", needs_input=True),
            Kind("removeBackground", "image", needs_input=True),
            Kind("caption", "text", shape="text", needs_input=True),
            Kind("controlNetPreprocess", "image", stem="guideImage", needs_input=True),
            Kind("imageMasking", "image", stem="maskImage", needs_input=True),
            Kind("vectorize", "image", media="vector"),
            Kind("promptEnhance", "text", shape="text", count_parameter="promptVersions", max_results=5),
            Kind("tools", "image", shape="files", media="any", stem="file", count_parameter=None),
            Kind(
                "training",
                "training",
                shape="training",
                media="archive",
                async_only=True,
                delivers_sync=False,
                count_parameter=None,
                shows_progress=True,
            ),
            Kind("modelUpload", "modelUpload", shape="phases", count_parameter=None),
        )
    }
)

# Tools that were given a film. Older clients caption a film without naming a delivery method and wait for
# the text, so only what carries a film back is asynchronous by itself.
_OF_FILM: Mapping[str, Kind] = MappingProxyType(
    {
        name: replace(
            KINDS[name],
            latency="video",
            media="video",
            stem="video",
            async_only=True,
            delivers_sync=False,
            shows_progress=True,
            of_film=True,
        )
        for name in ("upscale", "removeBackground")
    }
    | {"caption": replace(KINDS["caption"], async_only=True, of_film=True)}
)

# What older SDKs still send.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "imageUpscale": "upscale",
        "upscaleImage": "upscale",
        "imageBackgroundRemoval": "removeBackground",
        "removeImageBackground": "removeBackground",
        "imageCaption": "caption",
        "imageControlNetPreProcess": "controlNetPreprocess",
        "imageControlNetPreprocess": "controlNetPreprocess",
        "photoMaker": "imageInference",
    }
)

FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": ("JPG", "PNG", "WEBP"),
        "video": ("MP4", "WEBM", "MOV"),
        "audio": ("MP3", "WAV", "FLAC", "OGG"),
        "model": ("GLB",),
        "vector": ("SVG",),
        "archive": ("ZIP",),
        "any": ("MP4", "WEBM", "MOV", "MKV", "MP3", "WAV", "AAC", "FLAC", "OGG", "PNG", "JPG", "WEBP"),
    }
)


def kind_of(task_type: str) -> Kind | None:
    """The kind behind a taskType or one of its older names; None for utilities and unknown ones."""
    return KINDS.get(ALIASES.get(task_type, task_type))


def specific(kind: Kind, request: Mapping[str, Any]) -> Kind:
    """The kind of a request: a tool that is given a film is of another kind than one given a picture."""
    if kind.name not in _OF_FILM:
        return kind
    inputs = request.get("inputs")
    nested = inputs if isinstance(inputs, dict) else {}
    is_film = bool(nested.get("video") or request.get("inputVideo")) and not nested.get("image")
    return _OF_FILM[kind.name] if is_film else kind


def result_count(kind: Kind, request: Mapping[str, Any]) -> int:
    """How many items a valid request asks for."""
    if kind.shape == "phases":
        return len(UPLOAD_PHASES)
    return int(request.get(kind.count_parameter, 1)) if kind.count_parameter else 1


def media_input(request: Mapping[str, Any]) -> str | None:
    """The image or video that a tool works on, in its present and older spellings."""
    inputs = request.get("inputs")
    nested = inputs if isinstance(inputs, dict) else {}
    for value in (
        nested.get("image"),
        nested.get("video"),
        request.get("inputImage"),
        request.get("inputVideo"),
        request.get("inputs.image"),
    ):
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict):
            inner = next((value[name] for name in ("image", "video", "url") if name in value), None)
            if isinstance(inner, str) and inner:
                return inner
    return None
