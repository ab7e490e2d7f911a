"""What the tables say at one moment, and what must hold of it and of the way that led there.

Read past the store, with one statement per table; told apart from the moves, so that a
rule that the code and its test would both forget is at least forgotten twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from psycopg.rows import dict_row

from runware_jobs.core.identity import task_uuid
from runware_jobs.core.states import ATTEMPT_MOVES, FINAL, JOB_MOVES, AttemptState, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from psycopg import Connection

    Row = dict[str, Any]

NOBODY: Final = (None, None)
_NOTHING: Final = Decimal(0)
_SENT: Final = frozenset({"sending", "accepted", "unclear"})
_STAYS: Final = ("state", "error", "run", "finished_at", "submitted_at", "attempts", "results_expected")


@dataclass(slots=True)
class Tables:
    """All rows that the invariants are about."""

    jobs: dict[UUID, Row]
    attempts: dict[UUID, Row]
    results: list[Row]
    events: dict[UUID, list[Row]]
    processes: dict[int, Row]
    accounts: list[Row]
    buckets: list[Row]
    flows: list[Row]
    batches: list[Row]
    tenants: list[Row]

    @property
    def under_way(self) -> list[Row]:
        """Attempts that the platform may be working on: they hold a place, and money."""
        return [one for one in self.attempts.values() if one["state"] in _SENT]

    def attempts_of(self, job_id: UUID, *, run: int | None = None) -> list[Row]:
        """Attempts of a job (of one run), in order."""
        found = [
            one for one in self.attempts.values() if one["job_id"] == job_id and run in {None, one["run"]}
        ]
        return sorted(found, key=lambda one: (one["run"], one["number"]))


def read_tables(connection: Connection[Any]) -> Tables:
    """Read everything that is committed."""
    with connection.cursor(row_factory=dict_row) as cursor:

        def rows(statement: str) -> list[Row]:
            return cursor.execute(statement).fetchall()  # type: ignore[arg-type]  # literals of this file

        events = defaultdict(list)
        for event in rows(
            "SELECT job_id, seq, type, run FROM runware_jobs.event WHERE job_id IS NOT NULL ORDER BY seq"
        ):
            events[event["job_id"]].append(event)
        return Tables(
            jobs={row["id"]: row for row in rows("SELECT * FROM runware_jobs.job ORDER BY id")},
            attempts={
                row["task_uuid"]: row
                for row in rows("SELECT * FROM runware_jobs.attempt ORDER BY created_at")
            },
            results=rows("SELECT * FROM runware_jobs.result"),
            events=events,
            processes={row["id"]: row for row in rows("SELECT * FROM runware_jobs.process")},
            accounts=rows("SELECT * FROM runware_jobs.account"),
            buckets=rows("SELECT * FROM runware_jobs.bucket"),
            flows=rows("SELECT * FROM runware_jobs.flow"),
            batches=rows("SELECT * FROM runware_jobs.batch"),
            tenants=rows("SELECT * FROM runware_jobs.tenant"),
        )


@dataclass(slots=True)
class Ledger:
    """What only the way tells: how often each job came to an end, and what was spent by those since pruned."""

    endings: Counter[UUID] = field(default_factory=Counter)
    spent: dict[tuple[str, Any], Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def check_step(before: Tables, after: Tables, ledger: Ledger, *, secret: bytes, began: Tables) -> None:
    """Check what one transaction has changed, which `began` in sight of those tables, and what they say now."""
    _forget_pruned(before, after, ledger)
    for job_id, job in after.jobs.items():
        was = before.jobs.get(job_id)
        _check_job_step(was, job)
        if job["state"] in FINAL and (was is None or was["state"] not in FINAL or was["run"] != job["run"]):
            ledger.endings[job_id] += 1
        _check_job(job, after, ledger)
    for task, attempt in after.attempts.items():
        _check_attempt_step(before.attempts.get(task), attempt, before, after)
        assert task == task_uuid(secret, attempt["job_id"], attempt["run"], attempt["number"]), (
            "task UUID is not derived"
        )
    for owned in after.under_way:
        _check_owner(before.attempts.get(owned["task_uuid"]), owned, (began, after))
    _check_counters(after, ledger)
    _check_limits(before, after)


def _check_job_step(was: Row | None, now: Row) -> None:
    if was is None:
        assert (now["state"], now["run"], now["seq"]) == ("queued", 1, 1), "a job begins queued"
        return
    if was["state"] != now["state"]:
        assert JobState(now["state"]) in JOB_MOVES[JobState(was["state"])], (
            f"{was['state']} -> {now['state']}"
        )
    retried = was["state"] in {"failed", "canceled"} and (
        now["state"] not in FINAL or now["run"] != was["run"]
    )
    if was["state"] in FINAL and not retried:
        changed = [name for name in _STAYS if was[name] != now[name]]
        assert not changed, f"a final job has changed: {changed}"
    assert now["run"] - was["run"] in ({0, 1} if retried else {0}), "run rises by a retry, by one"
    assert now["seq"] >= was["seq"]
    assert (now["cost_usd"] or 0) >= (was["cost_usd"] or 0), "cost never falls"


def _check_attempt_step(was: Row | None, now: Row, before: Tables, after: Tables) -> None:
    if was is None:
        # Seen first when its claim has committed; a second transaction may have gone on with it.
        older = [one for one in before.attempts_of(now["job_id"]) if one["task_uuid"] != now["task_uuid"]]
        assert all(one["state"] == "ended" for one in older), "a new task while an older one may be alive"
        numbers = [one["number"] for one in after.attempts_of(now["job_id"], run=now["run"])]
        assert numbers == list(range(1, len(numbers) + 1)), "attempts are numbered without gap"
        assert now["state"] == "sending", "an attempt begins with its send"
    elif was["state"] != now["state"]:
        corrected = was["outcome"] == "lost" and now["state"] == "ended"
        assert corrected or AttemptState(now["state"]) in ATTEMPT_MOVES[AttemptState(was["state"])], (
            f"{was['state']} -> {now['state']}"
        )
    elif was["state"] == "ended":
        assert was["outcome"] in {now["outcome"], "lost"}, "an outcome is put right only where it was lost"
        assert was["finished_at"] == now["finished_at"]


def _check_owner(was: Row | None, now: Row, seen: Iterable[Tables]) -> None:
    """Whoever comes to own an attempt has a lease; nobody else can have committed such a move."""
    owner = (now["owner_id"], now["epoch"])
    if owner == NOBODY or (was is not None and (was["owner_id"], was["epoch"]) == owner):
        return
    # A lease that lapsed while the transaction was open was one when it looked.
    leases = {
        (one["id"], one["epoch"]) for at in seen for one in at.processes.values() if one["stopped_at"] is None
    }
    assert owner in leases, "taken over by a process without a lease"


def _check_job(job: Row, after: Tables, ledger: Ledger) -> None:
    attempts = after.attempts_of(job["id"])
    alive = [one for one in attempts if one["state"] != "ended"]
    assert len(alive) <= 1, "two attempts alive"
    sent = [one for one in alive if one["state"] in _SENT]
    assert all(one["run"] == job["run"] for one in alive), "an attempt of an earlier run is alive"
    states = {one["state"] for one in alive}
    match job["state"]:
        case "queued":
            assert states <= {"prepared"}, f"queued, and its attempt is {states}"
        case "submitting":
            assert states in ({"sending"}, {"unclear"}), f"submitting, and its attempt is {states}"
        case "running":
            assert states == {"accepted"}, f"running, and its attempt is {states}"
        case "succeeded":
            assert not states, f"succeeded, and its attempt is {states}"
        case _:
            assert "prepared" not in states, "ended, and an attempt waits to be sent"
    _check_money(job, attempts, has_sent=bool(sent))
    _check_events(job, after, ledger)
    for attempt in attempts:
        told = [one for one in after.results if one["task_uuid"] == attempt["task_uuid"]]
        costs = [one["cost_usd"] for one in told if one["cost_usd"] is not None]
        assert (attempt["cost_usd"] or _NOTHING) == sum(costs, _NOTHING), (
            "an attempt costs what its results cost"
        )
        good = sum(one["state"] == "success" for one in told)
        assert attempt["outcome"] != "succeeded" or good, "succeeded without a result"


def _check_money(job: Row, attempts: list[Row], *, has_sent: bool) -> None:
    costs = sum((one["cost_usd"] or _NOTHING for one in attempts), _NOTHING)
    assert (job["cost_usd"] or _NOTHING) == costs, "a job costs what its attempts cost"
    is_final = job["state"] in FINAL
    billing = job["billing"]
    outcomes = {one["outcome"] for one in attempts if one["run"] == job["run"]}
    assert (billing == "detached") == (is_final and has_sent), f"billing {billing}, in flight: {has_sent}"
    if billing == "unclear":
        assert is_final, "unclear, and not at its end"
        assert "lost" in outcomes, "unclear, and nothing was lost"
    if billing == "none":
        assert not (is_final and costs), "it has cost something"
        assert not outcomes & {"lost", "succeeded"}, f"nothing billed, and {outcomes}"


def _check_events(job: Row, after: Tables, ledger: Ledger) -> None:
    events = after.events[job["id"]]
    assert [one["seq"] for one in events] == list(range(1, job["seq"] + 1)), "seq has gaps"
    finals = [one for one in events if one["type"].removeprefix("job.") in FINAL]
    assert len(finals) == ledger.endings[job["id"]], "as many final events as endings"
    if job["state"] in FINAL:
        assert (finals[-1]["type"], finals[-1]["run"]) == (f"job.{job['state']}", job["run"])
    # Between two ends somebody has retried.
    between = [one["type"] for one in events if one in finals or one["type"] == "job.retrying"]
    for one, other in pairwise(between):
        assert "job.retrying" in {one, other} or other == "job.succeeded", f"{one}, then {other}"
    told = sum(one["type"] == "job.result" for one in events)
    assert told == sum(one["job_id"] == job["id"] for one in after.results), "one event for each result"


def _spent(attempt: Row) -> Decimal:
    """What an attempt that has ended counts as: its cost, else its hold where it may have cost something."""
    cost, hold = attempt["cost_usd"], attempt["hold_usd"]
    match attempt["outcome"]:
        case "lost":
            return max((one for one in (cost, hold) if one is not None), default=_NOTHING)
        case "succeeded":
            return cost if cost is not None else hold or _NOTHING
        case None:
            return _NOTHING
        case _:
            return cost or _NOTHING


def _purses(attempt: Row, job: Row) -> Iterable[tuple[str, Any]]:
    return ("account", attempt["account_id"]), ("batch", job["batch_id"]), ("tenant", job["tenant"])


def _forget_pruned(before: Tables, after: Tables, ledger: Ledger) -> None:
    for job_id in before.jobs.keys() - after.jobs.keys():
        job = before.jobs[job_id]
        attempts = before.attempts_of(job_id)
        assert job["state"] in FINAL, "pruned before its end"
        assert all(one["state"] == "ended" for one in attempts), "pruned while the platform works for it"
        for attempt in attempts:
            for purse in _purses(attempt, job):
                ledger.spent[purse] += _spent(attempt)


def _check_counters(after: Tables, ledger: Ledger) -> None:
    places: Counter[tuple[str, Any]] = Counter()
    held: dict[tuple[str, Any], Decimal] = defaultdict(Decimal)
    spent = defaultdict(Decimal, ledger.spent)
    for attempt in after.attempts.values():
        job = after.jobs[attempt["job_id"]]
        for purse in _purses(attempt, job):
            spent[purse] += _spent(attempt)
            if attempt["state"] in _SENT:
                held[purse] += attempt["hold_usd"] or _NOTHING
        if attempt["state"] in _SENT:
            flow = (attempt["account_id"], job["lane"], job["model"])
            places.update([("account", attempt["account_id"]), ("bucket", job["bucket_id"]), ("flow", flow)])
    for table, key, rows in (
        ("account", lambda row: row["id"], after.accounts),
        ("bucket", lambda row: row["id"], after.buckets),
        ("flow", lambda row: (row["account_id"], row["lane"], row["model"]), after.flows),
    ):
        told = {(table, key(row)): row["in_flight"] for row in rows if row["in_flight"]}
        counted = {name: count for name, count in places.items() if name[0] == table}
        assert told == counted, f"in flight by {table}: told {told}, counted {counted}"
    for table, column, rows in (
        ("account", "id", after.accounts),
        ("batch", "id", after.batches),
        ("tenant", "name", after.tenants),
    ):
        for row in rows:
            purse = (table, row[column])
            assert row["held_usd"] == held[purse], (
                f"held by {purse}: {row['held_usd']}, counted {held[purse]}"
            )
            assert row["spent_usd"] == spent[purse], (
                f"spent by {purse}: {row['spent_usd']}, counted {spent[purse]}"
            )


def _check_limits(before: Tables, after: Tables) -> None:
    """Check what went out just now: within the account's places, and what its purses can pay."""
    claimed = [
        one
        for task, one in after.attempts.items()
        if one["state"] == "sending" and before.attempts.get(task, {}).get("state") != "sending"
    ]
    for account in after.accounts:
        assert account["in_flight"] <= account["max_in_flight"], "more in flight than the account may have"
    for attempt in claimed:
        job = after.jobs[attempt["job_id"]]
        for (table, key), limit, rows, column in zip(
            _purses(attempt, job),
            ("daily_limit_usd", "budget_usd", "budget_usd"),
            (after.accounts, after.batches, after.tenants),
            ("id", "id", "name"),
            strict=True,
        ):
            for row in rows:
                if row[column] == key and row[limit] is not None:
                    beside = [
                        one
                        for one in after.under_way
                        if (table, key) in _purses(one, after.jobs[one["job_id"]])
                    ]
                    fits = row["spent_usd"] + row["held_usd"] <= row[limit]
                    alone = attempt["hold_usd"] is None and len(beside) == 1 and row["spent_usd"] < row[limit]
                    assert fits or alone, f"{table} {key} cannot pay for what was claimed"
