"""Media files, made when somebody asks for them: nothing is drawn while a task is submitted or polled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from .errors import Refusal, error_entry
from .rest import json_response
from .results import http_type, output_format
from .studio import produce

if TYPE_CHECKING:
    from starlette.requests import Request

    from .protocol import Platform
    from .tasks import Task

_CACHE_BYTES = 64 * 1024 * 1024
_MISSING = Refusal("mediaNotFound", "The file does not exist, or its time to live is over.")


class Assets:
    """Renders items and remembers the latest renderings, up to 64 MiB."""

    def __init__(self) -> None:
        self._platform: Platform | None = None
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._cached_bytes = 0

    def attach(self, platform: Platform) -> None:
        """Say which platform's media inputs refer to."""
        self._platform = platform

    def render(self, task: Task, index: int) -> bytes:
        """The bytes of an item, the same every time."""
        key = (task.uuid, index)
        cached = self._cache.get(key)
        if cached is None:
            cached = produce(task, index, self._platform)
            self._keep(key, cached)
        return cached

    async def render_aside(self, task: Task, index: int) -> bytes:
        """The same, drawing in a thread so that polls go on meanwhile."""
        key = (task.uuid, index)
        cached = self._cache.get(key)
        if cached is None:
            cached = await asyncio.to_thread(produce, task, index, self._platform)
            self._keep(key, cached)
        return cached

    def _keep(self, key: tuple[str, int], body: bytes) -> None:
        self._cached_bytes += len(body) - len(self._cache.pop(key, b""))
        self._cache[key] = body
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)


async def get_asset(request: Request) -> Response:
    """An item's file or an uploaded one; 404 before it exists and after its ttl."""
    platform: Platform = request.app.state.platform
    assets: Assets = request.app.state.assets
    uuid = request.path_params["name"].partition(".")[0]
    media = platform.media.get(uuid)
    if media is not None:
        if media.source_url is not None:
            return RedirectResponse(media.source_url)
        return Response(media.body, media_type=media.content_type)
    platform.schedule.run_due()
    found = platform.items.get(uuid)
    now = platform.clock.now_s()
    if found is None:
        return json_response({"errors": [error_entry(_MISSING)]}, 404)
    task, index = found
    if task.ttl_s is not None and task.finish_at[index] + task.ttl_s <= now:
        return json_response({"errors": [error_entry(_MISSING)]}, 404)
    body = await assets.render_aside(task, index)
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(body, headers=headers, media_type=http_type(output_format(task)))
