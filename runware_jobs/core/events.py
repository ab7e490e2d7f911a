"""The events that a move leaves, and who is told by default (DESIGN 8.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventType(StrEnum):
    """Every event there is; the names are the contract's."""

    JOB_QUEUED = "job.queued"
    JOB_SUBMITTED = "job.submitted"
    JOB_PROGRESS = "job.progress"
    JOB_RESULT = "job.result"
    JOB_RETRYING = "job.retrying"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_COST = "job.cost"
    BATCH_COMPLETED = "batch.completed"
    ACCOUNT_PAUSED = "account.paused"
    ACCOUNT_RESUMED = "account.resumed"
    ENDPOINT_DISABLED = "endpoint.disabled"


FINAL_EVENTS: Final = frozenset({EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED})

DEFAULT_WEBHOOK_EVENTS: Final = FINAL_EVENTS | {
    EventType.JOB_COST,
    EventType.BATCH_COMPLETED,
    EventType.ENDPOINT_DISABLED,
}
"""What a `webhook_url`, or an endpoint without a filter, is told."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be written with its move; the store gives it `id` and `seq`."""

    type: EventType
    data: Mapping[str, Any] = field(default_factory=dict)
