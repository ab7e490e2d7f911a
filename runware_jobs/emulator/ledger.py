"""The book of what was asked, accepted, refused and billed. It decides nothing; it is for reading.

Benchmarks and crash tests compare it with what a client believes: a task with two bills, an accepted
task nobody asked for again, a UUID that arrived three times.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from .prices import usd

if TYPE_CHECKING:
    from collections.abc import Iterator

# Sums count all of them; the single ones are kept for looking back, and a day of polling has millions.
_REQUESTS_KEPT = 100_000

Happening = Literal["accepted", "refused", "duplicate", "billed", "failed"]


@dataclass(slots=True)
class Entry:
    """One taskUUID. `submits` counts every arrival, also refused and duplicate ones."""

    task_type: str
    model: str
    submits: int = 0
    accepted: int = 0
    """How often the task was taken on: above 1 only where a switch lets a UUID be used again."""
    duplicates: int = 0
    refused: int = 0
    polls: int = 0
    items: int = 0
    billed_micro_usd: int = 0
    state: str = ""
    """processing, success, error; lost or stuck after such a fault; empty when never accepted."""
    accepted_at: float | None = None
    finished_at: float | None = None
    history: list[tuple[float, Happening, str]] = field(default_factory=list)
    """What happened to it in order: when, what, and the error code or the dollars billed."""
    account: str = ""
    """organizationUUID of whoever sent it first."""
    key_id: str = ""
    """Stands for the API key it came with."""

    def to_json(self) -> dict[str, Any]:
        return {
            "taskType": self.task_type,
            "model": self.model,
            "submits": self.submits,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "state": self.state,
            "items": self.items,
            "billed_usd": usd(self.billed_micro_usd),
            "accepted_at": self.accepted_at,
            "finished_at": self.finished_at,
            "polls": self.polls,
        }

    def history_json(self) -> list[dict[str, Any]]:
        """The history as objects; `detail` is an error code or an amount of dollars."""
        return [{"at": at, "event": event, "detail": detail} for at, event, detail in self.history]

    def to_record(self) -> list[Any]:
        """The fields in order, for a state file: `Entry(*record)` undoes it."""
        return [getattr(self, one.name) for one in fields(self)]


@dataclass(slots=True)
class RequestRecord:
    """One request message. `outcome` says how it ended for the caller, as far as the platform can tell."""

    at: float
    transport: str
    submits: int
    polls: int
    others: int
    outcome: str = "answered"


@dataclass(slots=True)
class Requests:
    """Request messages: POSTs to /v1 and WebSocket frames. One with submits and polls counts for both."""

    total: int = 0
    rest: int = 0
    websocket: int = 0
    submits: int = 0
    polls: int = 0


@dataclass(slots=True)
class Totals:
    """Sums over all tasks, kept while writing so that reading them is free."""

    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    billed_micro_usd: int = 0
    dry_runs: int = 0


class Ledger:
    """Entries by taskUUID, the latest requests, and the sums."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.totals = Totals()
        self.entries: dict[str, Entry] = {}
        self.latest: deque[RequestRecord] = deque(maxlen=_REQUESTS_KEPT)

    def request(self, record: RequestRecord) -> RequestRecord:
        """Count one request message; gives it back, for its outcome to be noted."""
        self.requests.total += 1
        self.requests.websocket += record.transport == "websocket"
        self.requests.rest += record.transport == "rest"
        self.requests.submits += record.submits > 0
        self.requests.polls += record.polls > 0
        self.latest.append(record)
        return record

    def arrived(self, task_uuid: str, task_type: str, model: str) -> Entry:
        """Count the arrival of a submit."""
        entry = self.entries.get(task_uuid)
        if entry is None:
            entry = self.entries[task_uuid] = Entry(task_type, model)
        entry.submits += 1
        return entry

    def accepted(self, entry: Entry, at: float) -> None:
        entry.accepted += 1
        entry.state = "processing"
        entry.accepted_at = at
        entry.history.append((at, "accepted", ""))
        self.totals.accepted += 1

    def refused(self, entry: Entry, code: str, at: float) -> None:
        entry.refused += 1
        entry.history.append((at, "refused", code))
        self.totals.refused += 1

    def duplicate(self, entry: Entry, at: float) -> None:
        entry.duplicates += 1
        entry.history.append((at, "duplicate", "conflictTaskUUID"))
        self.totals.duplicates += 1

    def billed(self, entry: Entry, micro: int, at: float) -> None:
        """Book what one item cost."""
        entry.billed_micro_usd += micro
        entry.history.append((at, "billed", usd(micro)))
        self.totals.billed_micro_usd += micro

    def failed(self, entry: Entry, code: str, at: float) -> None:
        """Book that one item failed."""
        entry.history.append((at, "failed", code))

    def totals_json(self) -> dict[str, Any]:
        return {
            "accepted": self.totals.accepted,
            "refused": self.totals.refused,
            "duplicates": self.totals.duplicates,
            "billed_usd": usd(self.totals.billed_micro_usd),
            "dry_runs": self.totals.dry_runs,
        }

    def requests_json(self) -> dict[str, int]:
        return asdict(self.requests)

    def to_json(self) -> dict[str, Any]:
        """The whole book without histories, as `GET /_emulator/ledger` shows it."""
        return {
            "requests": self.requests_json(),
            "totals": self.totals_json(),
            "tasks": {task_uuid: entry.to_json() for task_uuid, entry in self.entries.items()},
        }

    def task_json(self, task_uuid: str) -> dict[str, Any] | None:
        """One task with its history; None for a UUID that never arrived."""
        entry = self.entries.get(task_uuid)
        if entry is None:
            return None
        return {"taskUUID": task_uuid, **entry.to_json(), "history": entry.history_json()}

    def records(self) -> Iterator[dict[str, Any]]:
        """Everything as records for JSON lines: the sums, the latest requests, each task with its history."""
        yield {"record": "totals", "requests": self.requests_json(), **self.totals_json()}
        for request in self.latest:
            yield {"record": "request", **asdict(request)}
        for task_uuid in self.entries:
            yield {"record": "task", **(self.task_json(task_uuid) or {})}
