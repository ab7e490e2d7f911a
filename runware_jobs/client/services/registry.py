"""Which model is which task: the registry of curated models.

`Registry` keeps the platform's live copy (time to live, ETag) on top of the one that ships in
`runware_jobs/schemas/`. `resolve_task_type` and `bundled_registry` are pure and need no network,
so a producer can name the task type of a job where it is enqueued.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson

from runware_jobs.client.errors import RunwareError, create_runware_error

from .bundle import operation_task_types, read_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.client.log import ClientLog

_TTL_S = 300.0
# The registry is a convenience: a slow schemas service must not hold up the first request.
_FETCH_TIMEOUT_S = 3.0
# A service that is away is not asked by every call, and not left alone for so long that a new model stays unknown.
_PAUSE_AFTER_FAILURE_S = 30.0


class ModelEntry(NamedTuple):
    """What the registry knows of one model; `slug` is its name in URLs of the catalogue."""

    task_type: str
    slug: str


@dataclass(frozen=True, slots=True)
class RegistryContent:
    """One version of the registry; `models` is keyed by AIR, the task types by slug."""

    version: str
    models: Mapping[str, ModelEntry]
    architecture_task_types: Mapping[str, str] = field(default_factory=dict)
    modality_task_types: Mapping[str, str] = field(default_factory=dict)
    operation_task_types: Mapping[str, str] = field(default_factory=dict)
    airs_by_slug: Mapping[str, str] = field(default_factory=dict)

    def air_of(self, model: str) -> str:
        """Give the AIR of a curated slug; anything else comes back unchanged."""
        if is_air(model):
            return model
        return self.airs_by_slug.get(model, model)

    def knows(self, model: str) -> bool:
        """Say whether a model is listed, by AIR or slug."""
        return self.air_of(model) in self.models


def is_air(model: str) -> bool:
    """Tell an AIR (`creator:family@version`) from a slug by its marks."""
    return ":" in model or "@" in model


@cache
def bundled_registry() -> RegistryContent:
    """Give the registry that ships with this package. Reads two files, once per process."""
    return replace(_parse(read_bundle("registry")), operation_task_types=operation_task_types())


def resolve_task_type(params: Mapping[str, Any], registry: RegistryContent | None = None) -> str:
    """Name the task type of `params`: the explicit `taskType`, else the registry's (default: the bundled one).

    Errors:
        RunwareError: neither is there (`validation`) or the model is not listed (`notFound`); the message says
            what to add.
    """
    explicit = params.get("taskType")
    if isinstance(explicit, str) and explicit:
        return explicit
    model = params.get("model")
    if not isinstance(model, str) or not model:
        raise create_runware_error(
            "missingModel",
            'Neither "model" nor "taskType" is set: add "model" (an AIR like "runware:400@1" or a catalogue '
            'slug), or "taskType".',
            parameter="model",
        )
    known = registry or bundled_registry()
    entry = known.models.get(known.air_of(model))
    if entry is None:
        raise create_runware_error(
            "unknownModel",
            f'The registry does not list the model "{model}": add "taskType" (for example "imageInference") to the '
            "parameters, or call refresh_registry() if the model was launched recently.",
            parameter="taskType",
        )
    return entry.task_type


class Registry:
    """The live registry. Asking never fails: without the service the last known copy answers.

    `session` is borrowed, never closed. Nothing is fetched before the first question; `close()` ends a
    refresh that is under way.
    """

    def __init__(
        self,
        session: Callable[[], httpx.AsyncClient],
        url: str,
        log: ClientLog,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._url = url
        self._log = log
        self._clock = clock
        self._content = bundled_registry()
        self._etag: str | None = None
        self._fresh_until = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def content(self) -> RegistryContent:
        """The copy at hand, whatever its age."""
        return self._content

    async def current(self) -> RegistryContent:
        """Give a fresh copy; waits for a stale one to be refreshed, for at most the few seconds of one fetch.

        A failed fetch is not tried again at once: until then the copy at hand counts as fresh.
        """
        if self._is_stale:
            await asyncio.wait({self._refresh_behind()})
        return self._content

    async def for_params(self, params: Mapping[str, Any]) -> RegistryContent:
        """Give a copy that can answer for these params.

        One that can answers at once, even when it is stale: then it is refreshed behind the caller. Only a model
        that it does not list is waited for.
        """
        model = params.get("model")
        has_task_type = isinstance(params.get("taskType"), str)
        if not isinstance(model, str) or (has_task_type and is_air(model)):
            return self._content
        if not self._content.knows(model):
            return await self.current()
        if self._is_stale:
            self._refresh_behind()
        return self._content

    async def refresh(self) -> None:
        """Fetch now, whatever the age of the copy at hand; a failure keeps that copy."""
        if self._refreshing is not None:  # it may have been answered before the caller's model was launched
            await asyncio.wait({self._refreshing})
        await asyncio.wait({self._refresh_behind()})

    async def close(self) -> None:
        """End a refresh that is under way. Calling it again does nothing."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})

    @property
    def _is_stale(self) -> bool:
        return self._clock() >= self._fresh_until

    def _refresh_behind(self) -> asyncio.Task[None]:
        """Give the one refresh that is under way, begun now if there is none."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._fetch())
        return self._refreshing

    async def _fetch(self) -> None:
        from .http import fetch  # noqa: PLC0415 - services stands on the parts, of which this is one

        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        try:
            response = await fetch(self._session(), self._url, headers=headers, timeout_s=_FETCH_TIMEOUT_S)
            if response.status_code != httpx.codes.NOT_MODIFIED:
                response.raise_for_status()
                self._content = _over(bundled_registry(), _parse(orjson.loads(response.content)))
                self._etag = response.headers.get("etag")
        except (RunwareError, httpx.HTTPStatusError, ValueError) as error:
            self._log.write("warn", "registry_not_fetched", {"reason": repr(error)})
            self._fresh_until = self._clock() + _PAUSE_AFTER_FAILURE_S
            return
        self._fresh_until = self._clock() + _TTL_S


def _parse(raw: object) -> RegistryContent:
    if not isinstance(raw, dict) or not (models := _models(raw.get("models"))):
        raise ValueError("the registry lists no models")
    return RegistryContent(
        version=str(raw.get("version", "")),
        models=models,
        architecture_task_types=_texts(raw.get("architectureTaskTypes")),
        modality_task_types=_texts(raw.get("modalityTaskTypes")),
        operation_task_types=_texts(raw.get("operationTaskTypes")),
        airs_by_slug={entry.slug: air for air, entry in models.items()},
    )


def _models(value: object) -> dict[str, ModelEntry]:
    """Read the entries that can be read; one that cannot costs only itself."""
    return {
        air: ModelEntry(entry["taskType"], entry["id"])
        for air, entry in (value.items() if isinstance(value, dict) else ())
        if isinstance(entry, dict)
        and isinstance(entry.get("taskType"), str)
        and isinstance(entry.get("id"), str)
    }


def _texts(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {slug: task_type for slug, task_type in pairs if isinstance(task_type, str)}


def _over(bundled: RegistryContent, live: RegistryContent) -> RegistryContent:
    """Lay the live registry over the bundled one: what it says holds, what it leaves out stays usable."""
    return RegistryContent(
        version=live.version,
        models={**bundled.models, **live.models},
        architecture_task_types={**bundled.architecture_task_types, **live.architecture_task_types},
        modality_task_types={**bundled.modality_task_types, **live.modality_task_types},
        operation_task_types={**bundled.operation_task_types, **live.operation_task_types},
        airs_by_slug={**bundled.airs_by_slug, **live.airs_by_slug},
    )
