"""Media files, made when somebody asks for them: nothing is drawn while a task is submitted or polled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from .errors import Refusal, error_entry
from .identifiers import uuid_in
from .kinds import media_input
from .making import studio
from .rest import json_response
from .results import http_type, output_format
from .rules.references import is_gone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from .protocol import Platform
    from .tasks import Task

_CACHE_BYTES = 64 * 1024 * 1024
_BOXES_KEPT = 1000
_MISSING = Refusal("mediaNotFound", "The file does not exist, or its time to live is over.")


class Assets:
    """Makes the files of items and remembers the latest ones, up to 64 MiB."""

    def __init__(self) -> None:
        self._attached: Platform | None = None
        self._cache: OrderedDict[tuple[Task, int], bytes] = OrderedDict()
        self._cached_bytes = 0
        self._boxes: OrderedDict[Task, Sequence[tuple[int, int, int, int]]] = OrderedDict()

    def attach(self, platform: Platform) -> None:
        """Say which platform's media inputs refer to; called once, before anything is made."""
        self._attached = platform

    def render(self, task: Task, index: int) -> bytes:
        """The file of an item, the same every time."""
        cached = self._cache.get((task, index))
        if cached is None:
            cached = studio.produce(task, index, self._platform)
            self._keep((task, index), cached)
        return cached

    async def render_aside(self, task: Task, index: int) -> bytes:
        """The same, made in a thread so that polls go on meanwhile."""
        cached = self._cache.get((task, index))
        if cached is None:
            cached = await asyncio.to_thread(studio.produce, task, index, self._platform)
            self._keep((task, index), cached)
        return cached

    def boxes(self, task: Task) -> Sequence[tuple[int, int, int, int]]:
        """Where a masking task finds something: left, top, right, bottom in pixels of its input."""
        found = self._boxes.get(task)
        if found is None:
            found = self._boxes[task] = studio.boxes(task, self._platform)
            if len(self._boxes) > _BOXES_KEPT:
                self._boxes.popitem(last=False)
        return found

    def subject(self, task: Task) -> str | None:
        """The prompt of the earlier item that a tool was given; None for any other input."""
        uuid = uuid_in(str(media_input(task.parameters())))
        item = self._platform.items.get(uuid) if uuid is not None else None
        prompt = item[0].parameters().get("positivePrompt") if item is not None else None
        return str(prompt) if prompt else None

    def film_s(self, task: Task) -> float:
        """How long the film is that a tool was given."""
        return studio.film_s(task, self._platform)

    @property
    def _platform(self) -> Platform:
        if self._attached is None:
            raise RuntimeError("attach a platform before asking for files")
        return self._attached

    def _keep(self, key: tuple[Task, int], body: bytes) -> None:
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
    if found is None or is_gone(*found, platform):
        return json_response({"errors": [error_entry(_MISSING)]}, 404)
    task, index = found
    body = await assets.render_aside(task, index)
    headers = {"Cache-Control": "public, max-age=3600"}
    return Response(body, headers=headers, media_type=http_type(output_format(task)))
