"""Which Runware task types a job may be, and what follows from the type.

The list is an allowlist: a job is what a stranger sent, and the platform's other
task types read accounts, other people's tasks or local configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .states import Kind, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_TYPES: Final[dict[Kind, dict[str, Lane]]] = {
    Kind.RUN: {
        "imageInference": Lane.IMAGE,
        "videoInference": Lane.VIDEO,
        "audioInference": Lane.AUDIO,
        "textInference": Lane.TEXT,
        "3dInference": Lane.THREE_D,
        "upscale": Lane.IMAGE,
        "removeBackground": Lane.IMAGE,
        "caption": Lane.TEXT,
        "promptEnhance": Lane.TEXT,
        "controlNetPreprocess": Lane.IMAGE,
        "imageMasking": Lane.IMAGE,
        "vectorize": Lane.IMAGE,
        "photoMaker": Lane.IMAGE,
        "tools": Lane.VIDEO,
        # Legacy names that older SDKs still send (PROTOCOL 6.1).
        "imageUpscale": Lane.IMAGE,
        "imageBackgroundRemoval": Lane.IMAGE,
        "imageCaption": Lane.TEXT,
        "imageControlNetPreProcess": Lane.IMAGE,
    },
    Kind.UPLOAD: {"mediaStorage": Lane.UPLOAD, "imageUpload": Lane.UPLOAD, "modelUpload": Lane.UPLOAD},
    Kind.TRAINING: {"training": Lane.TRAINING},
}

ANSWERED_AT_ONCE: Final = frozenset({"mediaStorage", "imageUpload"})
"""Utilities whose first answer is the whole answer: there is nothing to poll (PROTOCOL 6.2)."""

WITHOUT_DELIVERY_METHOD: Final = frozenset({"mediaStorage", "imageUpload", "modelUpload", "training"})
"""Types whose schema has no `deliveryMethod` (PROTOCOL 3.1, 6.2, 6.3)."""

MAX_SEED: Final = 2_147_483_647
"""The largest seed that every model takes; some take more."""

_VIDEO_INPUTS: Final = ("video", "videos", "referenceVideos")


def lane_of(kind: Kind, task_type: str, params: Mapping[str, Any]) -> Lane:
    """Name the lane of a task: a tool that is given a video is as slow as a video."""
    lane = TASK_TYPES[kind][task_type]
    inputs = params.get("inputs")
    if isinstance(inputs, dict) and any(inputs.get(name) for name in _VIDEO_INPUTS):
        return Lane.VIDEO
    return lane


def results_expected(params: Mapping[str, Any]) -> int:
    """Count the result items that complete a task; the ACK never tells (PROTOCOL 3.2)."""
    count = params.get(_count_name(params), 1)
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 1


def asking_for(params: Mapping[str, Any], results: int, *, run: int) -> dict[str, Any]:
    """Give the params of a run that is to give only `results` of what the producer asked for.

    A fixed seed moves on by as many as were asked for with each run, where results are
    there already: with the same one the platform would make, and bill, the first of
    them again (decision 0012).
    """
    asked = results_expected(params)
    if results == asked:
        return dict(params)
    changed = {**params, _count_name(params): results}
    seed = params.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        changed["seed"] = (seed + (run - 1) * asked) % (MAX_SEED + 1)
    return changed


def _count_name(params: Mapping[str, Any]) -> str:
    return "promptVersions" if params.get("taskType") == "promptEnhance" else "numberResults"


def size_of(params: Mapping[str, Any]) -> str:
    """Name what a task's duration and price depend on besides its model; '' when nothing does."""
    parts = []
    if params.get("width") and params.get("height"):
        parts.append(f"{params['width']}x{params['height']}")
    parts += [
        f"{short}{params[name]}" for name, short in (("duration", "d"), ("steps", "s")) if params.get(name)
    ]
    return " ".join(parts)[:80]
