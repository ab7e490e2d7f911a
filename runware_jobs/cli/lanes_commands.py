"""`lanes list|pause|resume|limit`: what each kind of work, and each model, may have in flight."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .opening import with_database
from .terminal import DONE, FAILED, AsJson, complain, new_app, new_table, note, out, print_json, state_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.core.states import Lane
    from runware_jobs.settings import Settings

app = new_app("What each lane, and each model in it, may have in flight; pauses of one model only.")

LaneName = Annotated[
    str, typer.Argument(metavar="LANE", help="image, video, audio, text, 3d, training or upload.")
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="Only this model of the lane.")
]
AccountId = Annotated[
    int | None,
    typer.Option("--account", metavar="NUMBER", help="Of this account; the current ones otherwise."),
]


@app.command("list")
def list_all(*, account: AccountId = None, as_json: AsJson = False) -> int:
    """Show what is in flight, limited, paused and queued, by lane and by model.

    `allowed` is what the platform's refusals leave of a model at present.

    Example: runware-jobs lanes list
    """

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.connect() as connection:
            rows = await _read(connection, await _accounts(connection, account))
        if as_json:
            print_json(rows)
            return DONE
        numbers = ("flying", "limit", "allowed", "queued")
        table = new_table("lane / model", "state", *numbers, right=numbers)
        for row in rows:
            table.add_row(
                f"[bold]{row['lane']}[/bold]" if row["model"] is None else f"  {row['model'] or 'no model'}",
                state_text(row["state"]) + (f" ({row['pause_reason']})" if row["pause_reason"] else ""),
                str(row["in_flight"]),
                _number(row["max_in_flight"]),
                _number(row["allowed"]),
                str(row["queued"]),
            )
        out().print(table)
        return DONE

    return with_database(work)


@app.command("pause")
def pause(
    lane: LaneName,
    *,
    model: Model = None,
    account: AccountId = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks.")] = "by hand",
    as_json: AsJson = False,
) -> int:
    """Send no more jobs of a lane or of one model, until `lanes resume`; what is in flight goes on.

    Example: runware-jobs lanes pause video --model klingai:5@3
    """
    from runware_jobs.store.flows import pause_flow  # noqa: PLC0415  loads the database

    async def change(connection: "AsyncConnection", account_id: int, lane: "Lane") -> bool:
        return await pause_flow(connection, account_id, lane, model, reason=reason)

    return _change(lane, model, account, change, done="paused", as_json=as_json)


@app.command("resume")
def resume(lane: LaneName, *, model: Model = None, account: AccountId = None, as_json: AsJson = False) -> int:
    """Send again, whoever paused it; a model also forgets what refusals have cut.

    Example: runware-jobs lanes resume video --model klingai:5@3
    """
    from runware_jobs.store.flows import resume_flow  # noqa: PLC0415  loads the database

    async def change(connection: "AsyncConnection", account_id: int, lane: "Lane") -> bool:
        return await resume_flow(connection, account_id, lane, model)

    return _change(lane, model, account, change, done="resumed", as_json=as_json)


@app.command("limit")
def limit(
    lane: LaneName,
    tasks: Annotated[str, typer.Argument(metavar="TASKS", help="At most so many in flight; none lifts it.")],
    *,
    model: Model = None,
    account: AccountId = None,
    as_json: AsJson = False,
) -> int:
    """Let a lane or one model have so many tasks in flight at most, over all workers.

    Example: runware-jobs lanes limit video 4
    """
    from runware_jobs.store.flows import limit_flow  # noqa: PLC0415  loads the database

    is_number = tasks.isascii() and tasks.isdigit() and 0 < int(tasks) <= 1_000_000  # noqa: PLR2004  fits the column
    if tasks != "none" and not is_number:
        raise typer.BadParameter(
            f"{tasks!r} is no limit: a number from 1 on, or none (lanes pause stops all)"
        )
    most = None if tasks == "none" else int(tasks)

    async def change(connection: "AsyncConnection", account_id: int, lane: "Lane") -> bool:
        await limit_flow(connection, account_id, lane, model, max_in_flight=most)
        return True

    return _change(
        lane, model, account, change, done="limited" if most else "without a limit", as_json=as_json
    )


def _change(
    lane_name: str,
    model: str | None,
    account_id: int | None,
    change: "Callable[[AsyncConnection, int, Lane], Awaitable[bool]]",
    *,
    done: str,
    as_json: bool,
) -> int:
    from runware_jobs.core.states import Lane  # noqa: PLC0415  keeps --help light

    if lane_name not in set(Lane):
        raise typer.BadParameter(f"{lane_name!r} is none of {', '.join(Lane)}")
    lane = Lane(lane_name)

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.begin() as connection:
            accounts = await _accounts(connection, account_id)
            changed = [await change(connection, one, lane) for one in accounts]
        if as_json:
            async with engine.connect() as connection:
                rows = await _read(connection, accounts)
            print_json([row for row in rows if row["lane"] == lane and row["model"] == model])
        elif not accounts:
            complain("There is no account yet: the first job or worker makes it.")
        else:
            name = lane_name if model is None else f"{lane_name} {model}"
            note(f"{name}: {done}." if any(changed) else f"Nothing to do: {name} was {done} already.")
        return DONE if accounts else FAILED

    return with_database(work)


async def _accounts(connection: "AsyncConnection", asked: int | None) -> list[int]:
    """Name the accounts that are meant: the one asked for, or those that new jobs go to."""
    from runware_jobs.store.accounts import read_accounts  # noqa: PLC0415  loads the database

    known = await read_accounts(connection)
    if asked is None:
        return [one["id"] for one in known if one["is_current"]]
    if asked not in {one["id"] for one in known}:
        raise typer.BadParameter(f"--account {asked} is not there: see runware-jobs account status")
    return [asked]


async def _read(connection: "AsyncConnection", accounts: list[int]) -> list[dict[str, Any]]:
    from runware_jobs.store.flows import read_flows  # noqa: PLC0415  loads the database

    return [{"account": one, **row} for one in accounts for row in await read_flows(connection, one)]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
