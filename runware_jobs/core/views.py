"""Jobs, events and batches as HTTP, `--json`, webhooks and `to_dict()` show them.

One shape for everybody: made from the rows that the store reads, without secrets,
with times in ISO 8601 (UTC) and money as decimal strings.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID


class EventRow(Protocol):
    """An event as it leaves the outbox."""

    @property
    def event_id(self) -> UUID: ...
    @property
    def event_created_at(self) -> datetime: ...
    @property
    def type(self) -> str: ...
    @property
    def job_id(self) -> UUID | None: ...
    @property
    def batch_id(self) -> UUID | None: ...
    @property
    def run(self) -> int | None: ...
    @property
    def seq(self) -> int: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def item(self) -> Mapping[str, Any] | None: ...


def job_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a job as the store read it, with its results, failures and attempts."""
    results = row["results"]
    current = [attempt for attempt in row["attempts_made"] if attempt["run"] == row["run"]]
    return {
        "id": str(row["id"]),
        "kind": row["kind"],
        "state": row["shown_state"],
        "progress": row["progress"],
        "params": row["params"],
        "results": [_result(entry) for entry in results if entry["state"] == "success"],
        "failures": [entry["error"] for entry in results if entry["state"] == "error"],
        "error": row["error"],
        "cost_usd": money(row["cost_usd"]),
        "billing": row["billing"],
        "task_uuid": current[-1]["task_uuid"] if current else None,
        "attempts": [_attempt(entry) for entry in row["attempts_made"]],
        "run": row["run"],
        "tenant": row["tenant"],
        "lane": row["lane"],
        "model": row["model"],
        "priority": row["priority"],
        "batch_id": None if row["batch_id"] is None else str(row["batch_id"]),
        "custom_id": row["custom_id"],
        "external_id": row["external_id"],
        "idempotency_key": row["idempotency_key"],
        "metadata": row["metadata"],
        "tags": row["tags"],
        "webhook_url": row["webhook_url"],
        "max_attempts": row["max_attempts"],
        "run_at": moment(row["run_at"]),
        "deadline_at": moment(row["deadline_at"]),
        "eta_at": moment(row["expected_at"]),
        "queue_position": row["queue_position"],
        "created_at": moment(row["created_at"]),
        "submitted_at": moment(row["submitted_at"]),
        "finished_at": moment(row["finished_at"]),
    }


def event_view(row: EventRow) -> dict[str, Any]:
    """Show an event; a `job.result` carries the item under `data.result`."""
    data = {name: value for name, value in row.data.items() if name != "key"}
    if row.item is not None:
        data["result"] = row.item
    shown = {
        "id": str(row.event_id),
        "type": row.type,
        "created_at": moment(row.event_created_at),
        "job_id": None if row.job_id is None else str(row.job_id),
        "run": row.run,
        "seq": row.seq,
        "data": data,
    }
    if row.batch_id is not None:
        shown["batch_id"] = str(row.batch_id)
    return shown


def batch_view(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show a batch with its counts by state."""
    counts = dict(row["counts"])
    total = int(row["total"])
    finished = sum(counts.get(state, 0) for state in ("succeeded", "failed", "canceled"))
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "tenant": row["tenant"],
        "state": "completed" if row["finished_at"] is not None else row["state"],
        "pause_reason": row["pause_reason"],
        "total": total,
        "finished": finished,
        "counts": counts,
        "cost_usd": money(row["cost_usd"]),
        "budget_usd": money(row["budget_usd"]),
        "created_at": moment(row["created_at"]),
        "finished_at": moment(row["finished_at"]),
    }


def moment(value: datetime | str | None) -> str | None:
    """Show an instant in ISO 8601, UTC."""
    if value is None:
        return None
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def money(value: Decimal | float | str | None) -> str | None:
    """Show dollars without trailing zeros; None stays None (not known)."""
    if value is None:
        return None
    return f"{Decimal(str(value)).normalize():f}"


def _result(entry: Mapping[str, Any]) -> dict[str, Any]:
    item = dict(entry["item"])
    if entry["archived_url"] is not None:
        item["archived_url"] = entry["archived_url"]
    return item


def _attempt(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": entry["run"],
        "number": entry["number"],
        "task_uuid": entry["task_uuid"],
        "state": entry["outcome"] or entry["state"],
        "error": entry["error"],
        "cost_usd": money(entry["cost_usd"]),
        "submitted_at": moment(entry["submitted_at"]),
        "finished_at": moment(entry["finished_at"]),
        "settlement": entry["settlement"],
    }
