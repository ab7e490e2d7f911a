"""The task types that answer at once: ping, the archive, media storage, model search, the account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from .errors import Refusal
from .identifiers import derived_uuid, is_uuid_v4
from .media import Media, MediaError, read_upload
from .models.search import search
from .rules.schema_rules import invalid, missing
from .usage import account_management

if TYPE_CHECKING:
    from .messages import Caller
    from .protocol import Platform

Request = Mapping[str, Any]
Utility = Callable[["Platform", Request, "Caller"], "dict[str, Any] | Refusal"]


def ping(_platform: Platform, _request: Request, _caller: Caller) -> dict[str, Any]:
    return {"taskType": "ping", "pong": True}


def get_task_details(platform: Platform, request: Request, caller: Caller) -> dict[str, Any] | Refusal:
    """The archived request and the whole response, as the platform remembers them."""
    task_uuid = request["taskUUID"]
    task = platform.tasks.get(task_uuid)
    if task is None or task.lost or task.account != caller.account.organization_uuid:
        return Refusal("taskNotFound", f"No task with UUID '{task_uuid}' was found.", "taskUUID")
    now = platform.clock.now_s()
    platform.settle(task, now)
    response = platform.archive_overrides.get(task_uuid)
    if response is None:
        response = {}
        for is_error, item in platform.results.polled(task, now, platform.switches):
            response.setdefault("errors" if is_error else "data", []).append(item)
    return {
        "taskType": "getTaskDetails",
        "taskUUID": task_uuid,
        "request": [orjson.Fragment(task.request)],
        "response": response,
    }


def media_storage(platform: Platform, request: Request, caller: Caller) -> dict[str, Any] | Refusal:
    """Upload a file, or delete one by its UUID."""
    operation = request.get("operation", "upload")
    value = request.get("media")
    if not isinstance(value, str) or not value:
        return missing("media")
    base = {"taskType": request["taskType"], "taskUUID": request["taskUUID"], "operation": operation}
    if operation == "delete":
        stored = platform.media.get(value)
        if stored is None or stored.account != caller.account.organization_uuid:
            return Refusal("mediaNotFound", f"No media with UUID '{value}' was found.", "media")
        del platform.media[value]
        platform.dirty_media.add(value)
        return {**base, "mediaUUID": value}
    if operation != "upload":
        return invalid("operation", "Supported values are: upload, delete.")
    media = _store(platform, value, request, caller)
    if isinstance(media, Refusal):
        return media
    return {**base, "mediaUUID": media.uuid, "mediaURL": _media_url(caller, media)}


def image_upload(platform: Platform, request: Request, caller: Caller) -> dict[str, Any] | Refusal:
    """The older way to upload a picture."""
    value = request.get("image")
    if not isinstance(value, str) or not value:
        return missing("image")
    media = _store(platform, value, request, caller)
    if isinstance(media, Refusal):
        return media
    return {
        "taskType": request["taskType"],
        "taskUUID": request["taskUUID"],
        "imageUUID": media.uuid,
        "imageURL": _media_url(caller, media),
    }


def model_search(platform: Platform, request: Request, caller: Caller) -> dict[str, Any] | Refusal:
    """Search the curated and the community's models, and what was trained or uploaded since."""
    for name in ("limit", "offset"):
        value = request.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:  # noqa: PLR2004  # any sane page
            return invalid(name, "It must be an integer of 0 or more.")
    total, results = search(platform.catalogue, request, caller.account.organization_uuid, platform.switches)
    return {
        "taskType": request["taskType"],
        "taskUUID": request["taskUUID"],
        "totalResults": total,
        "results": results,
    }


UTILITIES: Mapping[str, Utility] = MappingProxyType(
    {
        "ping": ping,
        "getTaskDetails": get_task_details,
        "mediaStorage": media_storage,
        "imageUpload": image_upload,
        "modelSearch": model_search,
        "accountManagement": account_management,
    }
)


def _store(platform: Platform, value: str, request: Request, caller: Caller) -> Media | Refusal:
    if is_uuid_v4(value):
        return invalid("media", "It must be a URL, a data URI or base64; a UUID is already stored.")
    uuid = derived_uuid("media", caller.account.organization_uuid, request["taskUUID"])
    try:
        media = read_upload(value, uuid, caller.account.organization_uuid)
    except MediaError as error:
        return invalid("media" if request["taskType"] == "mediaStorage" else "image", f"It is {error}.")
    platform.media[uuid] = media
    platform.dirty_media.add(uuid)
    return media


def _media_url(caller: Caller, media: Media) -> str:
    return f"{caller.base_url}/assets/upload/{media.uuid}.{media.extension}"
