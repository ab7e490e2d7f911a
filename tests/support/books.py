"""Compare two books: what the platform's ledger says, and what our tables say. They must agree to the cent.

`compare_books` is pure: rows and the ledger in, sentences about what is wrong out.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

_FINAL = {"succeeded", "failed", "canceled"}
_FINAL_EVENTS = {"job.succeeded", "job.failed", "job.canceled"}
_NO_END = {"lost", "stuck"}
"""States of the ledger for tasks that the platform has accepted and will never tell of."""


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that is compared. Rows are as the tables have them; ids are strings.

    `ledger` tasks carry their `history`. `may_cancel` and `may_be_late` name jobs that
    a producer tried to cancel, or gave a deadline. `retried` maps a job to the runs that
    a person started in spite of unclear billing. `forgets` says that the platform was
    told to forget finished tasks: what it has forgotten may count as lost.
    """

    jobs: list[Row]
    attempts: list[Row]
    results: list[Row]
    events: list[Row]
    counters: list[Row]
    ledger: dict[str, Any]
    may_cancel: frozenset[str] = frozenset()
    may_be_late: frozenset[str] = frozenset()
    may_pay_twice: frozenset[str] = frozenset()
    forgets: bool = False
    attempts_of: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for attempt in sorted(self.attempts, key=lambda row: (row["run"], row["number"])):
            self.attempts_of[attempt["job_id"]].append(attempt)

    def entry(self, attempt: Row) -> Row | None:
        """What the ledger has of an attempt."""
        found: Row | None = self.ledger["tasks"].get(attempt["task_uuid"])
        return found


def compare_books(books: Books) -> list[str]:
    """Say everything that is wrong; nothing when both books agree."""
    return [
        *_ends(books),
        *_tasks(books),
        *_successions(books),
        *_results(books),
        *_money(books),
        *_events(books),
        *_counters(books),
    ]


def lost_attempts(books: Books) -> list[str]:
    """Say which attempts were given up although the platform had them and would have told."""
    wrong = []
    for attempt in books.attempts:
        entry = books.entry(attempt)
        if attempt["outcome"] != "lost" or entry is None or not entry["accepted"]:
            continue
        if entry["state"] not in _NO_END and not books.forgets:
            wrong.append(
                f"attempt {attempt['task_uuid']} was given up as lost, but the platform has it:"
                f" {entry['state']}, billed {entry['billed_usd']}; settlement {attempt['settlement']}"
            )
    return wrong


def _ends(books: Books) -> list[str]:
    wrong = []
    for job in books.jobs:
        name = f"job {job['id']} ({job['state']}, run {job['run']})"
        if job["state"] not in _FINAL:
            wrong.append(f"{name} has not ended")
        if job["state"] == "canceled" and job["id"] not in books.may_cancel:
            wrong.append(f"{name} was canceled by nobody")
        if job["state"] == "failed":
            wrong += _failure(books, job, name)
        if job["billing"] == "detached":
            wrong.append(f"{name} still counts as detached though none of its attempts is alive")
    wrong += [
        f"attempt {row['task_uuid']} is still {row['state']}"
        for row in books.attempts
        if row["state"] != "ended"
    ]
    return wrong + lost_attempts(books)


def _failure(books: Books, job: Row, name: str) -> list[str]:
    code = (job["error"] or {}).get("code")
    if code == "timeout" and job["id"] in books.may_be_late:
        return []
    attempts = books.attempts_of[job["id"]]
    entry = books.entry(attempts[-1]) if attempts else None
    history = {event["event"] for event in entry["history"]} if entry else set()
    if history & {"refused", "failed"}:
        return []
    if attempts and attempts[-1]["outcome"] == "lost":
        return [f"{name} is lost and nobody has retried it"]
    return [f"{name} failed for no reason that the ledger knows: {job['error']}"]


def _tasks(books: Books) -> list[str]:
    known = {attempt["task_uuid"] for attempt in books.attempts}
    wrong = []
    for task_uuid, entry in books.ledger["tasks"].items():
        if task_uuid not in known:
            wrong.append(f"task {task_uuid} of the ledger ({entry['state']}) belongs to no attempt")
        if entry["accepted"] > 1:
            wrong.append(f"task {task_uuid} was accepted {entry['accepted']} times")
        bills = sum(1 for event in entry["history"] if event["event"] == "billed")
        if bills != entry["items"] and entry["accepted"] == 1:
            wrong.append(f"task {task_uuid} has {entry['items']} items and {bills} bills")
    for attempt in books.attempts:
        paid = books.entry(attempt)
        if attempt["outcome"] == "succeeded" and (paid is None or not paid["items"]):
            wrong.append(f"attempt {attempt['task_uuid']} succeeded, but the ledger has no item of it")
        if attempt["outcome"] in {"not_sent", "refused"} and paid is not None and paid["accepted"]:
            wrong.append(f"attempt {attempt['task_uuid']} counts as {attempt['outcome']}, but was accepted")
    return wrong


def _successions(books: Books) -> list[str]:
    """No second task of a job while the first could still be alive, by the ledger's own times."""
    wrong = []
    for job_id, attempts in books.attempts_of.items():
        arrived = [(attempt, entry) for attempt in attempts if (entry := books.entry(attempt)) is not None]
        for (first, before), (second, after) in itertools.pairwise(arrived):
            if before["state"] in _NO_END and job_id in books.may_pay_twice:
                continue
            if not before["history"] or not after["history"]:
                continue
            end = before["finished_at"] if before["accepted"] else before["history"][-1]["at"]
            start = after["history"][0]["at"]
            if job_id in books.may_pay_twice and not before["accepted"]:
                continue
            if end is None or start < end:
                wrong.append(
                    f"job {job_id}: task {second['task_uuid']} came at {start}, when {first['task_uuid']}"
                    f" could still be alive (it ended at {end})"
                )
        several = [attempt["task_uuid"] for attempt, entry in arrived if entry["items"]]
        runs = {attempt["run"] for attempt, entry in arrived if entry["items"]}
        if len(several) > len(runs):
            wrong.append(f"job {job_id} was paid {len(several)} times in {len(runs)} runs: {several}")
    return wrong


def _results(books: Books) -> list[str]:
    wrong = []
    rows = Counter((row["task_uuid"], row["state"]) for row in books.results)
    for attempt in books.attempts:
        entry = books.entry(attempt)
        task = attempt["task_uuid"]
        items = entry["items"] if entry is not None and not _is_untold(books, attempt, entry) else 0
        if rows[task, "success"] != items:
            wrong.append(
                f"attempt {task}: {rows[task, 'success']} results in the tables, {items} in the ledger"
            )
    medias = Counter(_media(row["item"]) for row in books.results if row["state"] == "success")
    wrong += [
        f"result {media} is in the tables {count} times"
        for media, count in medias.items()
        if media and count > 1
    ]
    for job in books.jobs:
        if job["state"] == "succeeded":
            # Of any run: a retry asks only for what is missing, and for nothing where nothing is.
            tasks = [attempt["task_uuid"] for attempt in books.attempts_of[job["id"]]]
            if not any(rows[task, "success"] for task in tasks):
                wrong.append(f"job {job['id']} succeeded without a result")
    return wrong


def _media(item: Row) -> str | None:
    return next(
        (str(item[name]) for name in ("imageUUID", "videoUUID", "audioUUID", "mediaUUID") if name in item),
        None,
    )


def _is_untold(books: Books, attempt: Row, entry: Row) -> bool:
    """True for a task whose end the platform never told: forgotten, or lost by a fault."""
    return attempt["outcome"] == "lost" and (entry["state"] in _NO_END or books.forgets)


def _money(books: Books) -> list[str]:
    wrong = []
    untold = Decimal(0)
    for attempt in books.attempts:
        entry = books.entry(attempt)
        billed = Decimal(entry["billed_usd"]) if entry is not None else Decimal(0)
        if entry is not None and _is_untold(books, attempt, entry):
            untold += billed
            billed = Decimal(0)
        if (attempt["cost_usd"] or Decimal(0)) != billed:
            wrong.append(
                f"attempt {attempt['task_uuid']} cost {attempt['cost_usd']}, the ledger says {billed}"
            )
    for job in books.jobs:
        own = sum((attempt["cost_usd"] or Decimal(0) for attempt in books.attempts_of[job["id"]]), Decimal(0))
        if (job["cost_usd"] or Decimal(0)) != own:
            wrong.append(f"job {job['id']} cost {job['cost_usd']}, its attempts {own}")
    total = sum((job["cost_usd"] or Decimal(0) for job in books.jobs), Decimal(0))
    if total + untold != Decimal(books.ledger["totals"]["billed_usd"]):
        wrong.append(
            f"all jobs cost {total} (and {untold} untold), the ledger says {books.ledger['totals']['billed_usd']}"
        )
    return wrong


def _events(books: Books) -> list[str]:
    told: dict[str, list[Row]] = defaultdict(list)
    for event in sorted(books.events, key=lambda row: row["seq"]):
        if event["job_id"] is not None:
            told[event["job_id"]].append(event)
    wrong = []
    for job in books.jobs:
        events = told[job["id"]]
        line = [f"{event['seq']} {event['type']}" for event in events]
        name = f"events of job {job['id']} {line}"
        if [event["seq"] for event in events] != list(range(1, len(events) + 1)) or job["seq"] != len(events):
            wrong.append(f"{name}: a number is missing or doubled (the job is at {job['seq']})")
        if not events or events[0]["type"] != "job.queued":
            wrong.append(f"{name}: job.queued is not the first")
        ends = _check_course(events)
        wrong += [f"{name}: {fault}" for fault in ends]
        finals = [event["type"] for event in events if event["type"] in _FINAL_EVENTS]
        if finals[-1:] != [f"job.{job['state']}"]:
            wrong.append(f"{name}: the last end is not that of the job, {job['state']}")
    keys = Counter(
        (event["data"]["task_uuid"], event["data"]["key"])
        for event in books.events
        if event["type"] == "job.result"
    )
    rows = Counter((row["task_uuid"], row["key"]) for row in books.results)
    for missing in rows - keys:
        wrong.append(f"result {missing} was told by no event")
    for doubled in keys - rows:
        wrong.append(f"result {doubled} was told though it is not there, or twice")
    return wrong


def _check_course(events: list[Row]) -> list[str]:
    """One end per run: what comes after it is a late result, a corrected cost, or a retry by hand."""
    wrong = []
    has_ended = False
    submitted: Counter[str] = Counter()
    for event in events:
        kind = event["type"]
        by_hand = kind == "job.retrying" and "adopted" in event["data"]
        if has_ended and kind in _FINAL_EVENTS | {"job.submitted"}:
            wrong.append(f"{event['seq']} {kind} after the end")
        if kind == "job.retrying" and has_ended != by_hand:
            wrong.append(f"{event['seq']} {kind} {'without' if by_hand else 'after'} an end")
        if kind == "job.submitted":
            submitted[str(event["data"].get("task_uuid"))] += 1
        has_ended = (has_ended or kind in _FINAL_EVENTS) and not by_hand
    wrong += [
        f"task {task} was told as submitted {count} times" for task, count in submitted.items() if count > 1
    ]
    return wrong


def _counters(books: Books) -> list[str]:
    """Nothing is under way, so nothing may count as such."""
    return [
        f"{row['name']} is still {row['value']}"
        for row in books.counters
        if row["value"] not in {None, 0, Decimal(0)}
    ]
