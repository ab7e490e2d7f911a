"""The schemas and content services, as far as clients need them: the registry and the list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from .catalogue import Catalogue, Model, title
from .rest import json_response

if TYPE_CHECKING:
    from starlette.requests import Request


async def get_registry(request: Request) -> Response:
    """The registry document; 304 for a client that has it."""
    catalogue = _catalogue(request)
    headers = {"ETag": catalogue.etag}
    if request.headers.get("if-none-match") == catalogue.etag:
        return Response(status_code=304, headers=headers)
    return Response(catalogue.document, headers=headers, media_type="application/json")


async def get_models(request: Request) -> Response:
    """All public models; with `paginate=true` one page and the total."""
    query = request.query_params
    words = query.get("q", "").lower()
    models = [
        _content(model)
        for model in _catalogue(request)
        if not model.private and words in f"{model.air} {model.slug}".lower()
    ]
    if query.get("paginate") != "true":
        return json_response(models)
    offset, limit = (_count(query.get(name), default) for name, default in (("offset", 0), ("limit", 20)))
    page = models[offset : offset + limit]
    return json_response({"total": len(models), "limit": limit, "offset": offset, "items": page})


async def get_model(request: Request) -> Response:
    """One model by slug or AIR; 404 for an unknown one."""
    model = _catalogue(request).find(request.path_params["name"])
    if model is None:
        return json_response({"error": "not found"}, 404)
    return json_response(_content(model))


def schema_routes() -> list[Route]:
    """The routes of both services; each sits under its own prefix, as one host serves them all here."""
    return [
        Route("/schemas/registry.json", get_registry),
        Route("/content/models", get_models),
        Route("/content/models/{name}", get_model),
    ]


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.platform.catalogue
    return catalogue


def _content(model: Model) -> dict[str, Any]:
    return {
        "model": model.slug,
        "air": model.air,
        "name": title(model.slug),
        "creator": model.air.partition(":")[0],
        "capabilities": [f"op:{model.task_type}"],
        "status": "live",
    }


def _count(value: str | None, default: int) -> int:
    return int(value) if value is not None and value.isdigit() else default
