"""Find the schema that says what a task may look like: the platform's live one, else the bundled one.

What was found is kept for the process. A schemas service that cannot be reached is left alone for a
while, so that validation costs one short wait and not one for each call.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx
import referencing
from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # ships no types

from runware_jobs.client.errors import RunwareError

from .bundle import architecture_schema, legacy_schema, model_schema, utility_schema, with_legacy
from .http import fetch, read_json, unreadable
from .problems import error_from_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.client.log import ClientLog

    from .bundle import Schema

# Validation is a courtesy: a slow schemas service must not hold up a task for long.
_FETCH_TIMEOUT_S = 3.0
_PAUSE_AFTER_FAILURE_S = 30.0
# A model that the service does not know today may be launched tomorrow.
_UNKNOWN_TTL_S = 300.0


class FoundSchema(NamedTuple):
    """A schema ready for checking; `documentation` is the page of its model, None when nobody named one."""

    validator: Any
    documentation: str | None = None


class _Kept(NamedTuple):
    found: FoundSchema | None
    until: float


_Place = tuple[str, str]  # a schemas service and a model; an empty model stands for the whole service
_kept: dict[_Place, _Kept] = {}
_paused_until: dict[_Place, float] = {}
_bundled: dict[_Place, FoundSchema | None] = {}  # by task type and model
_asking: WeakKeyDictionary[httpx.AsyncClient, dict[_Place, asyncio.Lock]] = WeakKeyDictionary()


def clear_validator_cache() -> None:
    """Forget the schemas kept by this process; the next validation asks the schemas service again."""
    _kept.clear()
    _paused_until.clear()
    _bundled.clear()


async def find_schema(
    session: httpx.AsyncClient,
    schemas_base_url: str,
    task: Mapping[str, Any],
    log: ClientLog,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> FoundSchema | None:
    """Give the schema of a task, None when nobody has one: then the platform decides alone.

    Utilities and the task types of older SDKs have bundled schemas only: the service speaks of models.
    """
    task_type, model = task["taskType"], task.get("model")
    if utility_schema(task_type) is not None or legacy_schema(task_type) is not None:
        return _from_bundle(task_type, "")
    if not isinstance(model, str) or not model:
        return None
    place = schemas_base_url, model
    # One question for all the tasks that begin at the same time.
    async with _asking.setdefault(session, {}).setdefault(place, asyncio.Lock()):
        kept = _kept.get(place)
        if kept is not None and clock() < kept.until:
            return kept.found
        if not any(clock() < _paused_until.get(key, -math.inf) for key in (place, (schemas_base_url, ""))):
            try:
                return await _ask(session, place, clock)
            except _NotUsableError as error:
                _paused_until[error.place] = clock() + _PAUSE_AFTER_FAILURE_S
                log.write("warn", "schema_not_usable", {"model": model, "reason": repr(error.__cause__)})
        return _from_bundle(task_type, model)


class _NotUsableError(Exception):
    """The service did not answer (then `place` is all of it), or what it gave for one model is no schema."""

    def __init__(self, place: _Place) -> None:
        super().__init__(place)
        self.place = place


async def _ask(session: httpx.AsyncClient, place: _Place, clock: Callable[[], float]) -> FoundSchema | None:
    base_url, model = place
    url = f"{base_url.rstrip('/')}/resolve/{quote(model, safe='')}"
    try:
        response = await fetch(session, url, timeout_s=_FETCH_TIMEOUT_S)
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise error_from_answer(response)
    except RunwareError as error:
        raise _NotUsableError((base_url, "")) from error
    try:
        found = _read(response)
    except Exception as error:  # a foreign document inside a library: it may raise anything
        raise _NotUsableError(place) from error
    _kept[place] = _Kept(found, clock() + _UNKNOWN_TTL_S if found is None else math.inf)
    return found


def _read(response: httpx.Response) -> FoundSchema | None:
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    if not response.is_success:
        raise error_from_answer(response)
    answer = read_json(response, dict)
    schema, documentation = answer.get("requestSchema"), answer.get("documentation")
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise unreadable(response)
    validator_for(schema).check_schema(schema)
    return _ready(schema, documentation if isinstance(documentation, str) else None)


def _ready(schema: Schema, documentation: str | None = None) -> FoundSchema:
    # An empty registry: a schema may not make this process fetch what it refers to.
    return FoundSchema(validator_for(schema)(schema, registry=referencing.Registry()), documentation)


def _from_bundle(task_type: str, model: str) -> FoundSchema | None:
    key = task_type, model
    if key not in _bundled:
        schema = utility_schema(task_type) or legacy_schema(task_type) or _model_schema(task_type, model)
        _bundled[key] = None if schema is None else _ready(with_legacy(schema, task_type))
    return _bundled[key]


def _model_schema(task_type: str, model: str) -> Schema | None:
    curated = model_schema(model)
    if curated is not None:
        return curated
    schema = architecture_schema(model)
    # A family that is called like an architecture may hold models for something else.
    is_meant = schema is not None and schema["properties"]["taskType"]["const"] == task_type
    return schema if is_meant else None
