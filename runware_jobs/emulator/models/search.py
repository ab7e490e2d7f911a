"""modelSearch: which models a request finds, in which order, and how each is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .capabilities import capabilities_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runware_jobs.emulator.switches import Switches

    from .catalogue import Model

DEFAULT_LIMIT = 20
# Architectures by the names that uploads and searches of older clients use.
_SAME_ARCHITECTURE = {"sd1x": "sd-1-5", "flux1d": "flux-1-dev", "flux1s": "flux-1-schnell", "sdxl": "sdxl"}
_SORTS: Mapping[str, Callable[[Model], Any]] = {
    "name": lambda model: model.name.lower(),
    "addedUnixTimestamp": lambda model: model.added,
    "updatedDateUnixTimestamp": lambda model: model.updated,
}


def search(
    models: Iterable[Model], request: Mapping[str, Any], organization_uuid: str, switches: Switches
) -> tuple[int, list[dict[str, Any]]]:
    """How many models the request finds, and the page of them that it asks for."""
    words = str(request.get("search", "")).lower().split()
    found = [
        model
        for model in models
        if (not model.private or model.owner in {"", organization_uuid})
        and _is_wanted(model, request)
        and all(word in _text(model) for word in words)
    ]
    ordered = _sorted(found, str(request.get("sort", "_score")), words)
    offset, limit = int(request.get("offset", 0)), int(request.get("limit", DEFAULT_LIMIT))
    return len(found), [_entry(model, switches) for model in ordered[offset : offset + limit]]


def _is_wanted(model: Model, request: Mapping[str, Any]) -> bool:
    """Every filter, in its present and its older spelling."""
    category, architecture = request.get("category"), request.get("architecture")
    if category is not None and model.category != category:
        return False
    if architecture is not None:
        wanted = _SAME_ARCHITECTURE.get(str(architecture).lower(), str(architecture).lower())
        if (_SAME_ARCHITECTURE.get(model.architecture or "", model.architecture)) != wanted:
            return False
    if not set(request.get("capabilities", ())) <= set(capabilities_of(model)):
        return False
    for name in ("type", "conditioning"):
        if request.get(name) and getattr(model, name) != request[name]:
            return False
    if not {str(tag).lower() for tag in request.get("tags", ())} <= set(model.tags):
        return False
    return _is_from(model, request) and _is_visible(model, request)


def _is_from(model: Model, request: Mapping[str, Any]) -> bool:
    source = request.get("source")
    if request.get("featured") is True or source == "featured":
        source = "official"
    return source is None or model.source == source


def _is_visible(model: Model, request: Mapping[str, Any]) -> bool:
    visibility = request.get("visibility", "all")
    if request.get("private") is True or request.get("owned") is True:
        visibility = "private"
    match visibility:
        case "private" | "owned":
            return model.private
        case "public":
            return not model.private
        case "favorite":
            # Favourites are marked in the dashboard, which is not part of this platform.
            return False
        case _:
            return True


def _sorted(found: list[Model], sort: str, words: list[str]) -> list[Model]:
    """By relevance where not said otherwise; `-` in front turns the order around."""
    name = sort.removeprefix("-")
    if name == "popularity":
        # Bare, it already means the most popular first.
        return sorted(
            found, key=lambda model: (model.popularity, model.air), reverse=not sort.startswith("-")
        )
    key = _SORTS.get(name)
    if key is not None:
        return sorted(found, key=lambda model: (key(model), model.air), reverse=sort.startswith("-"))
    return sorted(found, key=lambda model: (-_relevance(model, words), -model.popularity, model.air))


def _relevance(model: Model, words: list[str]) -> int:
    name = f"{model.slug} {model.name}".lower()
    return sum(word in name for word in words)


def _text(model: Model) -> str:
    return " ".join((model.air, model.slug, model.name, model.description, *model.tags)).lower()


def _entry(model: Model, switches: Switches) -> dict[str, Any]:
    """A model as modelSearch shows it; what is not known is left out."""
    shown: dict[str, Any] = {
        "air": model.air,
        "name": model.name,
        "category": model.category,
        "architecture": model.architecture,
        "capabilities": capabilities_of(model),
        "source": switches.model_source if model.source == "official" else model.source,
        "heroImage": model.hero_image or None,
        "private": model.private,
        "isFavorite": False,
        "provider": model.air.partition(":")[0],
        "shortDescription": model.description or None,
        "tags": list(model.tags) or None,
        "type": model.type or None,
        "conditioning": model.conditioning or None,
        "version": model.air.rpartition("@")[2],
        "addedUnixTimestamp": model.added,
        "updatedDateUnixTimestamp": model.updated,
    }
    for name, words in (
        ("positiveTriggerWords", model.positive_trigger_words),
        ("negativeTriggerWords", model.negative_trigger_words),
    ):
        if words:
            is_list = switches.trigger_words == "list"
            shown[name] = [word.strip() for word in words.split(",")] if is_list else words
    return {name: value for name, value in shown.items() if value is not None}
