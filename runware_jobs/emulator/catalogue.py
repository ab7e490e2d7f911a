"""The models of the platform: read from the registry file where there is one, else a short list.

Also knows the models that trainings and uploads have added since the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHIPPED_REGISTRY = Path(__file__).parent.parent / "schemas" / "registry.json"

_BUILT_IN: dict[str, Any] = {
    "version": "20261012000000",
    "models": {
        "runware:100@1": {"taskType": "imageInference", "id": "flux-1-schnell"},
        "runware:101@1": {"taskType": "imageInference", "id": "flux-1-dev"},
        "runware:400@1": {"taskType": "imageInference", "id": "flux-2-dev"},
        "klingai:5@3": {"taskType": "videoInference", "id": "kling-2-1-master"},
        "google:3@0": {"taskType": "videoInference", "id": "veo-3"},
        "elevenlabs:1@1": {"taskType": "audioInference", "id": "elevenlabs-music"},
        "runware:501@1": {"taskType": "upscale", "id": "clarity-upscaler"},
        "runware:109@1": {"taskType": "removeBackground", "id": "rembg-1-4"},
        "runware:152@2": {"taskType": "caption", "id": "qwen-2-5-vl"},
        "runware:z-image@style-lora-training": {"taskType": "training", "id": "z-image-style-lora"},
    },
    "architectureTaskTypes": {"flux1d": "imageInference", "sdxl": "imageInference"},
    "modalityTaskTypes": {"text-to-image": "imageInference", "text-to-video": "videoInference"},
}


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `slug` is the curated short name."""

    air: str
    slug: str
    task_type: str
    private: bool = False


class Catalogue:
    """All models by AIR and slug, and the registry document with its ETag."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the registry at `path`; None means the shipped one, and a missing file the built-in list.

        Raises ValueError for a file that is no registry.
        """
        source = path or SHIPPED_REGISTRY
        self.document = source.read_bytes() if source.is_file() else orjson.dumps(_BUILT_IN)
        registry = orjson.loads(self.document)
        if not isinstance(registry, dict) or not isinstance(registry.get("models"), dict):
            raise ValueError(f"{source}: no registry; it must hold an object with `models`")  # noqa: TRY004  # a wrong file, not a wrong call
        self.version = str(registry.get("version", ""))
        self.etag = f'"{blake2b(self.document, digest_size=12).hexdigest()}"'
        self._models: dict[str, Model] = {}
        self._slugs: dict[str, Model] = {}
        for air, entry in registry["models"].items():
            self._add(Model(air, str(entry.get("id", air)), str(entry.get("taskType", ""))))

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def find(self, name: str) -> Model | None:
        """The model with this AIR or slug."""
        return self._models.get(name) or self._slugs.get(name)

    def add_private(self, air: str, name: str, task_type: str = "imageInference") -> None:
        """Register a trained or uploaded model; the same AIR again replaces it."""
        self._add(Model(air, name, task_type, private=True))

    def search(self, request: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        """modelSearch: the total, and the page of results asked for."""
        words = str(request.get("search", "")).lower().split()
        visibility = request.get("visibility")
        found = [
            model
            for model in self
            if all(word in f"{model.air} {model.slug}".lower() for word in words)
            and (visibility not in {"private", "owned"} or model.private)
        ]
        offset, limit = int(request.get("offset", 0)), int(request.get("limit", 20))
        return len(found), [search_entry(model) for model in found[offset : offset + limit]]

    def _add(self, model: Model) -> None:
        self._models[model.air] = model
        self._slugs[model.slug] = model


def search_entry(model: Model) -> dict[str, Any]:
    """A model as modelSearch shows it."""
    return {
        "air": model.air,
        "name": title(model.slug),
        "category": "lora" if model.private else "checkpoint",
        "capabilities": [f"op:{model.task_type}"],
        "source": "community" if model.private else "official",
        "private": model.private,
    }


def title(slug: str) -> str:
    """A readable name of a slug."""
    return slug.replace("-", " ").title()
