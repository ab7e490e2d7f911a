"""`client.content`: what the platform says about its curated models, for reading.

Public data over plain HTTP; no key is sent. Every call is a question and is asked again as such.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload
from urllib.parse import quote

import httpx

from runware_jobs.client.error_codes import UNREADABLE_ANSWER
from runware_jobs.client.errors import RunwareError, create_runware_error
from runware_jobs.client.parts import unless_cancelled

from .http import fetch, read_json, repeated
from .problems import error_from_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runware_jobs.client.parts import Parts

    from .content_types import (
        Capability,
        CollectionWithModels,
        CreatorWithModels,
        ExampleMetadata,
        GetModelExamplesOptions,
        GuideMetadata,
        ListCollectionsOptions,
        ListModelsOptions,
        ModelMetadata,
        ModelPage,
        PagedListModelsOptions,
        PricingModelListItem,
    )

Value = TypeVar("Value")

# The catalogue answers from a cache: what takes longer is broken.
_ANSWER_S = 30.0
_MODEL_FILTERS: dict[str, type] = {
    "capability": str,
    "category": str,
    "creator": str,
    "limit": int,
    "offset": int,
    "order": str,
    "paginate": bool,
    "search": str,
    "sort": str,
    "status": str,
}
# Usable only through another name of the same model: nothing to choose from a list (PROTOCOL 10.2).
_HIDDEN_STATUS = "compatible-only"


class Content:
    """The catalogue. A model is named by its AIR or its slug (`model` of a listed entry).

    Every method raises RunwareError: `validation` for a filter that does not exist, before anything is sent;
    otherwise what the service said, or that it could not be asked.
    """

    def __init__(self, parts: Callable[[], Parts]) -> None:
        self._parts = parts

    @overload
    async def list_models(self, options: ListModelsOptions | None = None) -> list[ModelMetadata]: ...
    @overload
    async def list_models(self, options: PagedListModelsOptions) -> ModelPage: ...
    @overload
    async def list_models(self, options: Mapping[str, Any]) -> Any: ...
    async def list_models(self, options: Mapping[str, Any] | None = None) -> Any:
        """List the curated models that fit all filters; with `paginate=True` one page of them.

        Models with the status "compatible-only" are left out unless a `status` is asked for. A page's
        `total` still counts them, and `limit` and `offset` do too.
        """
        query = _query("list_models", options or {}, _MODEL_FILTERS)
        if "search" in query:
            query["q"] = query.pop("search")
        if query.get("paginate") != "true":
            query.pop("paginate", None)
            return _shown(await self._read("models", query, list), query)
        page = await self._read("models", query, dict)
        if not isinstance(page.get("items"), list):
            raise create_runware_error(UNREADABLE_ANSWER, "The page of models holds no items.")
        return {**page, "items": _shown(page["items"], query)}

    async def get_model(self, model_id: str) -> ModelMetadata | None:
        """Give one curated model, None when there is none of this name."""
        return cast("ModelMetadata | None", await self._find(_path("models", model_id), {}, dict))

    async def get_model_examples(
        self, model_id: str, options: GetModelExamplesOptions | None = None
    ) -> list[ExampleMetadata]:
        """List requests with their responses, perhaps of one `capability` only; none for an unknown model."""
        query = _query("get_model_examples", options or {}, {"capability": str})
        return await self._find(_path("models", model_id, "examples"), query, list) or []

    async def get_model_pricing(self, model_id: str) -> PricingModelListItem | None:
        """Give the prices of one model, None when there is none of this name."""
        path = _path("models", model_id, "pricing")
        return cast("PricingModelListItem | None", await self._find(path, {}, dict))

    async def get_model_guides(self, model_id: str) -> list[GuideMetadata]:
        """List what there is to read about one model; nothing for an unknown one."""
        return await self._find(_path("models", model_id, "guides"), {}, list) or []

    async def list_capabilities(self) -> list[Capability]:
        """List the words of the taxonomy (`io:`, `op:`, `form:`) with their labels."""
        return await self._read("capabilities", {}, list)

    async def list_collections(
        self, options: ListCollectionsOptions | None = None
    ) -> list[CollectionWithModels]:
        """List the platform's groups of models, the models in full, perhaps of one `category` only."""
        query = _query("list_collections", options or {}, {"category": str})
        return await self._read("collections", query, list)

    async def get_collection(self, collection_id: str) -> CollectionWithModels | None:
        """Give one collection with its models in full, None when there is none of this id."""
        return cast(
            "CollectionWithModels | None", await self._find(_path("collections", collection_id), {}, dict)
        )

    async def list_creators(self) -> list[CreatorWithModels]:
        """List the creators with their curated models in full."""
        return await self._read("creators", {}, list)

    async def get_creator(self, creator_id: str) -> CreatorWithModels | None:
        """Give one creator with the curated models in full, None when there is none of this id."""
        return cast("CreatorWithModels | None", await self._find(_path("creators", creator_id), {}, dict))

    async def _find(self, path: str, query: Mapping[str, str], expected: type[Value]) -> Value | None:
        """Give what a path names, None when it names nothing."""
        try:
            return await self._read(path, query, expected)
        except RunwareError as error:
            if error.status_code == httpx.codes.NOT_FOUND:
                return None
            raise

    async def _read(self, path: str, query: Mapping[str, str], expected: type[Value]) -> Value:
        parts = self._parts()
        url = f"{parts.config.content_base_url.rstrip('/')}/{path}"
        timeout_s = min(_ANSWER_S, parts.config.timeout / 1_000)

        async def ask() -> Value:
            response = await fetch(parts.session, url, query=query, timeout_s=timeout_s)
            if response.status_code != httpx.codes.OK:
                raise error_from_answer(response)
            return read_json(response, expected)

        return await unless_cancelled(repeated(parts, ask), None, parts.closing)


def _shown(models: list[Any], query: Mapping[str, str]) -> list[Any]:
    if "status" in query:
        return models
    return [
        model for model in models if not (isinstance(model, dict) and model.get("status") == _HIDDEN_STATUS)
    ]


def _path(collection: str, name: object, *rest: str) -> str:
    """Name one entry; an AIR or whatever else a caller passes stays one segment of the path."""
    if not isinstance(name, str) or not name.strip("."):  # "", ".", ".." would name another place
        raise create_runware_error("invalidId", f"{name!r} names none of the {collection}.", parameter="id")
    return "/".join((collection, quote(name, safe=""), *rest))


def _query(method: str, options: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, str]:
    """Write filters as the service wants them; None is left out.

    Errors:
        RunwareError (validation): a filter that the method does not have, or a value of another type.
    """
    query = {}
    for name, value in options.items():
        kind = kinds.get(name)
        if kind is None:
            near = get_close_matches(str(name), kinds, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise _refused(
                str(name),
                f'{method}() has no filter "{name}".{hint} Known filters: {", ".join(sorted(kinds))}.',
            )
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _refused(name, f'The filter "{name}" of {method}() takes {_KINDS[kind]}, not {value!r}.')
        query[name] = str(value).lower() if kind is bool else str(value)
    return query


def _refused(name: str, message: str) -> RunwareError:
    return create_runware_error("invalidFilter", message, parameter=name)


_KINDS = {bool: "True or False", int: "a whole number", str: "text"}
