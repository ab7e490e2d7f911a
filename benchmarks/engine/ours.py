"""This project's queue: enqueue_many, and one worker process or several as users start them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.stage import environment_for, settings_for, start_worker
from runware_jobs import Jobs

from .contenders import Known
from .workloads import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from benchmarks.emulated import Emulated
    from benchmarks.stage import Engines, Program

    from .workloads import Workload

_KNOWN = """
SELECT job.params ->> 'positivePrompt', result.task_uuid,
    EXTRACT(EPOCH FROM pg_xact_commit_timestamp(result.xmin))
FROM runware_jobs.job JOIN runware_jobs.result ON result.job_id = job.id
WHERE job.state = 'succeeded'
"""


@dataclass(slots=True)
class Ours:
    """Known is what is committed: the commit of the result's row, by Postgres' own record of it."""

    engines: Engines
    emulated: Emulated
    workers: int = 1
    transport: str = "rest"
    share: float = 1.0
    # LEASE_S is 60: until then nobody takes over what a killed worker followed.
    patience_s: float = 120.0
    _workload: Workload | None = None
    _running: list[Program] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "ours, 1 worker" if self.workers == 1 else f"ours, {self.workers} workers"

    def start(self, workload: Workload) -> None:
        self.engines.empty()
        self._workload = workload
        self._running = [self._worker(number) for number in range(self.workers)]

    def begin(self) -> float:
        assert self._workload is not None
        tasks = self._workload.tasks()
        with Jobs(settings_for(self.engines, self.emulated)) as jobs:
            began_at = time.time()
            jobs.enqueue_many(tasks)
        return began_at

    @property
    def processes(self) -> Sequence[psutil.Process]:
        return [worker.tree for worker in self._running]

    def count(self) -> int:
        return int(
            self.engines.query("SELECT count(*) FROM runware_jobs.job WHERE state = 'succeeded'")[0][0]
        )

    def known(self) -> list[Known]:
        rows = self.engines.query(_KNOWN)
        return [Known(number_of(prompt), str(task), float(at)) for prompt, task, at in rows]

    def kill_and_restart(self) -> None:
        for worker in self._running:
            worker.kill()
        self._running = [self._worker(number) for number in range(self.workers)]

    def stop(self) -> None:
        for worker in self._running:
            worker.stop()

    def _worker(self, number: int) -> Program:
        environment = environment_for(self.engines, self.emulated, RUNWARE_JOBS_TRANSPORT=self.transport)
        return start_worker(environment, log=self.engines.folder / f"worker-{number}.log")
