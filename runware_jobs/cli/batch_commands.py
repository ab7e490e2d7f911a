"""`batch submit|watch|status|results|download|pause|resume|cancel|retry-failed|estimate`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch_estimate import estimate
from .batch_files import checked_chunks, read_budget, read_rows
from .opening import account_urls, hint_at_worker, with_jobs
from .parameters import Model, Params, ParamsFile, Size, collect
from .producing import Priority, Tags, Wait, WebhookUrl
from .showing import show_batch
from .terminal import DONE, FAILED, AsJson, new_app, note, print_json, print_json_line
from .watching import watch_batch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runware_jobs.jobs import AsyncBatch, AsyncJobs

app = new_app("Many jobs at once: with a budget, a bar, and files at the end.")
app.command("estimate")(estimate)

BatchId = Annotated[str, typer.Argument(metavar="ID", help="The batch's id.")]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="USD", help="Pause the batch when it has cost so much.")
]


@app.command("submit")
def submit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="FILE.jsonl: a task's parameters per line; anything else: a prompt per line; - reads JSONL.",
            allow_dash=True,
        ),
    ],
    *,
    model: Model = None,
    size: Size = None,
    params: Params = None,
    defaults: ParamsFile = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call it; the file's name otherwise.")
    ] = None,
    budget: Budget = None,
    kind: Annotated[str, typer.Option("--kind", help="run, upload or training.")] = "run",
    tag: Tags = None,
    priority: Priority = 5,
    webhook_url: WebhookUrl = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> int:
    """Enqueue a file of jobs as one batch: all of them, or none when a line is wrong.

    A line may carry a custom_id, which comes back with its results.

    Example: runware-jobs batch submit prompts.txt --model runware:400@1 --size 1024x1024 --budget 5
    """
    shared = collect(file=defaults, params=params, model=model, size=size)
    budget_usd = read_budget(budget)
    options: dict[str, Any] = {"tags": tag or [], "priority": priority, "webhook_url": webhook_url}

    async def work(jobs: "AsyncJobs") -> int:
        chunks = checked_chunks(jobs, read_rows(file), defaults=shared, kind=kind, options=options)
        view = await jobs.producer.add_batch(
            chunks, tenant="default", name=name or file.stem, budget_usd=budget_usd
        )
        batch = await jobs.batch(view["id"])
        await hint_at_worker()
        if wait:
            note(f"Batch {batch.id}")
            return await _watch(batch, as_json=as_json)
        if as_json:
            print_json(batch.to_dict())
        else:
            typer.echo(batch.id)
            note(
                f"{batch.total} jobs enqueued. To follow them: [bold]runware-jobs batch watch {batch.id}[/bold]"
            )
        return DONE

    return with_jobs(work)


@app.command("watch")
def watch(batch_id: BatchId, *, as_json: AsJson = False) -> int:
    """Follow a batch until each of its jobs has ended.

    Example: runware-jobs batch watch 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46
    """

    async def work(jobs: "AsyncJobs") -> int:
        return await _watch(await jobs.batch(batch_id), as_json=as_json)

    return with_jobs(work)


async def _watch(batch: "AsyncBatch", *, as_json: bool) -> int:
    await watch_batch(batch)
    _show(batch, as_json=as_json)
    return DONE if batch.counts.get("succeeded", 0) == batch.total else FAILED


@app.command("status")
def status(batch_id: BatchId, *, as_json: AsJson = False) -> int:
    """Show how a batch stands.

    Example: runware-jobs batch status 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46
    """

    async def look(batch: "AsyncBatch") -> "AsyncBatch":
        return batch

    return _change(batch_id, look, as_json=as_json)


@app.command("results")
def results(
    batch_id: BatchId,
    *,
    errors: Annotated[bool, typer.Option("--errors", help="What failed or was canceled, instead.")] = False,
) -> int:
    """Print the results of what has ended as JSONL, one job a line, with its custom_id.

    Example: runware-jobs batch results 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46 > results.jsonl
    """

    async def work(jobs: "AsyncJobs") -> int:
        batch = await jobs.batch(batch_id)
        async for line in _lines(jobs, batch, errors=errors):
            print_json_line(line)
        return DONE

    return with_jobs(work)


async def _lines(jobs: "AsyncJobs", batch: "AsyncBatch", *, errors: bool) -> AsyncIterator[dict[str, Any]]:
    """Give the lines that `GET /v1/batches/{id}/results` and `/errors` give."""
    from uuid import UUID  # noqa: PLC0415  beside its only use

    ended = ["failed", "canceled"] if errors else ["succeeded", "failed", "canceled"]
    async for job in jobs.producer.ended_jobs_of(UUID(batch.id), states=ended):
        line = {"custom_id": job["custom_id"], "job_id": job["id"], "state": job["state"]}
        if errors:
            aborted = {"code": "aborted", "message": "The job was canceled.", "retryable": False}
            yield line | {"error": job["error"] or aborted, "billing": job["billing"]}
        elif job["results"]:
            yield line | {"results": job["results"], "cost_usd": job["cost_usd"]}


@app.command("download")
def download(
    batch_id: BatchId,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to save files in.")],
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=32, help="How many files at a time.")] = 8,
    as_json: AsJson = False,
) -> int:
    """Save the files of a batch's results; what is there already is not fetched again.

    Example: runware-jobs batch download 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46 --to pictures
    """
    from .download import download_batch  # noqa: PLC0415  loads the guarded HTTP client

    async def work(jobs: "AsyncJobs") -> int:
        batch = await jobs.batch(batch_id)
        outcome = await download_batch(jobs, batch, to, emulators=await account_urls(), at_once=at_once)
        if as_json:
            print_json(outcome.to_dict())
        else:
            note(outcome.in_words(to))
        return FAILED if outcome.failed else DONE

    return with_jobs(work)


@app.command("pause")
def pause(batch_id: BatchId, *, as_json: AsJson = False) -> int:
    """Send no more of its jobs; those in flight go on.

    Example: runware-jobs batch pause 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46
    """
    return _change(batch_id, lambda batch: batch.pause(), as_json=as_json)


@app.command("resume")
def resume(batch_id: BatchId, *, budget: Budget = None, as_json: AsJson = False) -> int:
    """Go on after a pause, under a new budget when one is given.

    Example: runware-jobs batch resume 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46 --budget 10
    """
    budget_usd = read_budget(budget)
    return _change(batch_id, lambda batch: batch.resume(budget_usd=budget_usd), as_json=as_json)


@app.command("cancel")
def cancel(batch_id: BatchId, *, as_json: AsJson = False) -> int:
    """Cancel each of its jobs that has not ended.

    Example: runware-jobs batch cancel 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46
    """
    return _change(batch_id, lambda batch: batch.cancel(), as_json=as_json)


@app.command("retry-failed")
def retry_failed(batch_id: BatchId, *, as_json: AsJson = False) -> int:
    """Run its failed jobs again, except those of which nobody knows whether they were billed.

    Example: runware-jobs batch retry-failed 01a1fc65-86fe-70d9-8bb3-d43e8aa97a46
    """

    async def work(jobs: "AsyncJobs") -> int:
        batch = await jobs.batch(batch_id)
        retried, skipped = await batch.retry_failed()
        if as_json:
            print_json((await batch.refresh()).to_dict() | {"retried": retried, "skipped": skipped})
        else:
            note(f"{retried} jobs run again, {skipped} do not because their billing is unclear.")
        return DONE

    return with_jobs(work)


def _change(batch_id: str, change: "Callable[[AsyncBatch], Awaitable[AsyncBatch]]", *, as_json: bool) -> int:
    async def work(jobs: "AsyncJobs") -> int:
        _show(await change(await jobs.batch(batch_id)), as_json=as_json)
        return DONE

    return with_jobs(work)


def _show(batch: "AsyncBatch", *, as_json: bool) -> None:
    if as_json:
        print_json(batch.to_dict())
    else:
        show_batch(batch)
