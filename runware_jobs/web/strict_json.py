"""JSON in and out, strictly: what Postgres could not store is refused where it comes in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Json(Response):
    """A response of plain values, encoded as they are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return orjson.dumps(content)


def read_json(raw: bytes) -> Any:
    r"""Read JSON as the standard says: no NaN, no lone surrogates, and no U+0000.

    Postgres can hold U+0000 in no text, so it is found here and not in the middle of a batch.

    Raises:
        json.JSONDecodeError: it is not such JSON.
    """
    value = orjson.loads(raw)
    if rb"\u0000" in raw and _holds_nul(value):
        raise json.JSONDecodeError("a text holds the character U+0000, which cannot be stored", "", 0)
    return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in name or _holds_nul(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return False


class _StrictRequest(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


class StrictRoute(APIRoute):
    """A route whose JSON body is read by `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Hand the route a request that reads strictly."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly
