"""`tenants list|budget|pause|resume`: who the jobs belong to, and what each may spend."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batch_files import read_budget
from .opening import with_database
from .terminal import DONE, AsJson, dollars_text, new_app, new_table, note, out, print_json, state_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings

app = new_app("Who the jobs belong to: budgets and pauses of one tenant, nobody else.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name, as its jobs carry it.")]


@app.command("list")
def list_all(*, as_json: AsJson = False) -> int:
    """Show tenants that have work, or that something is set for.

    Example: runware-jobs tenants list
    """

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        tenants = await _read(engine)
        if as_json:
            print_json(tenants)
            return DONE
        numbers = ("spent", "held", "budget", "flying", "queued")
        table = new_table("tenant", "state", *numbers, right=numbers)
        for tenant in tenants:
            reason = f" ({tenant['pause_reason']})" if tenant["pause_reason"] else ""
            table.add_row(
                tenant["name"],
                state_text(tenant["state"]) + reason,
                *(dollars_text(tenant[f"{name}_usd"]) for name in ("spent", "held", "budget")),
                str(tenant["in_flight"]),
                str(tenant["queued"]),
            )
        out().print(table)
        return DONE

    return with_database(work)


@app.command("budget")
def budget(
    name: Name,
    usd: Annotated[str, typer.Argument(metavar="USD", help="All it may spend; none lifts the budget.")],
    *,
    from_zero: Annotated[
        bool, typer.Option("--from-zero", help="Count its spend from now on: a new month begins.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Let a tenant spend so much over all its jobs; when it is used up, that tenant pauses.

    Spend counts from the first time something was set for the tenant. A higher budget
    ends a pause for the lower one.

    Example: runware-jobs tenants budget acme 50
    """
    budget_usd = None if usd == "none" else read_budget(usd)
    from runware_jobs.store.tenants import set_tenant_budget  # noqa: PLC0415  loads the database

    async def change(connection: "AsyncConnection") -> bool:
        await set_tenant_budget(connection, name, budget_usd, from_zero=from_zero)
        return True

    text = "no budget" if budget_usd is None else f"a budget of {dollars_text(budget_usd)}"
    return _change(name, change, done=f"has {text}", as_json=as_json)


@app.command("pause")
def pause(
    name: Name,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks.")] = "by hand",
    as_json: AsJson = False,
) -> int:
    """Send no more jobs of a tenant; what is in flight goes on.

    Example: runware-jobs tenants pause acme
    """
    from runware_jobs.store.tenants import pause_tenant  # noqa: PLC0415  loads the database

    async def change(connection: "AsyncConnection") -> bool:
        return await pause_tenant(connection, name, reason=reason)

    return _change(name, change, done="is paused", as_json=as_json)


@app.command("resume")
def resume(name: Name, *, as_json: AsJson = False) -> int:
    """Send a tenant's jobs again, but for batches that are paused themselves.

    Example: runware-jobs tenants resume acme
    """
    from runware_jobs.store.tenants import resume_tenant  # noqa: PLC0415  loads the database

    async def change(connection: "AsyncConnection") -> bool:
        return await resume_tenant(connection, name)

    return _change(name, change, done="is open", as_json=as_json)


def _change(
    name: str, change: "Callable[[AsyncConnection], Awaitable[bool]]", *, done: str, as_json: bool
) -> int:
    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.begin() as connection:
            changed = await change(connection)
        if as_json:
            print_json(next((one for one in await _read(engine) if one["name"] == name), None))
        else:
            note(f"{name} {done}." if changed else f"Nothing to do: {name} {done} already.")
        return DONE

    return with_database(work)


async def _read(engine: "AsyncEngine") -> list[dict[str, Any]]:
    from runware_jobs.store.tenants import read_tenants  # noqa: PLC0415  loads the database

    async with engine.connect() as connection:
        return await read_tenants(connection)
