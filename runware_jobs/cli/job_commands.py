"""`jobs list|show|watch|cancel|retry`."""

from typing import TYPE_CHECKING, Annotated

import typer

from .opening import with_jobs
from .showing import show_details, show_jobs, show_outcome
from .terminal import DONE, FAILED, AsJson, complain, new_app, note, print_json, print_json_line
from .watching import watch_job

if TYPE_CHECKING:
    from runware_jobs.jobs import AsyncJobs

app = new_app("Look at jobs, wait for them, change your mind about them.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of jobs.")]


@app.command("list")
def list_jobs(
    *,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only this state; may be repeated.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="run, upload or training.")] = None,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="ID", help="Only this batch's jobs.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only jobs with this tag.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's jobs.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List jobs, newest first.

    Example: runware-jobs jobs list --state failed --limit 5
    """

    async def work(jobs: "AsyncJobs") -> int:
        found = await jobs.list(state=state, kind=kind, batch=batch, tag=tag, tenant=tenant, limit=limit)
        if as_json:
            print_json([job.to_dict() for job in found])
        elif found:
            show_jobs(found)
        else:
            note("There are no such jobs.")
        return DONE

    return with_jobs(work)


@app.command("show")
def show_job(job_id: JobId, *, as_json: AsJson = False) -> int:
    """Show everything that is known of a job.

    Example: runware-jobs jobs show 01a1fc65-70fb-7616-be66-f276ef104cd2
    """

    async def work(jobs: "AsyncJobs") -> int:
        job = await jobs.get(job_id)
        if as_json:
            print_json(job.to_dict())
        else:
            show_details(job)
        return DONE

    return with_jobs(work)


@app.command("watch")
def watch(job_id: JobId, *, as_json: AsJson = False) -> int:
    """Follow a job to its end; with --json its events, one a line, as they happen.

    Example: runware-jobs jobs watch 01a1fc65-70fb-7616-be66-f276ef104cd2
    """

    async def work(jobs: "AsyncJobs") -> int:
        job = await jobs.get(job_id)
        if as_json:
            async for event in job.events():
                print_json_line(event)
        else:
            await watch_job(job)
            show_outcome(job)
        return DONE if job.state == "succeeded" else FAILED

    return with_jobs(work)


@app.command("cancel")
def cancel(job_ids: JobIds, *, as_json: AsJson = False) -> int:
    """Cancel jobs. Free before they were sent; afterwards the platform goes on and bills.

    Example: runware-jobs jobs cancel 01a1fc65-70fb-7616-be66-f276ef104cd2
    """

    async def work(jobs: "AsyncJobs") -> int:
        canceled = [await (await jobs.get(job_id)).cancel() for job_id in job_ids]
        if as_json:
            print_json([job.to_dict() for job in canceled])
        else:
            show_jobs(canceled)
        return DONE if all(job.state == "canceled" for job in canceled) else FAILED

    return with_jobs(work)


@app.command("retry")
def retry(
    job_ids: JobIds,
    *,
    accept_double_billing: Annotated[
        bool,
        typer.Option(
            "--accept-double-billing", help="Also where nobody knows whether the last run was billed."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run failed or canceled jobs again; a task that still runs is taken up instead of paid for twice.

    Example: runware-jobs jobs retry 01a1fc65-70fb-7616-be66-f276ef104cd2
    """
    from runware_jobs.errors import NotPossible  # noqa: PLC0415  the queue is loaded by commands that use it

    async def work(jobs: "AsyncJobs") -> int:
        retried = []
        for job_id in job_ids:
            job = await jobs.get(job_id)
            try:
                retried.append(await job.retry(accept_double_billing=accept_double_billing))
            except NotPossible as error:
                complain(
                    error.message.replace("pass accept_double_billing=True", "add --accept-double-billing")
                )
        if as_json:
            print_json([job.to_dict() for job in retried])
        elif retried:
            show_jobs(retried)
        return DONE if len(retried) == len(job_ids) else FAILED

    return with_jobs(work)
