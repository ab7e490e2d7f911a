"""The body of a webhook: an event as it stands in the log, where it helps with its job, never large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from runware_jobs.core.events import FINAL_EVENTS, EventType
from runware_jobs.core.views import event_view, job_view

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runware_jobs.store.outbox import Due

MAX_BODY_BYTES: Final = 20_000
_OF_JOB: Final = ("state", "results", "failures", "error", "cost_usd", "billing", "metadata")
_OF_COST: Final = ("cost_usd", "billing")
SHOWS_JOB: Final = FINAL_EVENTS | {EventType.JOB_COST}
"""The events whose body needs the job as it stands."""

# In the order in which they give way. What is known by other fields of the body goes first.
_GIVE_WAY: Final = ("results", "result", "failures", "metadata", "error")


def body_of(due: Due, job: Mapping[str, Any] | None, *, public_url: str | None = None) -> bytes:
    """Build a webhook's body: the event, a final one with the job as it stands, `job.cost` with what it costs now.

    At most `MAX_BODY_BYTES`: results give way first, then the rest of what can be long.
    `truncated` then names what is missing, and `job_url` says where it is: below
    `public_url`, where this installation is called from outside; None: the path alone.
    """
    event = event_view(due)
    if job is not None and due.type in SHOWS_JOB:
        view = job_view(job)
        names = _OF_COST if due.type == EventType.JOB_COST else _OF_JOB
        event["data"] = event["data"] | {name: view[name] for name in names}
    body = orjson.dumps(event)
    if len(body) <= MAX_BODY_BYTES:
        return body
    dropped: list[str] = []
    event["truncated"] = dropped
    if due.job_id is not None:
        event["job_url"] = f"{(public_url or '').rstrip('/')}/v1/jobs/{due.job_id}"
    others = sorted(set(event["data"]) - set(_GIVE_WAY) - {"state"})
    for name in (*_GIVE_WAY, *others):
        if len(body) <= MAX_BODY_BYTES:
            break
        if event["data"].pop(name, None) is not None:
            dropped.append(name)
            body = orjson.dumps(event)
    return body
