"""The book of what was asked, accepted, refused and billed. It decides nothing; it is for reading.

Benchmarks and crash tests compare it with what a client believes: a task with two bills, an accepted
task nobody asked for again, a UUID that arrived three times.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .prices import usd


@dataclass(slots=True)
class Entry:
    """One taskUUID. `submits` counts every arrival, also refused and duplicate ones."""

    task_type: str
    model: str
    submits: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    polls: int = 0
    items: int = 0
    billed_micro_usd: int = 0
    state: str = ""
    """processing, success, error; lost or stuck after such a fault; empty when never accepted."""
    accepted_at: float | None = None
    finished_at: float | None = None

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

    def to_record(self) -> list[Any]:
        """The fields in order, for a state file: `Entry(*record)` undoes it."""
        return [getattr(self, one.name) for one in fields(self)]


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
    """Entries by taskUUID and the sums."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.totals = Totals()
        self.entries: dict[str, Entry] = {}

    def request(self, *, websocket: bool, submits: bool, polls: bool) -> None:
        """Count one request message."""
        self.requests.total += 1
        self.requests.websocket += websocket
        self.requests.rest += not websocket
        self.requests.submits += submits
        self.requests.polls += polls

    def arrived(self, task_uuid: str, task_type: str, model: str) -> Entry:
        """Count the arrival of a submit."""
        entry = self.entries.get(task_uuid)
        if entry is None:
            entry = self.entries[task_uuid] = Entry(task_type, model)
        entry.submits += 1
        return entry

    def accepted(self, entry: Entry, at: float) -> None:
        entry.accepted = 1
        entry.state = "processing"
        entry.accepted_at = at
        self.totals.accepted += 1

    def refused(self, entry: Entry) -> None:
        entry.refused += 1
        self.totals.refused += 1

    def duplicate(self, entry: Entry) -> None:
        entry.duplicates += 1
        self.totals.duplicates += 1

    def billed(self, entry: Entry, micro: int) -> None:
        """Book one successfully finished item."""
        entry.items += 1
        entry.billed_micro_usd += micro
        self.totals.billed_micro_usd += micro

    def totals_json(self) -> dict[str, Any]:
        return {
            "accepted": self.totals.accepted,
            "refused": self.totals.refused,
            "duplicates": self.totals.duplicates,
            "billed_usd": usd(self.totals.billed_micro_usd),
            "dry_runs": self.totals.dry_runs,
        }

    def requests_json(self) -> dict[str, int]:
        return {one.name: getattr(self.requests, one.name) for one in fields(Requests)}

    def to_json(self) -> dict[str, Any]:
        """The whole book, as `GET /_emulator/ledger` shows it."""
        return {
            "requests": self.requests_json(),
            "totals": self.totals_json(),
            "tasks": {task_uuid: entry.to_json() for task_uuid, entry in self.entries.items()},
        }
