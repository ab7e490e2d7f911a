"""How large a body may be, by where it goes; enforced while it comes in.

Starlette's own limit answers in plain text and cannot tell a JSONL upload, which is
written to disk as it arrives, from a JSON body, which is held in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from runware_jobs.core import callbacks

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_JOB_BYTES: Final = 1_000_000
MAX_BATCH_BYTES: Final = 10_000_000
MAX_JSONL_BYTES: Final = 200_000_000
JSONL_TYPES: Final = frozenset({"application/jsonl", "application/x-ndjson", "application/x-jsonlines"})
BATCHES_PATH: Final = "/v1/batches"


def content_type(headers: Headers) -> str:
    """Name the media type of a body, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


class BodyLimitMiddleware:
    """Refuses a body that says it is too large, and one that turns out to be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request under its limit."""
        # A callback is not read, so it may be of any size.
        if scope["type"] != "http" or scope["path"].startswith(callbacks.PATH):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = _limit(scope["path"], headers)
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counting, send)


def _limit(path: str, headers: Headers) -> int:
    if path != BATCHES_PATH:
        return MAX_JOB_BYTES
    return MAX_JSONL_BYTES if content_type(headers) in JSONL_TYPES else MAX_BATCH_BYTES


def _too_large(limit: int) -> HTTPException:
    # An HTTPException, since FastAPI hides every other error of a body behind a 400.
    remedy = {
        MAX_JOB_BYTES: "pass large media as a URL, or upload it first",
        MAX_BATCH_BYTES: "send larger batches as JSONL (content type application/jsonl)",
        MAX_JSONL_BYTES: "split the batch",
    }[limit]
    return HTTPException(413, f"The body is larger than {limit:,} bytes: {remedy}.")
