"""Eight workers and one account's limits: by the platform's own book none is passed, and each is used."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.polling import poll_until
from tests.support.worker_process import start_worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runware_jobs import Jobs
    from tests.support.emulator_process import EmulatorProcess

pytestmark = pytest.mark.slow

WORKERS = 8
PER_S = 5
IN_FLIGHT = 20
DEFAULTS = {"model": "runware:400@1", "width": 512, "height": 512}


@dataclass(frozen=True)
class Book:
    """What the platform saw, in seconds of the wall clock: requests, and tasks from taken on to finished."""

    requests: Sequence[float]
    tasks: Sequence[tuple[float, float]]

    def most_requests_in(self, window_s: float) -> int:
        """Count the requests of the fullest window."""
        return max(
            sum(1 for at in self.requests if begin <= at <= begin + window_s) for begin in self.requests
        )

    def requests_between(self, begin: float, end: float) -> int:
        return sum(1 for at in self.requests if begin <= at < end)

    def in_flight(self) -> Iterator[tuple[float, int]]:
        """Give each instant at which the number of tasks under way changes, with the number from then on."""
        changes = sorted([(began, 1) for began, _ in self.tasks] + [(ended, -1) for _, ended in self.tasks])
        count = 0
        for at, change in changes:
            count += change
            yield at, count


def read_book(emulator: EmulatorProcess, *, since: float) -> Book:
    lines = httpx.get(f"{emulator.address}/_emulator/ledger.jsonl").text.splitlines()
    records = [json.loads(line) for line in lines]
    return Book(
        sorted(one["at"] for one in records if one["record"] == "request" and one["at"] >= since),
        [
            (one["accepted_at"], one["finished_at"])
            for one in records
            if one["record"] == "task" and one["accepted_at"] >= since
        ],
    )


@pytest.fixture
def workers(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """Eight worker processes that share the limits."""
    told = environment | {
        "RUNWARE_JOBS_MAX_REQUESTS_PER_S": str(PER_S),
        "RUNWARE_JOBS_MAX_IN_FLIGHT": str(IN_FLIGHT),
        # Small groups, or a few requests would do for all jobs and the rate would not bind.
        "RUNWARE_JOBS_SUBMIT_GROUP_SIZE": "5",
        "RUNWARE_JOBS_POLL_MIN_INTERVAL_S": "0.05",
    }
    with ExitStack() as stack:
        started = [start_worker(told, log=tmp_path / f"worker-{number}.log") for number in range(WORKERS)]
        for worker in started:
            stack.callback(lambda worker=worker: worker.process.poll() is None and worker.kill())
        for worker in started:
            poll_until(
                lambda worker=worker: "worker_ready" in worker.log.read_text() or None,
                what="worker ready",
                within_s=120,
            )
        yield


def test_rate_is_never_passed_and_used_where_it_binds_and_so_are_the_places(
    workers: None, jobs: Jobs, emulator: EmulatorProcess
) -> None:
    # Tasks of a quarter of a second at most: requests are what there is too little of.
    emulator.configure(latencies={"image": [10, 25]})
    begun = _first_request_after_now(emulator)
    quick = jobs.enqueue_many(
        [{"positivePrompt": f"street {number}"} for number in range(120)], name="quick", defaults=DEFAULTS
    )
    quick.wait(60)
    book = read_book(emulator, since=begun)
    # Of one that ends when the last job was sent: then there is nothing more to be done.
    first, last = min(began for began, _ in book.tasks), max(began for began, _ in book.tasks)

    assert quick.counts == {"succeeded": 120}
    assert book.most_requests_in(2.0) <= 2 * PER_S + 1
    assert max(count for _, count in book.in_flight()) <= IN_FLIGHT
    assert book.requests_between(first, last) >= 0.9 * PER_S * (last - first)

    # Tasks of twelve seconds: now places are. Every one is taken, and more than half of them twice.
    emulator.configure(latencies={"image": [1100, 1300]})
    begun = _first_request_after_now(emulator)
    slow = jobs.enqueue_many(
        [{"positivePrompt": f"hill {number}"} for number in range(32)], name="slow", defaults=DEFAULTS
    )
    slow.wait(60)
    book = read_book(emulator, since=begun)
    full = next(at for at, count in book.in_flight() if count == IN_FLIGHT)
    last = max(began for began, _ in book.tasks)
    taken = sum(
        count * (min(until, last) - at)
        for (at, count), (until, _) in pairwise(book.in_flight())
        if full <= at < last
    )

    assert slow.counts == {"succeeded": 32}
    assert book.most_requests_in(2.0) <= 2 * PER_S + 1
    assert max(count for _, count in book.in_flight()) <= IN_FLIGHT
    assert taken >= 0.9 * IN_FLIGHT * (last - full)


def _first_request_after_now(emulator: EmulatorProcess) -> float:
    """Give an instant of the platform's clock after which everything is of what follows."""
    book = read_book(emulator, since=0.0)
    return max(book.requests, default=0.0) + 1e-6
