"""`unclear list|settle|abandon`: attempts of which nobody knows whether they were taken, or what became of them."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from .asking import with_platform
from .opening import with_database
from .terminal import DONE, FAILED, AsJson, age_text, new_app, new_table, note, out, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings
    from runware_jobs.steps.context import Context
    from runware_jobs.store.recovery import Unclear

app = new_app("Tasks of which nobody knows whether the platform took them, or what they cost.")

_MOST: Final = 10_000
_ID_WIDTH: Final = 36

JobIds = Annotated[list[UUID] | None, typer.Argument(metavar="[JOB]...", help="Of these jobs.")]
All = Annotated[bool, typer.Option("--all", help="Of all jobs.")]


@app.command("list")
def list_unclear(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> int:
    """Show what is unclear, the oldest first: what was asked about it, and what came back.

    Example: runware-jobs unclear list
    """

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        attempts = await _read(engine, (), limit)
        if as_json:
            print_json([_to_json(attempt) for attempt in attempts])
        elif not attempts:
            note("Nothing is unclear.")
        else:
            _show(attempts)
        return DONE

    return with_database(work)


@app.command("settle")
def settle(jobs: JobIds = None, *, every: All = False, as_json: AsJson = False) -> int:
    """Ask the platform and its archive now, and record what they say; nothing is sent.

    What was given up as lost gets its results and its cost; its job stays failed, and `jobs retry` then asks only
    for what is missing. No worker needs to run; what a running worker follows is left to it.

    Example: runware-jobs unclear settle --all
    """
    job_ids = _chosen(jobs, every=every)

    async def work(context: "Context") -> int:
        from runware_jobs.steps.holding import held_lease  # noqa: PLC0415  loads the database
        from runware_jobs.steps.unclear import Found, settle_by_hand  # noqa: PLC0415  the same

        attempts = await _read(context.engine, job_ids, _MOST)
        async with held_lease(context):
            found = await settle_by_hand(context, attempts)
        _tell(attempts, {task: str(what) for task, what in found.items()}, as_json=as_json)
        return FAILED if Found.NO_ANSWER in found.values() else DONE

    return with_platform(work)


@app.command("abandon")
def abandon(jobs: JobIds = None, *, every: All = False, as_json: AsJson = False) -> int:
    """Give up unclear tasks: their jobs fail with `billing: unclear`, and may be retried by hand.

    Should the platform have taken such a task, it works on and bills; `unclear settle` still finds its results.

    Example: runware-jobs unclear abandon 0199f3c2-7d1e-7abc-8def-0123456789ab
    """
    job_ids = _chosen(jobs, every=every)

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        attempts = await _read(engine, job_ids, _MOST)
        done = await _abandon(engine, attempts)
        what = {one.task_uuid: "abandoned" if one.task_uuid in done else "had ended" for one in attempts}
        _tell(attempts, what, as_json=as_json)
        return DONE

    return with_database(work)


async def _abandon(engine: "AsyncEngine", attempts: "Sequence[Unclear]") -> set[UUID]:
    import os  # noqa: PLC0415  only here

    from runware_jobs.steps import unclear  # noqa: PLC0415  loads the database
    from runware_jobs.store import processes  # noqa: PLC0415  the same

    done: set[UUID] = set()
    for account_id in sorted({one.account_id for one in attempts}):
        async with engine.begin() as connection:
            owner = await processes.register(
                connection, account_id=account_id, host=os.uname().nodename, pid=os.getpid(), signals=[]
            )
        done |= await unclear.abandon(
            engine, owner, [one for one in attempts if one.account_id == account_id]
        )
        async with engine.begin() as connection:
            await processes.give_back(connection, owner)
    return done


def _chosen(jobs: "Sequence[UUID] | None", *, every: bool) -> tuple[UUID, ...]:
    if bool(jobs) == every:
        raise typer.BadParameter("Name the jobs, or say --all")
    return tuple(jobs or ())


async def _read(engine: "AsyncEngine", job_ids: "Sequence[UUID]", limit: int) -> "list[Unclear]":
    from runware_jobs.store.recovery import read_unclear  # noqa: PLC0415  loads the database

    async with engine.connect() as connection:
        return await read_unclear(connection, job_ids=job_ids, limit=limit)


def _show(attempts: "Sequence[Unclear]") -> None:
    table = new_table("job", "age", "what", "state", right=("age",))
    table.columns[0].min_width = _ID_WIDTH
    table.columns[2].no_wrap, table.columns[2].overflow = True, "ellipsis"
    for attempt in attempts:
        begun = datetime.now(UTC) - timedelta(seconds=attempt.age_s)
        table.add_row(
            str(attempt.job_id), age_text(begun), attempt.model, "lost" if attempt.is_lost else "unclear"
        )
        table.add_row(f"[dim]{_story(attempt)}[/dim]")
    out().print(table)


def _story(attempt: "Unclear") -> str:
    return (
        ", ".join(f"{step['step']}: {step['answer']}" for step in attempt.steps[-4:]) or "nothing asked yet"
    )


def _tell(attempts: "Sequence[Unclear]", what: dict[UUID, str], *, as_json: bool) -> None:
    if as_json:
        print_json([{**_to_json(one), "found": what[one.task_uuid]} for one in attempts])
        return
    for one in attempts:
        out().print(f"{one.job_id}  {what[one.task_uuid]}")
    if not attempts:
        note("Nothing is unclear.")


def _to_json(attempt: "Unclear") -> dict[str, Any]:
    return {
        "job_id": str(attempt.job_id),
        "task_uuid": str(attempt.task_uuid),
        "tenant": attempt.tenant,
        "model": attempt.model,
        "run": attempt.run,
        "number": attempt.number,
        "age_s": round(attempt.age_s, 1),
        "state": "lost" if attempt.is_lost else "unclear",
        "is_followed": attempt.is_followed,
        "steps": attempt.steps,
    }
