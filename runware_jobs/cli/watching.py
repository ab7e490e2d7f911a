"""Follow a job or a batch on stderr until it has ended: a bar for people, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from runware_jobs.errors import JobCanceled, JobFailed, JobTimeout

from .terminal import dollars_text, err

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress, TaskID

    from runware_jobs.handles import AsyncBatch, AsyncJob

_LOOK_EVERY_S: Final = 1.0
_DRAW_EVERY_S: Final = 0.3
_LINE_EVERY_S: Final = 3.0
_EXPECTED_MAX: Final = 95


async def watch_job(job: AsyncJob, *, timeout_s: float | None = None) -> bool:
    """Show a job's progress until it has ended; False when the time was over first."""
    with _bar("[bold]{task.fields[state]:<10}[/bold]", "{task.description}") as bar:
        task = bar.add(job.kind, total=100, state=job.state)
        return await _follow(job, lambda: _show_job(bar, task, job), timeout_s)


async def watch_batch(batch: AsyncBatch, *, timeout_s: float | None = None) -> bool:
    """Show a batch's count, rate and cost until each of its jobs has ended; False when the time was over first."""
    started_at, at_start = time.monotonic(), batch.finished
    with _bar(
        "[bold]{task.description}[/bold]", "{task.completed}/{task.total}", "{task.fields[state]}"
    ) as bar:
        task = bar.add(batch.name or "batch", total=batch.total or None, state="")

        def show() -> None:
            elapsed_s = max(time.monotonic() - started_at, 1e-3)
            rate = (batch.finished - at_start) / elapsed_s
            text = f"{rate:.1f} jobs/s  {dollars_text(batch.cost_usd)}"
            if failed := batch.counts.get("failed", 0):
                text += f"  [red]{failed} failed[/red]"
            if batch.state == "paused":
                text += f"  [yellow]paused: {batch.to_dict()['pause_reason']}[/yellow]"
            bar.update(task, completed=batch.finished, total=batch.total, state=text)

        return await _follow(batch, show, timeout_s)


def _show_job(bar: Bar, task: TaskID, job: AsyncJob) -> None:
    percent = 100 if job.state == "succeeded" else job.progress
    if percent is None:
        percent = expected_percent(job)
    bar.update(
        task,
        # Neither told nor expected: a bar that moves, not one that stands at 0.
        total=100 if percent is not None or job.state != "running" else None,
        completed=percent or 0,
        state=job.state,
    )


def expected_percent(job: AsyncJob) -> int | None:
    """Say how far a running job should be, from what was learned of its model; None when nothing was.

    A task that is expected to take long is asked about late, so that the platform's own
    percent comes late, too.
    """
    if job.state != "running" or job.submitted_at is None or job.eta_at is None:
        return None
    whole_s = (job.eta_at - job.submitted_at).total_seconds()
    gone_s = (datetime.now(UTC) - job.submitted_at).total_seconds()
    return None if whole_s <= 0 else max(0, min(_EXPECTED_MAX, round(100 * gone_s / whole_s)))


async def _follow(watched: AsyncJob | AsyncBatch, show: Callable[[], None], timeout_s: float | None) -> bool:
    """Show it until it has ended, which is told at once; in between it is looked at for the sake of the bar."""
    ending = asyncio.create_task(_end_of(watched, timeout_s))
    looked_at = float("-inf")
    try:
        while not ending.done():
            if time.monotonic() - looked_at >= _LOOK_EVERY_S:
                await watched.refresh()
                looked_at = time.monotonic()
            show()
            await asyncio.wait({ending}, timeout=_DRAW_EVERY_S)
        await ending
        await watched.refresh()
        show()
        return _has_ended(watched)
    finally:
        ending.cancel()


async def _end_of(watched: AsyncJob | AsyncBatch, timeout_s: float | None) -> None:
    with suppress(JobFailed, JobCanceled, JobTimeout):
        await watched.wait(timeout_s)


def _has_ended(watched: Any) -> bool:
    if hasattr(watched, "is_final"):
        return bool(watched.is_final)
    return bool(watched.finished == watched.total)


class Bar:
    """Bars on a terminal, and lines where there is none; the same calls for both."""

    def __init__(self, progress: Progress, *, live: bool) -> None:
        self._progress = progress
        self._live = live
        self._said: dict[int, tuple[str, float]] = {}

    def add(self, description: str, *, total: float | None, **fields: Any) -> TaskID:
        """Start a bar; `total` None: nobody knows how long it is."""
        return self._progress.add_task(description, total=total, **fields)

    def update(self, task: TaskID, **values: Any) -> None:
        """Show how far it is."""
        self._progress.update(task, **values)
        if not self._live:
            self._say(task)

    def _say(self, task: TaskID) -> None:
        from rich.text import Text  # noqa: PLC0415  only where something is shown

        shown = next(one for one in self._progress.tasks if one.id == task)
        share = "" if shown.total is None else f"{shown.completed:g}/{shown.total:g}"
        line = Text.from_markup(f"{shown.description}  {share}  {shown.fields['state']}").plain.strip()
        before, said_at = self._said.get(task, ("", float("-inf")))
        is_over = shown.total is not None and shown.completed >= shown.total
        if line != before and (is_over or time.monotonic() - said_at >= _LINE_EVERY_S):
            self._said[task] = (line, time.monotonic())
            self._progress.console.print(line)


@contextmanager
def _bar(*texts: str) -> Iterator[Bar]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415  see Bar

    console = err()
    before, *after = texts
    progress = Progress(
        TextColumn(before),
        BarColumn(bar_width=32),
        *(TextColumn(text) for text in after),
        TimeElapsedColumn(),
        console=console,
        # The result that follows says it better than a full bar.
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        yield Bar(progress, live=console.is_terminal)
