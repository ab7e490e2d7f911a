"""The models of the platform: the curated ones of the registry, some of the community, and private ones.

Private models are those that trainings and uploads have added since the start.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from runware_jobs.emulator.identifiers import derived_int

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHIPPED_REGISTRY = Path(__file__).parents[2] / "schemas" / "registry.json"
_COMMUNITY = Path(__file__).parent / "community.json"

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
# Catalogue slugs of older examples, and the slugs that they have become.
_FORMER_SLUGS: Mapping[str, str] = MappingProxyType(
    {
        "flux-1-dev": "bfl-flux-1-dev",
        "flux-1-schnell": "bfl-flux-1-schnell",
        "flux-2-dev": "bfl-flux-2-dev",
        "z-image-turbo": "alibaba-z-image-turbo",
    }
)
# When the registry's first models came out, for dates nobody told us: any of the two years after it.
_FIRST_ADDED_S = 1_704_067_200
_ADDED_WITHIN_S = 2 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `slug` is the curated short name. Times are unix seconds."""

    air: str
    slug: str
    task_type: str
    name: str = ""
    private: bool = False
    owner: str = ""
    """organizationUUID of whoever trained or uploaded it; empty for everybody's."""
    curated: bool = True
    """In the registry, and so in the content service."""
    category: str = "checkpoint"
    architecture: str | None = None
    type: str = ""
    conditioning: str = ""
    tags: tuple[str, ...] = ()
    source: str = "official"
    description: str = ""
    positive_trigger_words: str = ""
    negative_trigger_words: str = ""
    popularity: int = 0
    added: int = 0
    updated: int = 0
    hero_image: str = ""

    def to_record(self) -> dict[str, Any]:
        """The fields that differ from a fresh private model's, for a state file."""
        record = asdict(self)
        return {name: value for name, value in record.items() if name not in {"private", "curated", "source"}}


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
        self.architecture_task_types: dict[str, str] = dict(registry.get("architectureTaskTypes", {}))
        self.modality_task_types: dict[str, str] = dict(registry.get("modalityTaskTypes", {}))
        self.etag = f'"{blake2b(self.document, digest_size=12).hexdigest()}"'
        self._models: dict[str, Model] = {}
        self._slugs: dict[str, Model] = {}
        for air, entry in registry["models"].items():
            self._add(self._curated(air, str(entry.get("id", air)), str(entry.get("taskType", ""))))
        for entry in orjson.loads(_COMMUNITY.read_bytes())["models"]:
            if entry["air"] not in self._models:
                self._add(_community(entry))

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def curated(self) -> Iterator[Model]:
        """The models of the registry."""
        return (model for model in self if model.curated)

    def find(self, name: str) -> Model | None:
        """The model with this AIR, slug or former slug."""
        return self._models.get(name) or self._slugs.get(name) or self._slugs.get(_FORMER_SLUGS.get(name, ""))

    def slug_of(self, air: str) -> str:
        """The short name of a model; an unknown one is called by what was given."""
        model = self.find(air)
        return model.slug if model is not None else air

    def add_private(self, air: str, name: str, task_type: str = "imageInference", **details: Any) -> Model:
        """Register a trained or uploaded model; the same AIR again replaces it."""
        details.setdefault("category", "lora")
        model = Model(
            air, name, task_type, name=name, private=True, curated=False, source="community", **details
        )
        self._add(model)
        return model

    def restore_private(self, record: Mapping[str, Any]) -> None:
        """Register a private model of a state file."""
        values = {**record, "tags": tuple(record["tags"])}
        self._add(Model(**values, private=True, curated=False, source="community"))

    def forget_private(self) -> None:
        """Drop what trainings and uploads have added."""
        for model in [one for one in self if one.private]:
            del self._models[model.air]
            if self._slugs.get(model.slug) is model:
                del self._slugs[model.slug]

    def _add(self, model: Model) -> None:
        self._models[model.air] = model
        # A private name must not hide a curated slug.
        if not model.private or model.slug not in self._slugs:
            self._slugs[model.slug] = model

    def _curated(self, air: str, slug: str, task_type: str) -> Model:
        added = _FIRST_ADDED_S + derived_int(_ADDED_WITHIN_S, "added", air)
        family = max(
            (one for one in self.architecture_task_types if one in slug or one.removesuffix("-oss") in slug),
            key=len,
            default=None,
        )
        return Model(
            air,
            slug,
            task_type,
            name=title(slug),
            architecture=family,
            category="checkpoint",
            popularity=derived_int(900, "popularity", air),
            added=added,
            updated=added + derived_int(180 * 86_400, "updated", air),
        )


def _community(entry: Mapping[str, Any]) -> Model:
    return Model(
        entry["air"],
        entry["slug"],
        entry["taskType"],
        name=entry["name"],
        curated=False,
        category=entry["category"],
        architecture=entry.get("architecture"),
        type=entry.get("type", ""),
        conditioning=entry.get("conditioning", ""),
        tags=tuple(entry["tags"]),
        source=entry.get("source", "community"),
        description=entry["shortDescription"],
        positive_trigger_words=entry.get("positiveTriggerWords", ""),
        negative_trigger_words=entry.get("negativeTriggerWords", ""),
        popularity=entry["popularity"],
        added=entry["added"],
        updated=entry["updated"],
    )


def title(slug: str) -> str:
    """A readable name of a slug."""
    return slug.replace("-", " ").title()
