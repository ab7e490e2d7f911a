"""`prune`: forget jobs that ended long ago."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from .opening import with_database
from .terminal import DONE, AsJson, err, note, print_json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings

_DAY_S: Final = 86_400.0
# Each is a transaction of its own: small enough to be over before anybody notices its locks.
_BATCH: Final = 1_000


def prune(
    *,
    older_than_days: Annotated[
        float,
        typer.Option("--older-than-days", metavar="DAYS", min=0, help="Forget what ended longer ago."),
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many jobs would go.")] = False,
    as_json: AsJson = False,
) -> int:
    """Forget jobs that ended long ago, with their attempts, results, events and inputs; keys stay taken.

    A job stays while the platform may still work for it, while a webhook about it has still to leave, and while its
    batch goes on. An idempotency key whose job was pruned is refused for good (410), never run again. Results of
    other Celery tasks go as well.

    Example: runware-jobs prune --older-than-days 90
    """
    older_than_s = older_than_days * _DAY_S

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        from runware_jobs.store import pruning  # noqa: PLC0415  loads the database

        async with engine.connect() as connection:
            jobs = await pruning.count_prunable_jobs(connection, older_than_s=older_than_s)
        if dry_run:
            _say({"jobs": jobs}, f"{jobs} jobs would be forgotten.", as_json=as_json)
            return DONE
        removed = await _prune(engine, jobs, older_than_s=older_than_s)
        told = ", ".join(f"{count} {what}" for what, count in removed.items())
        _say(removed, f"Forgotten: {told}.", as_json=as_json)
        return DONE

    return with_database(work)


async def _prune(engine: "AsyncEngine", expected: int, *, older_than_s: float) -> dict[str, int]:
    from rich.progress import Progress  # noqa: PLC0415  only where something is shown

    from runware_jobs.store import celery_results, inputs, plans, pruning  # noqa: PLC0415  loads the database

    removed = {"jobs": 0, "tombstones": 0, "inputs": 0, "deliveries": 0, "batches": 0, "celery_results": 0}
    with Progress(console=err(), transient=True, disable=not err().is_terminal) as progress:
        bar = progress.add_task("Forgetting", total=expected)
        is_more = True
        while is_more:
            async with engine.begin() as connection:
                done = await pruning.prune_jobs(connection, older_than_s=older_than_s, limit=_BATCH)
            removed["jobs"] += done.jobs
            removed["tombstones"] += done.tombstones
            progress.update(bar, advance=done.jobs)
            is_more = done.jobs > 0
        is_more = True
        while is_more:
            async with engine.begin() as connection:
                unused = await inputs.prune_inputs(connection, older_than_s=older_than_s, limit=_BATCH)
            removed["inputs"] += unused
            is_more = unused > 0
        is_more = True
        while is_more:
            async with engine.begin() as connection:
                lines = await pruning.prune_deliveries(connection, older_than_s=older_than_s, limit=_BATCH)
            removed["deliveries"] += lines
            is_more = lines > 0
        is_more = True
        while is_more:
            async with engine.begin() as connection:
                batches = await pruning.prune_batches(connection, older_than_s=older_than_s, limit=_BATCH)
            removed["batches"] += batches
            is_more = batches > 0
        is_more = True
        while is_more:
            plan = celery_results.prune_celery(older_than_s=older_than_s, limit=_BATCH)
            async with engine.begin() as connection:
                results = await plans.run_async(connection, plan)
            removed["celery_results"] += results
            is_more = results > 0
    return removed


def _say(content: dict[str, int], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(content)
    else:
        note(sentence)
