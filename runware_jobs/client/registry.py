"""Which model is which task: the registry of curated models.

`Registry` keeps the platform's live copy (time to live, ETag) and falls back to the one that
ships in `runware_jobs/schemas/`. `resolve_task_type` and `bundled_registry` are pure and need
no network, so a producer can name the task type of a job where it is enqueued.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson

from .errors import create_runware_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .log import ClientLog

_TTL_S = 300.0
# The registry is a convenience: a slow schemas service must not hold up the first request.
_FETCH_TIMEOUT_S = 3.0


class ModelEntry(NamedTuple):
    """What the registry knows of one model; `slug` is its name in URLs of the catalogue."""

    task_type: str
    slug: str


@dataclass(frozen=True, slots=True)
class RegistryContent:
    """One version of the registry; `models` is keyed by AIR."""

    version: str
    models: Mapping[str, ModelEntry]
    architecture_task_types: Mapping[str, str] = field(default_factory=dict)
    modality_task_types: Mapping[str, str] = field(default_factory=dict)
    airs_by_slug: Mapping[str, str] = field(default_factory=dict)

    def air_of(self, model: str) -> str:
        """Give the AIR of a curated slug; anything else comes back unchanged."""
        if ":" in model or "@" in model:
            return model
        return self.airs_by_slug.get(model, model)


@cache
def bundled_registry() -> RegistryContent:
    """Give the registry that ships with this package. Reads one file, once per process."""
    return _parse((files("runware_jobs") / "schemas" / "registry.json").read_bytes())


def resolve_task_type(params: Mapping[str, Any], registry: RegistryContent | None = None) -> str:
    """Name the task type of `params`: the explicit `taskType`, else the registry's (default: the bundled one).

    Errors:
        RunwareError (validation): neither is there; the message says what to add.
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
            "invalidModel",
            f'The registry does not list the model "{model}": add "taskType" (for example "imageInference") to the '
            "parameters, or call refresh_registry() if the model was launched recently.",
            parameter="model",
        )
    return entry.task_type


class Registry:
    """The live registry. Asking never fails: without the service the last known copy answers.

    `session` is borrowed, never closed. Nothing is fetched before the first question.
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
        self._lock = asyncio.Lock()

    async def current(self) -> RegistryContent:
        """Give the freshest copy at hand; a failed fetch is not tried again before the time to live is over."""
        if self._clock() < self._fresh_until:
            return self._content
        async with self._lock:
            if self._clock() >= self._fresh_until:
                await self._fetch()
        return self._content

    async def for_params(self, params: Mapping[str, Any]) -> RegistryContent:
        """Give a copy that can answer for these params; the network is asked only when the copy at hand cannot."""
        model = params.get("model")
        if not isinstance(model, str) or self._content.air_of(model) in self._content.models:
            return self._content
        if isinstance(params.get("taskType"), str) and (":" in model or "@" in model):
            return self._content
        return await self.current()

    async def refresh(self) -> None:
        """Fetch now, whatever the age of the copy at hand."""
        async with self._lock:
            await self._fetch()

    async def _fetch(self) -> None:
        self._fresh_until = self._clock() + _TTL_S
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                response = await self._session().get(self._url, headers=headers, timeout=_FETCH_TIMEOUT_S)
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return
            response.raise_for_status()
            self._content = _parse(response.content)
            self._etag = response.headers.get("etag")
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self._log.write("warn", "registry_not_fetched", {"reason": repr(error)})


def _parse(body: bytes) -> RegistryContent:
    raw = orjson.loads(body)
    if not isinstance(raw, dict) or not isinstance(raw.get("models"), dict):
        raise ValueError("the registry is not of the expected shape")  # noqa: TRY004 - bad content of a file, no misuse
    models = {
        air: ModelEntry(entry["taskType"], entry["id"])
        for air, entry in raw["models"].items()
        if isinstance(entry, dict)
        and isinstance(entry.get("taskType"), str)
        and isinstance(entry.get("id"), str)
    }
    return RegistryContent(
        version=str(raw.get("version", "")),
        models=models,
        architecture_task_types=raw.get("architectureTaskTypes") or {},
        modality_task_types=raw.get("modalityTaskTypes") or {},
        airs_by_slug={entry.slug: air for air, entry in models.items()},
    )
