"""`/v1/jobs/{id}/events`: what happened to a job, as a list or as it happens.

A live stream resumes after `Last-Event-ID` (the `seq`), repeats nothing and ends
after the final event. Progress is overwritten, not logged: its events carry no id.
"""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from runware_jobs.core.states import FINAL
from runware_jobs.errors import InvalidJob

from .access import Reader
from .parts import Parts, WithParts
from .shapes import EventPage
from .strict_json import Json, StrictRoute

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)

_STREAM: Final = "text/event-stream"
_RETRY_MS: Final = (1_000, 4_000)
"""After how long a client whose stream has broken comes again."""
_GRACE_S: Final = 2.0
"""How long a stream may take to end by itself once the server is told to stop."""


@router.get(
    "/{job_id}/events",
    response_model=EventPage,
    responses={
        200: {"content": {_STREAM: {"schema": {"type": "string"}}}},
        204: {"description": "Nothing more will come: a browser stops asking"},
    },
)
async def events(
    job_id: UUID,
    caller: Reader,
    parts: WithParts,
    after: Annotated[int, Query(ge=0, description="Only events with a greater seq.")] = 0,
    accept: Annotated[str, Header()] = "*/*",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Read a job's events; with `Accept: text/event-stream` also those to come."""
    job = await parts.producer.get(job_id, tenant=caller.tenant)
    after = _seq(last_event_id, after)
    if _STREAM not in accept.lower():
        return Json({"events": await parts.producer.events(job_id, after=after)})
    if job["state"] in FINAL and not await parts.producer.events(job_id, after=after):
        # EventSource connects again whenever a stream ends, for ever, unless it is told so.
        return Response(status_code=204)
    parts.streams.check(caller.tenant)
    return EventSourceResponse(
        _stream(parts, caller.tenant, job_id, after),
        ping=parts.heartbeat_s,
        sep="\n",
        shutdown_event=parts.streams.leaving,
        shutdown_grace_period=_GRACE_S,
    )


async def _stream(
    parts: Parts, tenant: str | None, job_id: UUID, after: int
) -> AsyncIterator[ServerSentEvent]:
    """Tell what `Live.follow` tells. A client that reads slowly waits for its own socket: nothing piles up."""
    # Not all at once, when this server was restarted; told with the first event, and kept.
    retry_ms: int | None = random.randint(*_RETRY_MS)  # noqa: S311  no secret
    with parts.streams.counted(tenant):
        async with aclosing(parts.producer.live.follow(job_id, after=after, progress=True)) as events:
            async for event in events:
                seq = event.get("seq")
                yield ServerSentEvent(
                    data=orjson.dumps(event).decode(),
                    event=event["type"],
                    id=None if seq is None else str(seq),
                    retry=retry_ms,
                )
                retry_ms = None


def _seq(last_event_id: str | None, after: int) -> int:
    if last_event_id is None:
        return after
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 9:  # noqa: PLR2004  what an integer column holds
        raise InvalidJob("Last-Event-ID must be the seq of an event", parameter="Last-Event-ID")
    return int(last_event_id)
