"""`/v1/callbacks/runware/{token}`: the platform says that a task has news.

Whoever knows the address may have replayed or made up what he sends, so nothing in the
body is believed, whatever its shape and type: it is not even read. What follows is a poll
of that task, which asks the platform itself; of a task that has ended, nothing.

The answer is the same for every address that was made here. Others were not, which is
seen without a query; so nobody learns from either what there is and what has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter
from starlette.responses import Response

from runware_jobs.core.callbacks import PATH, task_of_token
from runware_jobs.store.hints import leave_hint

from .parts import WithParts  # noqa: TC001  FastAPI reads the annotation
from .problems import RequestRefused

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

router = APIRouter(tags=["callbacks"])

_SHOWN_AS: Final = f"{PATH}..."


class QuietCallbacksMiddleware:
    """Keeps tokens out of the access log of whatever server this runs in, which writes it when it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request; of a callback the server's own note of its path is changed before the answer."""
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            scope["path"], scope["raw_path"] = _SHOWN_AS, _SHOWN_AS.encode()
            await send(message)

        await self._app(scope, receive, answer)


@router.post(PATH + "{token}", status_code=204, response_class=Response)
async def called_back(token: str, parts: WithParts) -> Response:
    """Ask the platform about this task now. The token is the one in the `webhookURL` of its submit."""
    task_uuid = task_of_token(await parts.installation.secret(), token)
    if task_uuid is None:
        raise RequestRefused(
            "This address was not made here.", status=404, name="unknown-callback", code="notFound"
        )
    # A statement by itself: a thousand calls are a thousand look-ups in one index.
    engine = parts.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await leave_hint(connection, task_uuid)
    return Response(status_code=204)
