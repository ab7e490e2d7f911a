"""Models that appear while the platform runs: what a training or an upload puts into the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runware_jobs.emulator.results import uploaded_air
from runware_jobs.emulator.rules.validate import respelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runware_jobs.emulator.tasks import Task

    from .catalogue import Catalogue

# What a trained style runs on: the trainer's own name says it.
_ARCHITECTURES = {
    "exactly:illustrative": "exactly-illustrative",
    "runware:flux-1-dev": "flux-1-dev",
    "runware:z-image": "z-image",
}
_CATEGORIES = ("checkpoint", "lora", "lycoris", "vae", "embeddings", "controlnet")


def register_trained(catalogue: Catalogue, task: Task, request: Mapping[str, Any]) -> None:
    """Make the AIR that a finished training has reserved usable as a model."""
    target = request["importModel"]
    catalogue.add_private(
        target["air"],
        target["name"],
        owner=task.account,
        architecture=target.get("architecture") or _ARCHITECTURES.get(task.model.partition("@")[0]),
        description=str(target.get("shortDescription", "")),
        hero_image=str(target.get("heroImageURL", "")),
        positive_trigger_words=str(request.get("triggerWord", "")),
        added=int(task.ends_at),
        updated=int(task.ends_at),
    )


def register_uploaded(catalogue: Catalogue, task: Task, request: Mapping[str, Any]) -> None:
    """Make an uploaded model usable; the same AIR again changes what is known about it."""
    request = respelled(request)
    air = uploaded_air(task)
    earlier = catalogue.find(air)
    words = request.get("positiveTriggerWords", "")
    category = request["category"] if request["category"] in _CATEGORIES else "checkpoint"
    catalogue.add_private(
        air,
        request["name"],
        owner=task.account,
        category=category,
        architecture=request["architecture"],
        type=str(request.get("type", "")),
        conditioning=str(request.get("conditioning", "")),
        tags=tuple(map(str, request.get("tags", ()))),
        description=str(request.get("shortDescription", "")),
        hero_image=str(request.get("heroImageURL", "")),
        positive_trigger_words=", ".join(map(str, words)) if isinstance(words, list) else str(words),
        negative_trigger_words=str(request.get("negativeTriggerWords", "")),
        added=earlier.added if earlier is not None else int(task.ends_at),
        updated=int(task.ends_at),
    )
