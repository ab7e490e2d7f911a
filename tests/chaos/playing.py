"""Play a run from its first job to the comparison of the books; leave evidence when they do not agree."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.run import Run
from tests.support.books import Books, compare_books

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.chaos.figures import Figures
    from tests.chaos.lane import Lane
    from tests.chaos.plan import Plan


def play(lane: Lane, plan: Plan, scenario: Callable[[Run], None], folder: Path) -> Figures:
    """Play one run to its end; the figures say what was wrong, and a folder has the evidence."""
    started = time.monotonic()
    run = Run(lane, plan, folder)
    try:
        with _problems_of(run.figures):
            scenario(run)
            run.finish()
        with _problems_of(run.figures):
            run.figures.problems += run.lane.customs.wrong
            books = run.books()
            run.figures.problems += [one for one in compare_books(books) if one not in run.figures.problems]
            run.figures.problems += [one for check in run.checks for one in check()]
            _count(run, books)
        run.figures.seconds = time.monotonic() - started
        if run.figures.problems:
            with _problems_of(run.figures):
                _dump(run)
        else:
            for log in run.logs:
                log.unlink()
            folder.rmdir()
    finally:
        run.close()
    return run.figures


@contextmanager
def _problems_of(figures: Figures) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  a run that breaks off is a finding, with its evidence
        figures.problems.append(f"{type(error).__name__}: {str(error)[:1500]}")


def _count(run: Run, books: Books) -> None:
    counts, ledger = run.figures.counts, books.ledger
    counts["jobs"] = len(books.jobs)
    counts["paid"] = sum(1 for entry in ledger["tasks"].values() if entry["items"])
    counts["duplicates"] = ledger["totals"]["duplicates"]
    counts["settled"] = sum(1 for attempt in books.attempts if attempt["settlement"])
    counts["adopted"] = sum(_adopted(log) for log in run.logs)
    counts["canceled"] = sum(1 for job in books.jobs if job["state"] == "canceled")
    counts["failed"] = sum(1 for job in books.jobs if job["state"] == "failed")
    counts["requests"] = ledger["requests"]["total"]
    for seat in run.lane.seats:
        run.figures.points += seat.traps.seen
        run.figures.struck += seat.traps.struck


def _adopted(log: Path) -> int:
    """Add up what a worker's log says it took over."""
    lines = (line for line in log.read_text(errors="replace").splitlines() if '"attempts_adopted"' in line)
    return sum(int(json.loads(line)["attempts"]) for line in lines)


def _dump(run: Run) -> None:
    """Leave everything needed to understand a failure."""
    run.figures.folder = str(run.folder)
    plan = run.plan
    told = {
        "scenario": plan.scenario,
        "seed": plan.seed,
        "again": f"make chaos CHAOS_SCENARIO={plan.scenario} CHAOS_SEED={plan.seed} CHAOS_RUNS=1",
        "settings": plan.settings,
        "switches": plan.switches,
        "latencies": plan.latencies,
        "rules": plan.rules,
        "counts": run.figures.counts,
        "struck": run.figures.struck,
        "problems": run.figures.problems,
    }
    _write(run.folder / "run.json", told)
    for name in (
        "job",
        "attempt",
        "result",
        "event",
        "outbox",
        "delivery",
        "receiver",
        "process",
        "account",
        "bucket",
        "batch",
        "flow",
    ):
        _write(run.folder / f"{name}.json", run.read(f"SELECT * FROM {name}"))
    _write(run.folder / "ledger.json", run.lane.emulator.book())
    exported = httpx.get(f"{run.lane.emulator.calls.address}/_emulator/ledger.jsonl", timeout=30)
    (run.folder / "ledger.jsonl").write_bytes(exported.content)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, default=str))
