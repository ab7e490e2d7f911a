"""`/v1/callbacks/runware/{token}`: the platform says that a task has news.

Whoever knows the address may have guessed, replayed or made up what he sends, so
nothing in the body is believed, whatever its shape: it is read to its end and dropped.
What follows is a poll of that task, which asks the platform itself.
"""

from fastapi import APIRouter, Request
from starlette.responses import Response

from runware_jobs.core.callbacks import PATH, task_of_token
from runware_jobs.store.hints import leave_hint

from .parts import WithParts
from .problems import RequestRefused

router = APIRouter(tags=["callbacks"])


@router.post(PATH + "{token}", status_code=204, response_class=Response)
async def called_back(token: str, request: Request, parts: WithParts) -> Response:
    """Ask the platform about this task now. The token is the one in the `webhookURL` of its submit."""
    task_uuid = task_of_token(await parts.installation.secret(), token)
    if task_uuid is None:
        raise RequestRefused(
            "This address was not made here.", status=404, name="unknown-callback", code="notFound"
        )
    async for _ in request.stream():
        pass
    async with parts.engine.begin() as connection:
        await leave_hint(connection, task_uuid)
    return Response(status_code=204)
