"""One run: workers and a producer in a lane, what can be done to them, and how it all comes to an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from runware_jobs import Jobs, RunwareJobsError, Settings
from tests.chaos.figures import Figures
from tests.chaos.plan import make_params
from tests.chaos.tables import TABLES
from tests.support.books import Books, lost_attempts
from tests.support.polling import poll_until
from tests.support.traps import Moment, Strike

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runware_jobs import Job
    from tests.chaos.lane import Lane, Seat
    from tests.chaos.plan import Plan
    from tests.support.forked_workers import ForkedWorker

ENDS_WITHIN_S = 180.0
"""Generous: a run takes seconds; one that needs longer than this has something that never ends."""
_READY_WITHIN_S = 60.0
_DRAINS_WITHIN_S = 12.0


_QUIET = """SELECT (NOT EXISTS (SELECT FROM job WHERE finished_at IS NULL)
    AND NOT EXISTS (SELECT FROM attempt WHERE state <> 'ended'))::int"""


class Run:
    """The hands of a scenario: start, kill, stop, cut, enqueue; and `finish`."""

    def __init__(self, lane: Lane, plan: Plan, folder: Path) -> None:
        self.lane, self.plan, self.folder = lane, plan, folder
        self.chance = plan.chance
        self.figures = Figures(plan.scenario, plan.seed)
        self.workers: dict[int, ForkedWorker] = {}
        self.may_cancel: set[str] = set()
        self.may_be_late: set[str] = set()
        self.may_pay_twice: set[str] = set()
        self.logs: list[Path] = []
        # What a scenario adds to the end: who is healed then, whether the waits of webhooks are cut
        # short, and what is looked at when all is over.
        self.heals: list[Callable[[], None]] = []
        self.turns_time = False
        self.checks: list[Callable[[], list[str]]] = []
        self._stopped: set[int] = set()
        self._enqueued = 0
        folder.mkdir(parents=True, exist_ok=True)
        lane.clean()
        lane.fresh_database()
        lane.customs.look_at(lane.direct_url())
        lane.emulator.prepare(rules=plan.rules, switches=plan.switches, latencies=plan.latencies)
        self.jobs = Jobs(Settings(**self._producer_settings()))

    # What a producer does.

    def enqueue(self, count: int, **options: Any) -> list[Job]:
        """Enqueue single jobs with these options; tried again, as the same jobs, while the database is away."""
        return [self._enqueue_one(options) for _ in range(count)]

    def _enqueue_one(self, options: dict[str, Any]) -> Job:
        self._enqueued += 1
        params = make_params(self.chance, self._enqueued)
        key = f"{self.plan.seed}-{self._enqueued}"
        job: Job = self.must(lambda: self.jobs.enqueue(params, idempotency_key=key, **options))
        if "deadline_s" in options:
            self.may_be_late.add(job.id)
        return job

    def enqueue_batch(self, count: int, **options: Any) -> Any:
        """Enqueue one batch."""
        params = [make_params(self.chance, self._enqueued + number) for number in range(count)]
        self._enqueued += count
        return self.jobs.enqueue_many(params, name=f"chaos {self.plan.seed}", **options)

    def cancel(self, job: Job) -> None:
        """Cancel a job, if that is possible now."""
        self.may_cancel.add(job.id)
        self.try_(job.cancel)

    def retry(self, job: Job) -> None:
        """Retry a job by hand, if that is possible now."""
        self.try_(job.retry)

    def try_(self, act: Callable[[], Any]) -> bool:
        """Do what may be refused, or fail because something is away; tell whether it was done."""
        try:
            act()
        except Exception as error:
            if not isinstance(error, RunwareJobsError) and not _is_away(error):
                raise
            return False
        return True

    def must(self, act: Callable[[], Any]) -> Any:
        """Do it, again and again while the database is away."""
        found: list[Any] = []

        def once() -> bool:
            try:
                found.append(act())
            except Exception as error:
                if not _is_away(error):
                    raise
                return False
            return True

        poll_until(once, what="the producer's database back")
        return found[-1]

    # What happens to workers.

    def start(self, seat: int = 0, *, is_ready: bool = True, **settings: str) -> ForkedWorker:
        """Start a worker in a seat; `is_ready`: wait until its clock runs."""
        log = self.folder / f"worker-{seat}-{len(self.logs)}.log"
        self.logs.append(log)
        # Known before it says its first word, at which it may be struck.
        worker = self.workers[seat] = self.lane.nursery.start(self.environment(seat, **settings), log=log)
        self.figures.counts["starts"] += 1
        if is_ready:
            poll_until(
                lambda: worker.said("worker_ready") or worker.has_ended,
                what=f"worker {seat} ready",
                within_s=_READY_WITHIN_S,
            )
            assert not worker.has_ended, f"worker {seat} ended at once: {log.read_text()[-2000:]}"
        return worker

    def environment(self, seat: int, **settings: str) -> dict[str, str]:
        """What a worker is told."""
        told = self.plan.settings | settings
        return {f"RUNWARE_JOBS_{name}": value for name, value in told.items()} | {
            "RUNWARE_JOBS_DATABASE_URL": self.lane.url_of(self.seat(seat)),
            "RUNWARE_JOBS_BROKER_URL": self.lane.broker_url,
            "RUNWARE_JOBS_HTTP_BASE_URL": f"http://{self.lane.platform_address}/v1",
            "RUNWARE_JOBS_WS_BASE_URL": f"ws://{self.lane.platform_address}/v1",
            "RUNWARE_API_KEY": self.seat(seat).key,
        }

    def seat(self, number: int) -> Seat:
        """Give a seat: its traps and its way to Postgres."""
        return self.lane.seats[number]

    def kill(self, seat: int = 0) -> None:
        """Kill -9 a seat's worker."""
        worker = self.workers.pop(seat, None)
        if worker is not None:
            self._stopped.discard(seat)
            worker.kill()
            self.figures.counts["kills"] += 1

    def stop(self, seat: int = 0) -> None:
        """SIGSTOP: the worker stands still, and does not know it."""
        self._stopped.add(seat)
        self.workers[seat].signal(signal.SIGSTOP)
        self.figures.counts["stops"] += 1

    def go_on(self, seat: int = 0) -> None:
        """SIGCONT."""
        self._stopped.discard(seat)
        if seat in self.workers:
            self.workers[seat].signal(signal.SIGCONT)

    def killing(self, seat: int, moment: Moment) -> Strike:
        """Make the strike that kills whoever sits there then; `has_died` belongs after it."""
        return Strike(moment, act=lambda: self.workers[seat].signal(signal.SIGKILL))

    def has_died(self, seat: int) -> None:
        """Note that a strike has killed this worker, and wait until it is gone."""
        worker = self.workers.pop(seat)
        assert worker.wait(10), "a killed worker is still there"
        self.figures.counts["kills"] += 1

    def rule(self, *rules: dict[str, Any]) -> None:
        """Let something go wrong at the platform, until `finish`."""
        self.plan.rules.extend(rules)
        self.lane.emulator.add_rules(rules)

    def recover(self, since: Any) -> None:
        """Run `runware-jobs recover --since` as a person would after a restore.

        Workers that were alive when the copy was made count as alive for a lease: it says so, and is run again.
        """
        poll_until(lambda: self._has_recovered(since), what="recover", within_s=60)

    def _has_recovered(self, since: Any) -> bool:
        done = subprocess.run(
            [sys.executable, "-m", "runware_jobs", "recover", "--since", since.isoformat()],
            env=os.environ | self.environment(0) | {"RUNWARE_JOBS_DATABASE_URL": self.lane.direct_url()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        is_early = "are alive" in done.stderr
        assert done.returncode == 0 or is_early, f"recover said {done.stdout[-500:]} {done.stderr[-1500:]}"
        return not is_early

    def reopen_producer(self) -> None:
        """Open the producer anew, after its database was exchanged."""
        self.jobs = Jobs(Settings(**self._producer_settings()))

    def check_budgets(self) -> None:
        """No batch may have spent more than its budget allows: one job of unknown price on top."""
        for row in self.read(
            "SELECT id::text, budget_usd, spent_usd FROM batch WHERE budget_usd IS NOT NULL AND spent_usd > budget_usd"
        ):
            [most] = self.read("SELECT COALESCE(max(cost_usd), 0) AS usd FROM attempt")
            if row["spent_usd"] > row["budget_usd"] + most["usd"]:
                self.figures.problems.append(
                    f"batch {row['id']} spent {row['spent_usd']} of {row['budget_usd']}"
                )

    def let_pass(self, low_s: float, high_s: float) -> None:
        """Let time pass: the moment of what comes next is the case, and follows from the seed."""
        threading.Event().wait(self.chance.uniform(low_s, high_s))

    # How things stand.

    def read(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Read rows, past every relay; bare names are those of our schema."""
        with self.lane.connect(row_factory=dict_row) as connection:
            connection.execute("SET search_path TO runware_jobs, public")
            return connection.execute(sql, values).fetchall()

    def count(self, sql: str) -> int:
        """Read one number."""
        [row] = self.read(sql)
        return int(next(iter(row.values())))

    def until(self, sql: str, *, what: str, within_s: float = ENDS_WITHIN_S) -> None:
        """Wait until a statement gives a number above zero."""

        def look() -> bool:
            try:
                return self.count(sql) > 0
            except psycopg.OperationalError:
                return False

        poll_until(look, what=what, within_s=within_s)

    def until_share_is_final(self, share: float) -> None:
        """Wait until this share of the jobs has ended."""
        self.until(
            f"SELECT (count(*) FILTER (WHERE finished_at IS NOT NULL) >= {share} * count(*))::int FROM job",
            what=f"{share:.0%} of the jobs final",
        )

    # The end.

    def finish(self) -> None:
        """Let everything heal, end, and be told; retry by hand what was lost; then stop the workers."""
        self._heal()
        for number in list(self._stopped):
            self.go_on(number)
        for number, worker in list(self.workers.items()):
            if worker.has_ended:
                self.workers.pop(number)
        if not self.workers:
            self.start(0)
        self._until_quiet()
        for _ in range(3):
            if not self._retry_lost():
                break
            self._until_quiet()
        if self.turns_time:
            # What is under way is given back first: its holders must not be overtaken.
            for number in list(self.workers):
                self.drain(number)
        self._drain_outbox()
        for number in list(self.workers):
            self.drain(number)

    def _heal(self) -> None:
        self.lane.emulator.heal()
        self.lane.broker.open()
        self.lane.platform.open()
        for seat in self.lane.seats:
            seat.traps.clear()
            seat.postgres.open()
        for heal in self.heals:
            heal()

    def _until_quiet(self) -> None:
        def look() -> bool:
            try:
                # Whoever set a budget that is used up has more money now.
                for row in self.read(
                    "SELECT id::text FROM batch WHERE state = 'paused' AND sealed_at IS NOT NULL"
                ):
                    self.try_(partial(self.jobs.batch(row["id"]).resume, budget_usd=100))
                return self.count(_QUIET) > 0
            except psycopg.OperationalError:
                return False

        poll_until(look, what="every job final and no attempt alive", within_s=ENDS_WITHIN_S)

    def _retry_lost(self) -> int:
        """A person decides: nobody else may pay a second time for what is unclear."""
        lost = self.read("SELECT id::text FROM job WHERE state = 'failed' AND billing = 'unclear'")
        if lost:
            self.figures.problems += lost_attempts(self.books())
        for row in lost:
            self.may_pay_twice.add(row["id"])
            self.must(partial(self._retry_unclear, row["id"]))
        self.figures.counts["lost"] += len(lost)
        return len(lost)

    def _retry_unclear(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job.is_final and job.state != "succeeded":
            job.retry(accept_double_billing=True)

    def _drain_outbox(self) -> None:
        with self.lane.connect() as connection:
            # What a killed process had claimed is due again in a minute or two: as if they had passed.
            connection.execute("UPDATE runware_jobs.outbox SET due_at = now() WHERE NOT is_dead")
            connection.execute("UPDATE runware_jobs.receiver SET rests_until = now()")
        if not self.workers:
            self.start(0)
        self.until(
            "SELECT (NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (SELECT FROM batch WHERE sealed_at IS NOT NULL"
            " AND finished_at IS NULL))::int",
            what="everything told",
            within_s=30,
        )

    def drain(self, number: int) -> None:
        """SIGTERM, and wait for a worker's end."""
        worker = self.workers.pop(number)
        worker.signal(signal.SIGTERM)
        if not worker.wait(_DRAINS_WITHIN_S):
            self.figures.problems.append(f"worker {number} did not drain within {_DRAINS_WITHIN_S:g} s")
            worker.kill()

    def books(self) -> Books:
        """Read both books as they stand."""
        return Books(
            jobs=self.read(TABLES["jobs"]),
            attempts=self.read(TABLES["attempts"]),
            results=self.read(TABLES["results"]),
            events=self.read(TABLES["events"]),
            counters=self.read(TABLES["counters"]),
            ledger=self.lane.emulator.book(),
            may_cancel=frozenset(self.may_cancel),
            may_be_late=frozenset(self.may_be_late),
            may_pay_twice=frozenset(self.may_pay_twice),
            forgets=self.plan.forgets,
        )

    def _producer_settings(self) -> dict[str, Any]:
        settings = {name.lower(): value for name, value in self.plan.settings.items()}
        return settings | {
            "database_url": self.lane.direct_url(),
            "broker_url": self.lane.broker_url,
            "http_base_url": f"http://{self.lane.platform_address}/v1",
            "ws_base_url": f"ws://{self.lane.platform_address}/v1",
        }

    def close(self) -> None:
        """Kill what is left, and let go of the database."""
        for number in list(self.workers):
            self.workers[number].signal(signal.SIGCONT)
            self.workers.pop(number).kill()
        self.jobs.close()


def _is_away(error: BaseException) -> bool:
    """True for what a producer sees while the database is away or thrown out its connection."""
    names = {
        type(one).__name__
        for one in (error, getattr(error, "orig", None), error.__cause__)
        if one is not None
    }
    return bool(
        names
        & {
            "OperationalError",
            "InterfaceError",
            "AdminShutdown",
            "TimeoutError",
            "ConnectionError",
            "DatabaseAway",
            "InternalError",
        }
    )
