"""`/v1/jobs`: enqueue, list, look, cancel, retry."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query

from runware_jobs.core.states import JobState, Kind
from runware_jobs.errors import InvalidJob
from runware_jobs.options import read_options
from runware_jobs.steps.enqueue import ask
from runware_jobs.store.keys import Scope

from .access import Enqueuer, Reader
from .bodies import JobRequest, Name, RetryRequest
from .cursors import page, read_cursor
from .parts import WithParts
from .shapes import JobPage, JobShown
from .strict_json import Json, StrictRoute

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)

MAX_PAGE = 200


@router.post(
    "",
    status_code=202,
    response_model=JobShown,
    responses={
        200: {"model": JobShown, "description": "Replayed: the job that this key made before"},
        409: {"description": "The key belongs to another request"},
        410: {"description": "The key's job was pruned; it does not run again"},
    },
)
async def enqueue(
    body: JobRequest,
    caller: Enqueuer,
    parts: WithParts,
    idempotency_key: Annotated[Name | None, Header()] = None,
) -> Json:
    """Put a job into the queue. With a key, sending the same again gives the same job."""
    options = body.options() | {"tenant": caller.writes_for(body.tenant)}
    if idempotency_key is not None:
        if body.idempotency_key not in {None, idempotency_key}:
            raise InvalidJob(
                "the header Idempotency-Key and idempotency_key differ: send one of them",
                parameter="idempotency_key",
            )
        options["idempotency_key"] = idempotency_key
    asked = ask(
        body.params,
        read_options(options, parts.settings, is_operator=caller.may(Scope.ADMIN)),
        kind=body.kind,
        allow_private=parts.settings.allow_private_webhooks,
    )
    [view] = await parts.producer.add([asked], tenant=options["tenant"])
    replayed = view.pop("replayed", False)
    headers = {"Location": f"/v1/jobs/{view['id']}"}
    if replayed:
        return Json(view, status_code=200, headers=headers | {"Idempotent-Replayed": "true"})
    return Json(view, status_code=202, headers=headers)


@router.get("", response_model=JobPage)
async def list_jobs(
    caller: Reader,
    parts: WithParts,
    state: Annotated[list[JobState] | None, Query(description="One or more, repeated.")] = None,
    kind: Kind | None = None,
    batch: UUID | None = None,
    tag: Name | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> Json:
    """List jobs, newest first. `state=queued` includes those that show as `scheduled`."""
    views = await parts.producer.page(
        tenant=caller.tenant,
        states=state or (),
        kind=kind,
        batch_id=batch,
        tag=tag,
        before=read_cursor(cursor),
        limit=limit + 1,
    )
    return Json(page("jobs", views, limit=limit))


@router.get("/{job_id}", response_model=JobShown)
async def get_job(job_id: UUID, caller: Reader, parts: WithParts) -> Json:
    """Look at a job, with its results and attempts."""
    return Json(await parts.producer.get(job_id, tenant=caller.tenant))


@router.post("/{job_id}/cancel", response_model=JobShown)
async def cancel(job_id: UUID, caller: Enqueuer, parts: WithParts) -> Json:
    """Cancel a job: free before it was sent; afterwards the platform goes on and bills."""
    return Json(await parts.producer.cancel(job_id, tenant=caller.tenant))


@router.post("/{job_id}/retry", response_model=JobShown)
async def retry(job_id: UUID, caller: Enqueuer, parts: WithParts, body: RetryRequest | None = None) -> Json:
    """Run a failed or canceled job again, as a new run."""
    accepts = body is not None and body.accept_double_billing
    return Json(await parts.producer.retry(job_id, tenant=caller.tenant, accept_double_billing=accepts))
