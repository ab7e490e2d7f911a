"""`/v1/webhook-endpoints` and `/v1/deliveries`: where events go, and what became of them."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from runware_jobs.webhook_endpoints import DeliveryFilter

from .access import Admin, Reader
from .bodies import EndpointChange, EndpointRequest, RedeliveryRequest
from .cursors import event_cursor, page, read_cursor, read_event_cursor
from .parts import WithParts
from .shapes import (
    DeliveryPage,
    EndpointList,
    EndpointShown,
    EndpointWithSecret,
    Queued,
    RedeliveryQueued,
)
from .strict_json import Json, StrictRoute

router = APIRouter(prefix="/v1", tags=["webhooks"], route_class=StrictRoute)

EndpointId = UUID | Literal["default"]
"""`default` is the endpoint whose secret signs for the `webhook_url` of single jobs."""

DeliveryState = Literal["delivered", "failed", "dead"]
"""`failed` is tried again, `dead` is not."""


@router.post("/webhook-endpoints", status_code=201, response_model=EndpointWithSecret)
async def add(body: EndpointRequest, caller: Admin, parts: WithParts) -> Json:
    """Add an endpoint. The answer holds its signing secret, which is not shown again."""
    tenant = caller.writes_for(body.tenant)
    view = await parts.endpoints.add(body.url, tenant=tenant, events=body.events)
    return Json(view, status_code=201, headers={"Location": f"/v1/webhook-endpoints/{view['id']}"})


@router.get("/webhook-endpoints", response_model=EndpointList)
async def list_endpoints(caller: Reader, parts: WithParts) -> Json:
    """List the endpoints."""
    return Json({"endpoints": await parts.endpoints.all_of(tenant=caller.tenant)})


@router.get("/webhook-endpoints/{endpoint_id}", response_model=EndpointShown)
async def get_endpoint(endpoint_id: EndpointId, caller: Reader, parts: WithParts) -> Json:
    """Look at an endpoint."""
    return Json(await parts.endpoints.get(endpoint_id, tenant=caller.tenant))


@router.patch("/webhook-endpoints/{endpoint_id}", response_model=EndpointShown)
async def change(endpoint_id: EndpointId, body: EndpointChange, caller: Admin, parts: WithParts) -> Json:
    """Change which events it gets, switch it on or off, or drop the secret before the last rotation."""
    return Json(
        await parts.endpoints.change(
            endpoint_id,
            tenant=caller.tenant,
            events=body.events,
            is_enabled=body.is_enabled,
            keeps_old_secret=body.has_old_secret is None,
        )
    )


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204, response_class=Response)
async def remove(endpoint_id: UUID, caller: Admin, parts: WithParts) -> Response:
    """Remove an endpoint with its log."""
    await parts.endpoints.remove(endpoint_id, tenant=caller.tenant)
    return Response(status_code=204)


@router.post("/webhook-endpoints/{endpoint_id}/rotate-secret", response_model=EndpointWithSecret)
async def rotate_secret(endpoint_id: EndpointId, caller: Admin, parts: WithParts) -> Json:
    """Make a new secret; for a day, or until `has_old_secret` is set to false, the one before signs beside it."""
    return Json(await parts.endpoints.rotate(endpoint_id, tenant=caller.tenant))


@router.post("/webhook-endpoints/{endpoint_id}/test", status_code=202, response_model=Queued)
async def test(endpoint_id: UUID, caller: Admin, parts: WithParts) -> Json:
    """Send it a signed `endpoint.test`, the way events are sent; `id` is the event's, and its webhook-id."""
    event_id = await parts.endpoints.test(endpoint_id, tenant=caller.tenant)
    return Json({"id": event_id, "state": "queued"}, status_code=202)


@router.post("/webhook-endpoints/{endpoint_id}/redeliver", status_code=202, response_model=RedeliveryQueued)
async def redeliver_span(
    endpoint_id: EndpointId, body: RedeliveryRequest, caller: Admin, parts: WithParts
) -> Json:
    """Send it every event of a time that it asks for again, under the same ids, also those it was never told.

    What is still to leave leaves once. Ask again with `next_cursor` until it is null.
    """
    done = await parts.endpoints.redeliver_span(
        endpoint_id,
        tenant=caller.tenant,
        since=body.since,
        until=body.until,
        only_failed=body.only_failed,
        after=read_event_cursor(body.cursor),
    )
    return Json({"queued": done.queued, "next_cursor": event_cursor(done.after)}, status_code=202)


@router.get("/deliveries", response_model=DeliveryPage)
async def deliveries(
    caller: Reader,
    parts: WithParts,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
    endpoint_id: UUID | None = None,
    state: DeliveryState | None = None,
    type: str | None = None,  # noqa: A002  the name of the parameter, as the answer has it
    job_id: UUID | None = None,
) -> Json:
    """List tries to deliver, newest first; what is given of endpoint, state, event type and job narrows it down."""
    views = await parts.endpoints.deliveries(
        tenant=caller.tenant,
        wanted=DeliveryFilter(endpoint_id=endpoint_id, state=state, type=type, job_id=job_id),
        limit=limit + 1,
        before=read_cursor(cursor),
    )
    return Json(page("deliveries", views, limit=limit))


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202, response_model=Queued)
async def redeliver(delivery_id: UUID, caller: Admin, parts: WithParts) -> Json:
    """Send a delivery's event again, with the same webhook-id."""
    await parts.endpoints.redeliver(delivery_id, tenant=caller.tenant)
    return Json({"id": str(delivery_id), "state": "queued"}, status_code=202)
