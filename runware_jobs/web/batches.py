"""`/v1/batches`: many jobs at once, and their outcome as JSONL."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.responses import StreamingResponse

from runware_jobs.core.request import Options
from runware_jobs.core.states import JobState
from runware_jobs.core.views import money
from runware_jobs.options import read_options
from runware_jobs.store.keys import Scope

from .access import Caller, Enqueuer, Reader
from .bodies import BatchOptions, BatchRequest, ResumeRequest
from .limits import JSONL_TYPES, content_type
from .lines import Rows, checked_lines, checked_list, open_spool, spool
from .parts import Parts, WithParts
from .problems import RequestRefused
from .shapes import BatchCanceled, BatchPage, BatchRetried, BatchShown
from .strict_json import Json, StrictRoute, read_json

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=StrictRoute)

_JSONL: Final = "application/jsonl"
_JSON_IN_QUERY: Final = frozenset({"defaults", "metadata"})
_FAILED: Final = (JobState.FAILED, JobState.CANCELED)
_ALL_ENDED: Final = (JobState.SUCCEEDED, *_FAILED)
_LINES: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {_JSONL: {"schema": {"type": "string"}}}}}
_QUERY = TypeAdapter(BatchOptions)
# Its enums are those of a single job, which FastAPI puts among the components.
_BATCH_SCHEMA = BatchRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_BATCH_SCHEMA.pop("$defs")


@router.post(
    "",
    status_code=202,
    response_model=BatchShown,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _BATCH_SCHEMA},
                _JSONL: {
                    "schema": {"type": "string"},
                    "example": '{"custom_id": "a", "params": {"model": "runware:400@1"}}\n',
                },
            },
        }
    },
)
async def submit(request: Request, caller: Enqueuer, parts: WithParts) -> Json:
    """Put many jobs into the queue as one batch: all of them, or none when one is wrong.

    As JSON, or as JSONL with the options as query parameters (`defaults` and
    `metadata` as JSON). A wrong line is named by its number.
    """
    if "idempotency-key" in request.headers:
        raise RequestRefused(
            "Batches take no Idempotency-Key: give each job an external_id of its own, or look for the"
            " batch's name in GET /v1/batches before sending it again.",
            status=422,
            name="invalid-request",
            code="validation",
            parameter="Idempotency-Key",
        )
    kind = content_type(request.headers)
    if kind in JSONL_TYPES:
        view = await _submit_lines(request, caller, parts)
    elif kind == "application/json":
        view = await _submit_json(request, caller, parts)
    else:
        raise RequestRefused(
            f"Send a batch as application/json or as {_JSONL}.",
            status=415,
            name="unknown-content-type",
            code="validation",
        )
    return Json(view, status_code=202, headers={"Location": f"/v1/batches/{view['id']}"})


async def _submit_json(request: Request, caller: Caller, parts: Parts) -> dict[str, Any]:
    try:
        body = BatchRequest.model_validate(await request.json())
    except ValidationError as error:
        raise _invalid(error, "body") from None
    except ValueError as error:
        message = getattr(error, "msg", "not readable")
        found = {"type": "json_invalid", "loc": ("body",), "ctx": {"error": message}}
        raise RequestValidationError([found]) from None
    options = _options(body, caller, parts)
    rows = _rows(body, options, parts)
    return await parts.producer.add_batch(
        checked_list(rows, body.jobs), tenant=options.tenant, name=body.name, budget_usd=body.budget_usd
    )


async def _submit_lines(request: Request, caller: Caller, parts: Parts) -> dict[str, Any]:
    try:
        body = _QUERY.validate_python(_from_query(request.query_params))
    except ValidationError as error:
        raise _invalid(error, "query") from None
    options = _options(body, caller, parts)
    rows = _rows(body, options, parts)
    with open_spool() as file:
        await spool(request.stream(), file)
        return await parts.producer.add_batch(
            checked_lines(rows, file), tenant=options.tenant, name=body.name, budget_usd=body.budget_usd
        )


def _from_query(query: QueryParams) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in query.items():
        if name == "tags":
            values[name] = query.getlist(name)
        elif name in _JSON_IN_QUERY:
            try:
                values[name] = read_json(value.encode())
            except ValueError:
                values[name] = value  # the model then says that it must be an object
        else:
            values[name] = value
    return values


def _options(body: BatchOptions, caller: Caller, parts: Parts) -> Options:
    return read_options(
        body.options() | {"tenant": caller.writes_for(body.tenant)},
        parts.settings,
        is_operator=caller.may(Scope.ADMIN),
    )


def _rows(body: BatchOptions, options: Options, parts: Parts) -> Rows:
    return Rows(
        options,
        kind=body.kind,
        defaults=body.defaults,
        allow_private=parts.settings.allow_private_webhooks,
    )


def _invalid(error: ValidationError, where: str) -> RequestValidationError:
    return RequestValidationError([{**item, "loc": (where, *item["loc"])} for item in error.errors()])


@router.get("", response_model=BatchPage)
async def list_batches(
    caller: Reader, parts: WithParts, limit: Annotated[int, Query(ge=1, le=50)] = 20
) -> Json:
    """List the newest batches."""
    ids = await parts.producer.batch_page(tenant=caller.tenant, limit=limit)
    return Json({"batches": [await parts.producer.batch(one, tenant=caller.tenant) for one in ids]})


@router.get("/{batch_id}", response_model=BatchShown)
async def get_batch(batch_id: UUID, caller: Reader, parts: WithParts) -> Json:
    """Look at a batch, with its jobs counted by state."""
    return Json(await parts.producer.batch(batch_id, tenant=caller.tenant))


@router.get("/{batch_id}/results", response_class=StreamingResponse, responses=_LINES)
async def results(batch_id: UUID, caller: Reader, parts: WithParts) -> StreamingResponse:
    """Download what has arrived: one line for each ended job that has results."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    return StreamingResponse(_result_lines(parts, batch_id), media_type=_JSONL)


@router.get("/{batch_id}/errors", response_class=StreamingResponse, responses=_LINES)
async def errors(batch_id: UUID, caller: Reader, parts: WithParts) -> StreamingResponse:
    """Download what went wrong: one line for each job that failed or was canceled."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    return StreamingResponse(_error_lines(parts, batch_id), media_type=_JSONL)


async def _result_lines(parts: Parts, batch_id: UUID) -> AsyncIterator[bytes]:
    async for job in parts.producer.ended_jobs_of(batch_id, states=_ALL_ENDED):
        if job["results"]:
            yield _line(job, results=job["results"], cost_usd=money(job["cost_usd"]))


async def _error_lines(parts: Parts, batch_id: UUID) -> AsyncIterator[bytes]:
    async for job in parts.producer.ended_jobs_of(batch_id, states=_FAILED):
        error = job["error"] or {"code": "aborted", "message": "The job was canceled.", "retryable": False}
        yield _line(job, error=error, billing=job["billing"])


def _line(job: Mapping[str, Any], **values: Any) -> bytes:
    line = {"custom_id": job["custom_id"], "job_id": job["id"], "state": job["state"], **values}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


@router.post("/{batch_id}/pause", response_model=BatchShown)
async def pause(batch_id: UUID, caller: Enqueuer, parts: WithParts) -> Json:
    """Send no more of its jobs; those in flight go on. Pausing twice changes nothing."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    await parts.producer.pause_batch(batch_id)
    return Json(await parts.producer.batch(batch_id, tenant=caller.tenant))


@router.post("/{batch_id}/resume", response_model=BatchShown)
async def resume(
    batch_id: UUID, caller: Enqueuer, parts: WithParts, body: ResumeRequest | None = None
) -> Json:
    """Go on after a pause, under a new budget when one is given."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    await parts.producer.resume_batch(batch_id, budget_usd=None if body is None else body.budget_usd)
    return Json(await parts.producer.batch(batch_id, tenant=caller.tenant))


@router.post("/{batch_id}/cancel", response_model=BatchCanceled)
async def cancel(batch_id: UUID, caller: Enqueuer, parts: WithParts) -> Json:
    """Cancel each of its jobs that has not ended."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    canceled = await parts.producer.cancel_batch(batch_id)
    view = await parts.producer.batch(batch_id, tenant=caller.tenant)
    return Json(view | {"canceled": canceled})


@router.post("/{batch_id}/retry-failed", response_model=BatchRetried)
async def retry_failed(batch_id: UUID, caller: Enqueuer, parts: WithParts) -> Json:
    """Run its failed jobs again, except those of which nobody knows whether they were billed."""
    await parts.producer.batch(batch_id, tenant=caller.tenant)
    retried, skipped = await parts.producer.retry_failed(batch_id)
    view = await parts.producer.batch(batch_id, tenant=caller.tenant)
    return Json(view | {"retried": retried, "skipped": skipped})
