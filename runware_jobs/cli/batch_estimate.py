"""`batch estimate`: what a file of jobs would cost and how long it would take; nothing is enqueued."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch_files import checked_chunks, read_budget, read_rows
from .opening import with_database
from .parameters import Model, Params, ParamsFile, Size, collect
from .terminal import DONE, AsJson, dollars_text, new_table, note, out, print_json, seconds_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.core.forecast import Forecast, Room, Sort
    from runware_jobs.settings import Settings
    from runware_jobs.store.forecasts import AccountRoom


def estimate(
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
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="USD", help="Say how many jobs so much would pay for.")
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="run, upload or training.")] = "run",
    as_json: AsJson = False,
) -> int:
    """Say what a file of jobs would cost and how long it would take, from what was learned so far.

    It takes the file and the options of batch submit, and enqueues nothing.

    Example: runware-jobs batch estimate prompts.txt --model runware:400@1 --size 1024x1024 --budget 5
    """
    shared = collect(file=defaults, params=params, model=model, size=size)
    budget_usd = read_budget(budget)

    async def work(engine: "AsyncEngine", settings: "Settings", _services: "Services") -> int:
        from runware_jobs.assembly import account_urls  # noqa: PLC0415  the queue is loaded by commands that use it
        from runware_jobs.core.forecast import forecast  # noqa: PLC0415  the same
        from runware_jobs.store.forecasts import read_learned, read_room  # noqa: PLC0415  the same

        jobs = await _read_jobs(file, shared, kind=kind, settings=settings)
        async with engine.connect() as connection:
            learned = await read_learned(connection, [sort for sort, _ in jobs])
            account = await read_room(connection, base_url=account_urls(settings)[0])
        told = forecast(jobs, learned, _room(account, settings), budget_usd=budget_usd)
        if as_json:
            print_json(_view(told, account, budget_usd))
        else:
            _show(told, account, budget_usd)
        return DONE

    return with_database(work)


async def _read_jobs(
    file: Path, shared: dict[str, Any], *, kind: str, settings: "Settings"
) -> "list[tuple[Sort, int]]":
    """Check every line as `batch submit` does, and keep of each only what a forecast needs."""
    from runware_jobs.core.forecast import Sort  # noqa: PLC0415  see above
    from runware_jobs.jobs import AsyncJobs  # noqa: PLC0415  see above

    found: list[tuple[Sort, int]] = []
    async with AsyncJobs(settings) as jobs:
        async for chunk in checked_chunks(jobs, read_rows(file), defaults=shared, kind=kind, options={}):
            for asked in chunk:
                job = asked.job
                learned_as = job.model or str(job.params["taskType"])
                found.append((Sort(job.lane, learned_as, job.size), job.results_expected))
    return found


def _room(account: "AccountRoom | None", settings: "Settings") -> "Room":
    from runware_jobs.core.forecast import Room  # noqa: PLC0415  see above

    return Room(
        in_flight=settings.in_flight_limit if account is None else account.max_in_flight,
        requests_per_s=settings.requests_per_s_limit if account is None else account.max_requests_per_s,
        group_size=settings.submit_group_size,
        by_lane={} if account is None else account.by_lane,
        by_model={} if account is None else account.by_model,
    )


def _view(told: "Forecast", account: "AccountRoom | None", budget_usd: Decimal | None) -> dict[str, Any]:
    from runware_jobs.core.views import money  # noqa: PLC0415  see above

    return {
        "jobs": told.jobs,
        "results": told.results,
        "cost_usd": money(told.cost_usd),
        "unpriced_jobs": told.unpriced_jobs,
        "duration_s": round(told.duration_s, 1),
        "untimed_jobs": told.untimed_jobs,
        "budget_usd": money(budget_usd),
        "affordable_jobs": told.affordable_jobs,
        "left_today_usd": None if account is None else money(account.left_today_usd),
        "queued_before": 0 if account is None else account.queued,
        "parts": [
            {
                "lane": part.sort.lane,
                "model": part.sort.learned_as,
                "size": part.sort.size,
                "jobs": part.jobs,
                "results": part.results,
                "price_usd": money(part.learned.price_usd),
                "cost_usd": money(part.cost_usd),
                "duration_s": part.learned.duration_s,
            }
            for part in told.parts
        ],
    }


def _show(told: "Forecast", account: "AccountRoom | None", budget_usd: Decimal | None) -> None:
    table = new_table(
        "model",
        "size",
        "jobs",
        "results",
        "each",
        "cost",
        "takes",
        right=("jobs", "results", "each", "cost", "takes"),
    )
    for part in told.parts:
        table.add_row(
            part.sort.learned_as,
            part.sort.size,
            str(part.jobs),
            str(part.results),
            _dollars(part.learned.price_usd),
            _dollars(part.cost_usd),
            "?" if part.learned.duration_s is None else seconds_text(part.learned.duration_s),
        )
    out().print(table)
    for sentence in _sentences(told, account, budget_usd):
        note(sentence)


def _sentences(told: "Forecast", account: "AccountRoom | None", budget_usd: Decimal | None) -> list[str]:
    said = [f"{told.jobs} jobs, {told.results} results. Nothing was enqueued."]
    if told.unpriced_jobs < told.jobs:
        said.append(f"Expected cost: [bold]{dollars_text(told.cost_usd)}[/bold]")
    if told.unpriced_jobs:
        said.append(f"No price is known for {told.unpriced_jobs} of them: one job of each model teaches it.")
    if told.untimed_jobs < told.jobs:
        said.append(f"Expected to take {seconds_text(told.duration_s)}, when nothing else is queued.")
    if told.untimed_jobs:
        said.append(f"How long {told.untimed_jobs} of them take is not known.")
    if account is not None and account.queued:
        said.append(f"{account.queued} jobs are queued before them.")
    if budget_usd is not None:
        if told.affordable_jobs is None:
            said.append(f"What {dollars_text(budget_usd)} would pay for cannot be said without the prices.")
        else:
            said.append(
                f"{dollars_text(budget_usd)} would pay for {told.affordable_jobs} of {told.jobs} jobs."
            )
    if account is not None and account.left_today_usd is not None:
        said.append(
            f"The account's daily limit leaves {dollars_text(max(account.left_today_usd, Decimal(0)))} today."
        )
    return said


def _dollars(amount: Decimal | None) -> str:
    return "?" if amount is None else dollars_text(amount)
