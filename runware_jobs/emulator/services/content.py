"""The content service: the curated catalogue as read-only JSON, with filters, order and pages."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from runware_jobs.emulator.models.samples import example_prompt
from runware_jobs.emulator.pictures.scene import draw_picture
from runware_jobs.emulator.rest import base_url, json_response

from .shelves import Shelves, with_category

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from runware_jobs.emulator.models.catalogue import Model
    from runware_jobs.emulator.protocol import Platform

_DEFAULT_LIMIT = 20
_LARGEST_LIMIT = 500
_COVER_SIZE = (640, 360)
# What is shown without a `status` filter; the others are there for those who know them.
_LISTED = ("live", "deprecated", "coming-soon", "compatible-only")
_SORTS: Mapping[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "weight": (lambda one: one["weight"], "desc"),
    "popularity": (lambda one: one["weight"], "desc"),
    "releasedAt": (lambda one: one["releasedAt"], "desc"),
    "newest": (lambda one: one["releasedAt"], "desc"),
    "name": (lambda one: one["name"].lower(), "asc"),
    "alpha": (lambda one: one["name"].lower(), "asc"),
    "creator": (lambda one: one["creator"], "asc"),
}


async def list_models(request: Request) -> Response:
    """All curated models that pass the filters; with `paginate=true` one page and the total."""
    query = request.query_params
    shelves = _shelves(request)
    models = shelves.models()
    status = query.get("status")
    models = [one for one in models if (one["status"] == status if status else one["status"] in _LISTED)]
    if query.get("category"):
        models = with_category(models, query["category"], shelves.catalogue)
    if query.get("capability"):
        models = [one for one in models if query["capability"] in one["capabilities"]]
    if query.get("creator"):
        models = [one for one in models if one["creator"] == query["creator"]]
    words = query.get("q", "").lower().split()
    models = [one for one in models if all(word in _text(one) for word in words)]
    sort = query.get("sort")
    if sort is not None and sort not in _SORTS:
        return _bad(f"sort: must be one of {', '.join(_SORTS)}")
    key, usual = _SORTS[sort or "weight"]
    is_down = query.get("order", usual) == "desc"
    models = sorted(models, key=lambda one: (key(one), one["model"]), reverse=is_down)
    offset = _count(query.get("offset"), 0)
    limit = min(_LARGEST_LIMIT, _count(query.get("limit"), _DEFAULT_LIMIT))
    if query.get("paginate") == "true":
        page = models[offset : offset + limit]
        return json_response({"total": len(models), "limit": limit, "offset": offset, "items": page})
    if "limit" in query or "offset" in query:
        models = models[offset : offset + limit]
    return json_response(models)


async def get_model(request: Request) -> Response:
    """One model by slug or AIR."""
    return _of_model(request, lambda shelves, model: shelves.shown(model))


async def get_examples(request: Request) -> Response:
    """Examples of a model, of one `capability` or of all."""
    capability = request.query_params.get("capability")
    return _of_model(
        request,
        lambda shelves, model: [
            one for one in shelves.examples(model) if capability is None or one["capability"] == capability
        ],
    )


async def get_pricing(request: Request) -> Response:
    """What a model costs."""
    return _of_model(request, lambda shelves, model: shelves.pricing(model))


async def get_guides(request: Request) -> Response:
    """Written guides for a model."""
    return _of_model(request, lambda shelves, model: shelves.guides(model))


async def list_collections(request: Request) -> Response:
    """All collections, of one `category` or of all."""
    category = request.query_params.get("category")
    found = _shelves(request).collections()
    return json_response([one for one in found if category is None or category in one["category"]])


async def get_collection(request: Request) -> Response:
    return _named(request, _shelves(request).collections())


async def list_creators(request: Request) -> Response:
    return json_response(_shelves(request).creators())


async def get_creator(request: Request) -> Response:
    return _named(request, _shelves(request).creators())


async def list_capabilities(request: Request) -> Response:
    return json_response(_shelves(request).capabilities())


async def get_cover(request: Request) -> Response:
    """The picture of a model: its example's prompt, drawn."""
    model = _shelves(request).find(request.path_params["slug"])
    if model is None:
        return _missing()
    body = await asyncio.to_thread(_cover, model)
    return Response(body, media_type="image/jpeg", headers={"Cache-Control": "public, max-age=86400"})


def content_routes() -> list[Route]:
    return [
        Route("/content/models", list_models),
        Route("/content/models/{name}", get_model),
        Route("/content/models/{name}/examples", get_examples),
        Route("/content/models/{name}/pricing", get_pricing),
        Route("/content/models/{name}/guides", get_guides),
        Route("/content/collections", list_collections),
        Route("/content/collections/{name}", get_collection),
        Route("/content/creators", list_creators),
        Route("/content/creators/{name}", get_creator),
        Route("/content/capabilities", list_capabilities),
        Route("/content/covers/{slug}.jpg", get_cover),
    ]


def _shelves(request: Request) -> Shelves:
    platform: Platform = request.app.state.platform
    return Shelves(platform.catalogue, platform.bundle, base_url(request))


def _of_model(request: Request, answer: Callable[[Shelves, Model], Any]) -> Response:
    shelves = _shelves(request)
    model = shelves.find(request.path_params["name"])
    if model is None:
        return _missing()
    return json_response(answer(shelves, model))


def _named(request: Request, found: list[dict[str, Any]]) -> Response:
    name = request.path_params["name"]
    one = next((one for one in found if one["id"] == name), None)
    return json_response(one) if one is not None else _missing()


def _text(shown: Mapping[str, Any]) -> str:
    return " ".join((shown["air"], shown["model"], shown["name"], shown["headline"])).lower()


def _cover(model: Model) -> bytes:
    out = io.BytesIO()
    draw_picture(example_prompt(model), 1, _COVER_SIZE).save(out, "JPEG", quality=88)
    return out.getvalue()


def _count(value: str | None, default: int) -> int:
    return int(value) if value is not None and value.isdigit() else default


def _missing() -> Response:
    return json_response({"error": "not found"}, 404)


def _bad(message: str) -> Response:
    return json_response({"error": message}, 400)
