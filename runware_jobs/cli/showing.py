"""Jobs and batches as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .terminal import (
    age_text,
    dollars_text,
    moment_text,
    new_table,
    out,
    seconds_between,
    seconds_text,
    state_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runware_jobs.handles import BatchView, JobView

_DETAILS: Final = (
    *("kind", "model", "lane", "tenant", "priority", "progress", "run", "billing", "task_uuid", "batch_id"),
    *("custom_id", "external_id", "tags", "created_at", "submitted_at", "eta_at", "finished_at"),
)


def show_outcome(job: JobView) -> None:
    """Print how a job ended: one line, then where its results are, or why there are none."""
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    console, view = out(), job.to_dict()
    seconds = seconds_between(view["submitted_at"], view["finished_at"])
    console.print(
        f"{state_text(job.state)}  {seconds_text(seconds)}  {dollars_text(job.cost_usd)}  [dim]{job.id}[/dim]"
    )
    for item in job.results:
        for text in readable(item):
            console.print(f"  {escape(text)}", soft_wrap=True)
    for error in [*job.failures, *([job.error] if job.error else [])]:
        console.print(f"  [red]{error['code']}[/red]: {escape(str(error['message']))}", soft_wrap=True)
    if job.billing in {"unclear", "detached"}:
        console.print(f"  [yellow]billing: {job.billing}[/yellow]")


def show_details(job: JobView) -> None:
    """Print everything that is known of a job."""
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    show_outcome(job)
    console, view = out(), job.to_dict()
    for name in _DETAILS:
        if view[name] or view[name] == 0:
            shown = moment_text(view[name]) if name.endswith("_at") else str(view[name])
            console.print(f"  [dim]{name:<13}[/dim] {escape(shown)}", soft_wrap=True)
    if job.attempts:
        table = new_table("attempt", "state", "task", "cost", "submitted", right=("cost",))
        for attempt in job.attempts:
            table.add_row(
                f"{attempt['run']}.{attempt['number']}",
                state_text(attempt["state"]),
                str(attempt["task_uuid"]),
                dollars_text(attempt["cost_usd"]),
                moment_text(attempt["submitted_at"]),
            )
        console.print(table)


def show_jobs(jobs: Sequence[JobView]) -> None:
    """Print a table of jobs; ids are never cut, since they are there to be copied."""
    table = new_table("job", "state", "what", "cost", "age", right=("cost", "age"))
    table.columns[0].no_wrap = True
    table.columns[2].no_wrap, table.columns[2].overflow = True, "ellipsis"
    for job in jobs:
        percent = f" {job.progress} %" if job.state == "running" and job.progress is not None else ""
        table.add_row(
            job.id,
            state_text(job.state) + percent,
            job.to_dict()["model"] or job.kind,
            dollars_text(job.cost_usd),
            age_text(job.created_at),
        )
    out().print(table)


def show_batch(batch: BatchView) -> None:
    """Print how a batch stands."""
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    console, view = out(), batch.to_dict()
    budget = "" if view["budget_usd"] is None else f" of {dollars_text(view['budget_usd'])}"
    reason = f" ({view['pause_reason']})" if view["pause_reason"] else ""
    console.print(
        f"{state_text(batch.state)}{reason}  {batch.finished}/{batch.total}"
        f"  {dollars_text(batch.cost_usd)}{budget}  {escape(batch.name)}  [dim]{batch.id}[/dim]"
    )
    for state, count in sorted(batch.counts.items()):
        console.print(f"  {count:>6} {state_text(state)}")


def readable(item: Mapping[str, Any]) -> Iterator[str]:
    """Give what a person wants of a result: its addresses, its text, what it may be referred to by."""
    if "archived_url" in item:
        yield str(item["archived_url"])
    for name, value in item.items():
        if name.endswith("URL") and isinstance(value, str):
            yield value
        elif name in {"text", "mediaUUID", "air"}:
            yield f"{name}: {value}"
    for file in (item.get("outputs") or {}).get("files", ()):
        yield str(file.get("url"))
