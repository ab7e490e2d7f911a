"""What the content service knows about models: creators, collections, status, prices, examples, guides.

Which models there are, who made them and what they do follows from the registry. Headlines, dates, weights,
prices and the states other than `live` are invented, for clients to have something to show and to filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runware_jobs.emulator.identifiers import derived_uuid
from runware_jobs.emulator.kinds import KINDS, specific
from runware_jobs.emulator.models.capabilities import Category, capabilities_of, category_of, label_of
from runware_jobs.emulator.models.catalogue import title
from runware_jobs.emulator.models.samples import example_prompt, sample_request
from runware_jobs.emulator.prices import price_micro_usd, usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runware_jobs.emulator.models.catalogue import Catalogue, Model
    from runware_jobs.emulator.rules.bundle import Bundle

# Creators by the first part of an AIR, where that is not already their name.
_CREATORS: Mapping[str, str] = MappingProxyType(
    {
        "bfl": "black-forest-labs",
        "klingai": "kling-ai",
        "topazlabs": "topaz-labs",
        "prunaai": "pruna-ai",
        "fishaudio": "fish-audio",
        "civitai": "stability-ai",
        "zai": "z-ai",
        "xai": "x-ai",
    }
)
# The platform's own AIRs are of many makers; the slug begins with the maker's name.
_CREATORS_BY_SLUG: Mapping[str, str] = MappingProxyType(
    {
        "bfl": "black-forest-labs",
        "alibaba": "alibaba",
        "krea": "krea",
        "meta": "meta",
        "openai": "openai",
        "stabilityai": "stability-ai",
        "flux": "black-forest-labs",
        "qwen2": "alibaba",
    }
)
# One model for each state that is not `live`, so that clients meet them all.
_STATES: Mapping[str, str] = MappingProxyType(
    {
        "bfl-flux-1-1-pro": "deprecated",
        "ideogram-2a": "deprecated",
        "minimax-01": "deprecated",
        "runware-qwen-image-style-lora-training": "coming-soon",
        "ideogram-4-0q": "unlisted",
        "kandinsky-5-0-image-lite": "draft",
        "openai-gpt-5-nano": "compatible-only",
    }
)
_REPLACED_BY: Mapping[str, str] = MappingProxyType(
    {"bfl-flux-1-1-pro": "bfl-flux-2-pro", "ideogram-2a": "ideogram-4-0", "minimax-01": "minimax-hailuo-2-3"}
)
_COLLECTIONS: tuple[tuple[str, str, str, tuple[Category, ...]], ...] = (
    ("text-to-image", "Text to image", "io:text-to-image", ("image",)),
    ("image-editing", "Image editing", "op:edit", ("image",)),
    ("text-to-video", "Text to video", "io:text-to-video", ("video",)),
    ("talking-avatars", "Talking avatars", "op:avatar", ("video",)),
    ("lip-sync", "Lip sync", "op:lip-sync", ("video",)),
    ("music", "Music", "op:music", ("audio",)),
    ("voices", "Voices", "op:text-to-speech", ("audio",)),
    ("language-models", "Language models", "io:text-to-text", ("text",)),
    ("upscalers", "Upscalers", "op:upscale", ("image", "video")),
    ("background-removal", "Background removal", "op:remove-background", ("image", "video")),
    ("vectors", "Vectors", "op:vectorize", ("image",)),
    ("3d-models", "3D models", "io:image-to-3d", ("3d",)),
    ("training", "Training", "op:train", ("image",)),
)
_GUIDED = ("imageInference", "videoInference", "training")


@dataclass(frozen=True, slots=True)
class Shelves:
    """The catalogue as the content service shows it. `base_url` is where covers are fetched from."""

    catalogue: Catalogue
    bundle: Bundle
    base_url: str

    def models(self) -> list[dict[str, Any]]:
        """Every curated model, the heaviest first."""
        shown = [self.shown(model) for model in self.catalogue.curated()]
        return sorted(shown, key=lambda one: (-one["weight"], one["model"]))

    def find(self, name: str) -> Model | None:
        """The curated model with this AIR or slug."""
        model = self.catalogue.find(name)
        return model if model is not None and model.curated else None

    def shown(self, model: Model) -> dict[str, Any]:
        """One model's metadata."""
        cover = f"{self.base_url}/content/covers/{model.slug}.jpg"
        shown = {
            "model": model.slug,
            "air": model.air,
            "name": model.name,
            "creator": creator_of(model),
            "capabilities": capabilities_of(model),
            "architecture": model.architecture or model.slug,
            "hosted": model.air.startswith("runware:"),
            "status": _STATES.get(model.slug, "live"),
            "releasedAt": datetime.fromtimestamp(model.added, UTC).date().isoformat(),
            "weight": model.popularity,
            "headline": f"{model.name} by {title(creator_of(model))}",
            "description": f"{model.name} does {label_of(capabilities_of(model)[0]).lower()}.",
            "coverImage": cover,
            "ogImage": cover,
            **self._price_fields(model),
        }
        if model.slug in _REPLACED_BY:
            shown["replacedBy"] = _REPLACED_BY[model.slug]
        return shown

    def pricing(self, model: Model) -> dict[str, Any]:
        """What the model's example costs, from the price table."""
        shown = self.shown(model)
        names = ("model", "air", "name", "status", "coverImage", "releasedAt")
        return {
            **{name: shown[name] for name in names},
            **self._price_fields(model),
            "category": [category_of(model)],
        }

    def examples(self, model: Model) -> list[dict[str, Any]]:
        """A request that works as it stands, and the shape of what it answers."""
        request = self.sample(model)
        if request is None:
            return []
        capabilities = capabilities_of(model)
        return [
            {
                "id": f"{model.slug}-1",
                "title": example_prompt(model),
                "model": model.slug,
                "capability": capability,
                "asset": f"{self.base_url}/content/covers/{model.slug}.jpg",
                "request": request,
                "response": {"taskType": model.task_type, "taskUUID": request["taskUUID"]},
            }
            for capability in capabilities[:1]
        ]

    def guides(self, model: Model) -> list[dict[str, Any]]:
        """Written guides, for the kinds of models that need one."""
        if model.task_type not in _GUIDED:
            return []
        return [
            {
                "slug": f"{model.slug}-guide",
                "title": f"Working with {model.name}",
                "description": f"From a first request to a steady stream of results with {model.name}.",
                "date": datetime.fromtimestamp(model.updated, UTC).date().isoformat(),
                "url": f"https://runware.ai/docs/guides/{model.slug}-guide",
            }
        ]

    def sample(self, model: Model) -> dict[str, Any] | None:
        """A working request; None for a model whose schema is not known."""
        entry = self.bundle.models.get(model.air)
        if entry is None or entry["requestSchema"] is None:
            return None
        return sample_request(model, entry, derived_uuid("example", model.air))

    def creators(self) -> list[dict[str, Any]]:
        """Every creator with its models in full."""
        by_creator: dict[str, list[dict[str, Any]]] = {}
        for shown in self.models():
            by_creator.setdefault(shown["creator"], []).append(shown)
        return [
            {
                "id": creator,
                "name": title(creator),
                "logo": f"{self.base_url}/content/covers/{models[0]['model']}.jpg",
                "headline": f"Models by {title(creator)}",
                "description": f"{title(creator)} has {len(models)} models on the platform.",
                "models": models,
            }
            for creator, models in sorted(by_creator.items())
        ]

    def collections(self) -> list[dict[str, Any]]:
        """Every collection with its models in full."""
        models = self.models()
        return [
            {
                "id": slug,
                "name": name,
                "order": order,
                "headline": name,
                "description": f"Models for {name.lower()}.",
                "icon": slug,
                "category": list(categories),
                "models": [one for one in models if capability in one["capabilities"]],
            }
            for order, (slug, name, capability, categories) in enumerate(_COLLECTIONS, start=1)
        ]

    def capabilities(self) -> list[dict[str, str]]:
        """Every capability that a curated model has."""
        found = {one for model in self.catalogue.curated() for one in capabilities_of(model)}
        return [{"id": one, "label": label_of(one)} for one in sorted(found)]

    def _price_fields(self, model: Model) -> dict[str, Any]:
        request = self.sample(model)
        kind = KINDS.get(model.task_type)
        if request is None or kind is None:
            return {}
        price = usd(price_micro_usd(specific(kind, request), request))
        sizes = [f"{request[name]} {unit}" for name, unit in (("duration", "s"),) if name in request] + (
            [f"{request['width']}x{request['height']}"] if "width" in request else []
        )
        return {
            "pricingOverview": f"From ${price}",
            "pricingExamples": [{"configuration": " · ".join(sizes) or "1 request", "price": f"${price}"}],
        }


def creator_of(model: Model) -> str:
    """The id of whoever made the model."""
    provider = model.air.partition(":")[0]
    if provider == "runware":
        return _CREATORS_BY_SLUG.get(model.slug.partition("-")[0], "runware")
    return _CREATORS.get(provider, provider)


def with_category(
    models: Iterable[dict[str, Any]], category: str, catalogue: Catalogue
) -> list[dict[str, Any]]:
    """Those of the shown models that stand on that shelf."""
    return [one for one in models if _category(one, catalogue) == category]


def _category(shown: dict[str, Any], catalogue: Catalogue) -> str:
    model = catalogue.find(shown["air"])
    return category_of(model) if model is not None else ""
