"""What answers look like, for /openapi.json; the values themselves come from `core.views`."""

from typing import Any

from pydantic import BaseModel, JsonValue


class JobShown(BaseModel):
    """A job as it stands. Times are ISO 8601 in UTC, money is decimal strings of US dollars."""

    id: str
    kind: str
    state: str
    progress: int | None
    params: dict[str, Any]
    results: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    error: dict[str, Any] | None
    cost_usd: str | None
    billing: str
    task_uuid: str | None
    attempts: list[dict[str, Any]]
    run: int
    tenant: str
    lane: str
    model: str
    priority: int
    batch_id: str | None
    custom_id: str | None
    external_id: str | None
    idempotency_key: str | None
    metadata: dict[str, Any]
    tags: list[str]
    webhook_url: str | None
    max_attempts: int
    run_at: str | None
    deadline_at: str | None
    eta_at: str | None
    queue_position: int | None
    created_at: str | None
    submitted_at: str | None
    finished_at: str | None


class JobPage(BaseModel):
    """A page of jobs, newest first; `next_cursor` null is the last page."""

    jobs: list[JobShown]
    next_cursor: str | None


class EventShown(BaseModel):
    """Something that happened to a job; `seq` rises per job."""

    id: str
    type: str
    created_at: str
    job_id: str | None
    run: int | None
    seq: int
    data: dict[str, JsonValue]


class EventPage(BaseModel):
    """A job's events in order, at most a thousand; ask again after the last `seq`."""

    events: list[EventShown]


class BatchShown(BaseModel):
    """A batch with its jobs counted by state."""

    id: str
    name: str
    tenant: str
    state: str
    pause_reason: str | None
    total: int
    finished: int
    counts: dict[str, int]
    cost_usd: str | None
    budget_usd: str | None
    created_at: str
    finished_at: str | None


class BatchCanceled(BatchShown):
    """A batch, and how many of its jobs were canceled now."""

    canceled: int


class BatchRetried(BatchShown):
    """A batch, how many of its jobs run again, and how many do not because their billing is unclear."""

    retried: int
    skipped: int


class BatchPage(BaseModel):
    """The newest batches."""

    batches: list[BatchShown]


class EndpointShown(BaseModel):
    """A webhook endpoint; `url` null is the tenant's default, which signs for single jobs' `webhook_url`."""

    id: str
    tenant: str
    url: str | None
    is_default: bool
    events: list[str]
    is_enabled: bool
    disabled_reason: str | None
    failing_since: str | None
    has_old_secret: bool
    created_at: str
    rotated_at: str | None
    old_secret_ends_at: str | None


class EndpointWithSecret(EndpointShown):
    """The same with its signing secret, which is not shown again."""

    secret: str


class EndpointList(BaseModel):
    """A tenant's endpoints, oldest first."""

    endpoints: list[EndpointShown]


class DeliveryShown(BaseModel):
    """One try to deliver a webhook."""

    id: str
    event_id: str
    type: str | None
    tenant: str
    job_id: str | None
    endpoint_id: str
    url: str
    number: int
    state: str
    status_code: int | None
    reason: str | None
    duration_ms: int
    answer: str
    created_at: str
    next_at: str | None


class DeliveryPage(BaseModel):
    """A page of tries, newest first; `next_cursor` null is the last page."""

    deliveries: list[DeliveryShown]
    next_cursor: str | None


class Queued(BaseModel):
    """Something that leaves as soon as a worker is free; `id` is what was asked for, or the event's."""

    id: str
    state: str


class RedeliveryQueued(BaseModel):
    """How many events leave again because of this request; `next_cursor` null: those were all."""

    queued: int
    next_cursor: str | None


class ProblemShown(BaseModel):
    """An RFC 9457 problem. `code` is one of the twelve codes that the platform's clients know."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    parameter: str | None
    job_id: str | None
