"""`account status|pause|resume`: whom we work for, and the switch that stops all sending."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .opening import with_database
from .terminal import (
    DONE,
    FAILED,
    AsJson,
    complain,
    dollars_text,
    new_app,
    new_table,
    note,
    out,
    print_json,
    state_text,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings

app = new_app("Whom we work for, what it may use, and the switch that stops all sending.")

AccountId = Annotated[
    int | None,
    typer.Option("--account", metavar="NUMBER", help="Only this one, as `account status` shows it."),
]


@app.command("status")
def status(*, as_json: AsJson = False) -> int:
    """Show the accounts with what is queued, in flight, unclear and spent today.

    Example: runware-jobs account status
    """

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        accounts = await _read(engine)
        if as_json:
            print_json(accounts)
            return DONE
        numbers = ("account", "queued", "in flight", "unclear", "spent today")
        table = new_table("account", "platform", "state", *numbers[1:], right=numbers)
        for account in accounts:
            reason = f" ({_why(account)})" if account["pause_reason"] else ""
            table.add_row(
                str(account["id"]),
                account["base_url"] + ("" if account["is_current"] else " (an old one)"),
                state_text(account["state"]) + reason,
                str(account["queued"]),
                f"{account['in_flight']}/{account['max_in_flight']}",
                str(account["unclear"]),
                dollars_text(account["spent_today_usd"]),
            )
        out().print(table)
        return DONE

    return with_database(work)


@app.command("pause")
def pause(
    *,
    account: AccountId = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks.")] = "user",
    as_json: AsJson = False,
) -> int:
    """Stop all sending, of one account or of all; what is in flight is followed to its end.

    When this returns, no submit leaves later than RUNWARE_JOBS_SEND_WINDOW_S from then.

    Example: runware-jobs account pause --reason 'prices are being checked'
    """
    return _switch(account, reason=reason, as_json=as_json)


@app.command("resume")
def resume(*, account: AccountId = None, as_json: AsJson = False) -> int:
    """Send again, whoever has paused; what the platform still refuses pauses again.

    Example: runware-jobs account resume
    """
    return _switch(account, reason=None, as_json=as_json)


def _switch(account_id: int | None, *, reason: str | None, as_json: bool) -> int:
    from runware_jobs.store.pauses import pause_by_hand, resume_by_hand  # noqa: PLC0415  loads the database

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        known = [one["id"] for one in await _read(engine)]
        if account_id is not None and account_id not in known:
            raise typer.BadParameter(f"--account {account_id} is not there: see runware-jobs account status")
        changed = []
        async with engine.begin() as connection:
            for one in known if account_id is None else [account_id]:
                if reason is None:
                    done = await resume_by_hand(connection, one)
                else:
                    done = await pause_by_hand(connection, one, reason=reason)
                changed += [one] if done else []
        if as_json:
            print_json([one for one in await _read(engine) if account_id in {None, one["id"]}])
        elif not known:
            complain("There is no account yet: the first job or worker makes it.")
        else:
            word = "paused" if reason is not None else "resumed"
            note(f"{len(changed)} {word}." if changed else f"Nothing to do: already {word}.")
        return DONE if known else FAILED

    return with_database(work)


def _why(account: dict[str, Any]) -> str:
    words = {"hand": "by hand", "auth": "key refused", "credits": "no credits"}
    return f"{words.get(account['pause_kind'], 'by hand')}: {account['pause_reason']}"


async def _read(engine: "AsyncEngine") -> list[dict[str, Any]]:
    from runware_jobs.store.accounts import read_accounts  # noqa: PLC0415  loads the database

    async with engine.connect() as connection:
        return await read_accounts(connection)
