"""Deliver: signed webhooks, each an event as it stands in the log.

At least once: a crash after the receiver's 2xx and before the commit repeats one
delivery under the same `webhook-id`. The outbox row is deleted when the receiver
took it, put off by the schedule of `core.delivery` when not, and kept as dead in
the end, to be redelivered by a person.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from runware_jobs.core.delivery import next_delivery
from runware_jobs.core.events import FINAL_EVENTS
from runware_jobs.core.signing import SecretKeyWrong, sign
from runware_jobs.core.views import event_view, job_view
from runware_jobs.store import outbox
from runware_jobs.store.jobs import read_jobs
from runware_jobs.webhooks import Delivered, Failed, FailureReason, Gone

from .record import committed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.store.outbox import Due
    from runware_jobs.webhooks import SendResult

    from .context import Context

_log = structlog.get_logger()
_BATCH: Final = 32
# Longer than any one delivery may take, so that a row is not sent twice while its
# first deliverer is still waiting for an answer.
_HOLD_S: Final = 120.0
_WHEN_BUSY_S: Final = 2.0
MAX_BODY_BYTES: Final = 20_000


async def deliver(context: Context) -> int:
    """Send due webhooks side by side; give how many were claimed. Nothing without a vault."""
    if context.vault is None:
        return 0
    async with context.engine.begin() as connection:
        due = await outbox.claim_due(connection, "webhook", limit=_BATCH, hold_s=_HOLD_S)
        ids = {row.job_id for row in due if row.job_id is not None and row.type in FINAL_EVENTS}
        jobs = await read_jobs(connection, ids) if ids else {}
    async with asyncio.TaskGroup() as group:
        for row in due:
            group.create_task(_one(context, row, jobs))
    return len(due)


async def _one(context: Context, due: Due, jobs: Mapping[UUID, Mapping[str, Any]]) -> None:
    assert context.vault is not None  # noqa: S101  for the type checker: deliver() looked
    body = body_of(due, jobs.get(due.job_id) if due.job_id is not None else None)
    try:
        secrets = [context.vault.decrypt(secret) for secret in due.secrets]
    except SecretKeyWrong as error:
        # Of this endpoint alone: the others of the batch leave, and this one is tried
        # again, since the next worker may have the key.
        message = error.message
        await committed(context.engine, lambda connection: _log_unsigned(connection, context, due, message))
        return
    if not secrets:
        await committed(context.engine, lambda connection: outbox.done(connection, [due.id]))
        return
    headers = sign(secrets, webhook_id=str(due.event_id), timestamp=datetime.now(UTC), body=body)
    result = await context.sender.send(due.url or "", body, headers)
    await committed(context.engine, lambda connection: _log_result(connection, context, due, result))


def body_of(due: Due, job: Mapping[str, Any] | None) -> bytes:
    """Build a webhook's body: the event, a final one with the job as it stands.

    At most `MAX_BODY_BYTES`: results, then params give way; `truncated` names them.
    """
    event = event_view(due)
    if job is not None:
        view = job_view(job)
        event["data"] = event["data"] | {
            name: view[name]
            for name in ("state", "results", "failures", "error", "cost_usd", "billing", "metadata")
        }
    body = orjson.dumps(event)
    dropped: list[str] = []
    for name in ("results", "result", "failures", "metadata"):
        if len(body) <= MAX_BODY_BYTES:
            break
        if event["data"].pop(name, None) is not None:
            dropped.append(name)
            body = orjson.dumps(event | {"truncated": dropped})
    return body


async def _log_unsigned(connection: AsyncConnection, context: Context, due: Due, reason: str) -> None:
    delay_s = next_delivery(due.attempts + 1, retry_after_s=None, random=context.random())
    await outbox.put_off(connection, due.id, delay_s=delay_s)
    await outbox.record_delivery(
        connection,
        due,
        state="dead" if delay_s is None else "failed",
        status_code=None,
        reason=reason,
        duration_ms=0,
        answer="",
        next_in_s=delay_s,
    )


async def _log_result(connection: AsyncConnection, context: Context, due: Due, result: SendResult) -> None:
    values: dict[str, Any] = {"state": "delivered", "reason": None, "next_in_s": None}
    match result:
        case Delivered():
            await outbox.done(connection, [due.id])
        case Gone():
            await outbox.done(connection, [due.id])
            values |= {"state": "dead", "reason": "410: the receiver wants no more"}
            if due.endpoint_id is not None:
                await outbox.disable_endpoint(connection, due.endpoint_id, reason="410 Gone")
        case Failed(reason=FailureReason.BUSY):
            # Nothing was tried: every place of this host was taken. No attempt is used up.
            await outbox.hand_back(connection, due.id, delay_s=_WHEN_BUSY_S)
            return
        case Failed(reason=reason, detail=detail, retry_after_s=retry_after_s):
            delay_s = next_delivery(due.attempts + 1, retry_after_s=retry_after_s, random=context.random())
            await outbox.put_off(connection, due.id, delay_s=delay_s)
            values |= {
                "state": "dead" if delay_s is None else "failed",
                "reason": f"{reason}: {detail}",
                "next_in_s": delay_s,
            }
            _log.warning("webhook_failed", job_id=str(due.job_id), reason=reason, next_in_s=delay_s)
    values |= {
        "status_code": result.status_code,
        "duration_ms": result.duration_ms,
        "answer": result.answer.decode(errors="replace").replace("\x00", ""),
    }
    await outbox.record_delivery(connection, due, **values)
