"""A worker's context, for what the real deliver step sends; and receivers that verify it, in two languages."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.steps.conftest import heard, workers
from tests.support.node_packages import skip_or_fail, why_missing
from tests.webhooks.receiver import Receiver, answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["heard", "receiving", "workers"]

_NODE = Path(__file__).parent / "node"
_WITHIN_S = 30


@dataclass(frozen=True)
class Verifier:
    """A server that knows one secret: `url` is where it listens, `told` gives its verdict on the next request."""

    url: str
    told: Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture(params=["node", "python"])
def receiving(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Open receivers that verify with the official package of a language: `async with receiving(secret) as there`."""
    if request.param == "python":
        return _python_receiver
    if (reason := why_missing(_NODE)) is not None:
        skip_or_fail(reason)
    return _node_receiver


@asynccontextmanager
async def _node_receiver(secret: str) -> AsyncIterator[Verifier]:
    process = await asyncio.create_subprocess_exec(
        "node", "receiver.mjs", secret, cwd=_NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = process.stdout

    async def line() -> Any:
        async with asyncio.timeout(_WITHIN_S):
            return json.loads(await said.readline())

    try:
        yield Verifier(f"http://127.0.0.1:{await line()}", line)
    finally:
        process.stdin.close()
        async with asyncio.timeout(_WITHIN_S):
            await process.wait()


@asynccontextmanager
async def _python_receiver(secret: str) -> AsyncIterator[Verifier]:
    verdicts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    known: set[str] = set()

    async def answer(request: Any, writer: asyncio.StreamWriter) -> None:
        try:
            event = Webhook(secret).verify(request.body, request.headers)
        except WebhookVerificationError as error:
            verdicts.put_nowait({"verified": False, "error": str(error)})
            await answering("400 Bad Request")(request, writer)
            return
        is_again = event["id"] in known
        known.add(event["id"])
        fails = not is_again and request.target == "/once-500"
        await answering("500 Oops" if fails else "204 No Content")(request, writer)
        verdicts.put_nowait({"verified": True, "again": is_again, "event": event})

    async def told() -> dict[str, Any]:
        async with asyncio.timeout(_WITHIN_S):
            return await verdicts.get()

    async with Receiver(answer) as receiver:
        yield Verifier(receiver.url("").rstrip("/"), told)
