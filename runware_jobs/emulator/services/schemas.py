"""The schemas service: the registry, the schemas of a model, and the map of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from runware_jobs.emulator.rest import base_url, json_response

if TYPE_CHECKING:
    from starlette.requests import Request

    from runware_jobs.emulator.models.catalogue import Model
    from runware_jobs.emulator.protocol import Platform
    from runware_jobs.emulator.rules.bundle import Bundle

_NOT_FOUND = {"error": "not found"}


async def get_registry(request: Request) -> Response:
    """The registry document; 304 for a client that has it."""
    catalogue = _platform(request).catalogue
    headers = {"ETag": catalogue.etag, "Cache-Control": "public, max-age=300"}
    asked = request.headers.get("if-none-match", "")
    if asked == "*" or catalogue.etag in {one.strip().removeprefix("W/") for one in asked.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(catalogue.document, headers=headers, media_type="application/json")


async def resolve(request: Request) -> Response:
    """Request and response schema of a model by AIR or slug; 404 for an unknown one.

    A community model has the schemas of its architecture, or those of its task type.
    """
    platform = _platform(request)
    model = platform.catalogue.find(request.path_params["model"])
    if model is None:
        return json_response(_NOT_FOUND, 404)
    entry = _entry(platform.bundle, model) or {}
    return json_response(
        {
            "requestSchema": entry.get("requestSchema"),
            "responseSchema": entry.get("responseSchema"),
            "documentation": f"https://runware.ai/docs/models/{model.slug}",
        }
    )


async def get_schema_map(request: Request) -> Response:
    """What one release holds, by address; `latest` is the only release but by its own version."""
    platform = _platform(request)
    version = platform.catalogue.version
    if request.path_params["version"] not in {"latest", version}:
        return json_response(_NOT_FOUND, 404)
    prefix = f"{base_url(request)}/schemas/resolve"
    bundle = platform.bundle
    return json_response(
        {
            "version": version,
            "inference": [
                {
                    "air": model.air,
                    "id": model.slug,
                    "taskType": model.task_type,
                    "url": f"{prefix}/{model.air}",
                }
                for model in platform.catalogue.curated()
            ],
            "architectures": _slugs(bundle.architectures),
            "modalities": platform.catalogue.modality_task_types,
            "operations": _slugs(bundle.operations),
            "utilities": sorted(bundle.utilities),
            "errors": {
                "properties": ["code", "message", "parameter", "taskType", "taskUUID", "documentation"]
            },
        }
    )


def schema_routes() -> list[Route]:
    return [
        Route("/schemas/registry.json", get_registry),
        Route("/schemas/resolve/{model:path}", resolve),
        Route("/schemas/releases/{version}/schema-map.json", get_schema_map),
    ]


def _entry(bundle: Bundle, model: Model) -> dict[str, Any] | None:
    return (
        bundle.models.get(model.air)
        or bundle.architectures.get(model.architecture or "")
        or bundle.operation(model.task_type)
    )


def _slugs(entries: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {slug: entry["taskType"] for slug, entry in entries.items()}


def _platform(request: Request) -> Platform:
    platform: Platform = request.app.state.platform
    return platform
