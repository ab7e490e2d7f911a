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
WHERE job.state = 'succeeded' AND job.batch_id = %s
"""
_COUNT = "SELECT count(*) FROM runware_jobs.job WHERE state = 'succeeded' AND batch_id = %s"
_LOOK_S = 0.25


@dataclass(slots=True)
class Ours:
    """Known is what is committed: the commit of the result's row, by Postgres' own record of it.

    `rehearsed` jobs of the workload are done before it is measured: how long such tasks take
    is learned then.
    """

    engines: Engines
    emulated: Emulated
    workers: int = 1
    transport: str = "rest"
    rehearsed: int = 0
    share: float = 1.0
    # LEASE_S is 60: until then nobody takes over what a killed worker followed.
    patience_s: float = 120.0
    _workload: Workload | None = None
    _batch: str | None = None
    _running: list[Program] = field(default_factory=list)

    @property
    def name(self) -> str:
        name = "ours, 1 worker" if self.workers == 1 else f"ours, {self.workers} workers"
        return f"{name}, learned" if self.rehearsed else name

    def start(self, workload: Workload) -> None:
        self.engines.empty()
        self._workload = workload
        self._running = [self._worker(number) for number in range(self.workers)]
        if self.rehearsed:
            self._hand_over(workload.of(self.rehearsed))
            while self.count() < self.rehearsed:
                time.sleep(_LOOK_S)
            self.emulated.reset(**workload.latencies)

    def begin(self) -> float:
        assert self._workload is not None
        return self._hand_over(self._workload)

    @property
    def processes(self) -> Sequence[psutil.Process]:
        return [worker.tree for worker in self._running]

    def count(self) -> int:
        return int(self.engines.query(_COUNT, self._batch)[0][0])

    def known(self) -> list[Known]:
        rows = self.engines.query(_KNOWN, self._batch)
        return [Known(number_of(prompt), str(task), float(at)) for prompt, task, at in rows]

    def kill_and_restart(self) -> None:
        for worker in self._running:
            worker.kill()
        self._running = [self._worker(number) for number in range(self.workers)]

    def stop(self) -> None:
        for worker in self._running:
            worker.stop()

    def _hand_over(self, workload: Workload) -> float:
        tasks = workload.tasks()
        with Jobs(settings_for(self.engines, self.emulated)) as jobs:
            began_at = time.time()
            self._batch = str(jobs.enqueue_many(tasks).id)
        return began_at

    def _worker(self, number: int) -> Program:
        environment = environment_for(self.engines, self.emulated, RUNWARE_JOBS_TRANSPORT=self.transport)
        return start_worker(environment, log=self.engines.folder / f"worker-{number}.log")
