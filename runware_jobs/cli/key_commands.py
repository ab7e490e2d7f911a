"""`keys create|list|revoke`: who may use our own HTTP API."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from .opening import with_database
from .terminal import DONE, FAILED, AsJson, complain, moment_text, new_app, new_table, note, out, print_json

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings

app = new_app("Keys of our own HTTP API. Without any key it serves this machine only.")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="enqueue, read or admin; may be repeated.")
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose jobs it sees; * for all.")] = "default",
    as_json: AsJson = False,
) -> int:
    """Make a key and show it, this once. Without --scope it may enqueue and read.

    Example: runware-jobs keys create ci --scope enqueue --scope read
    """
    from runware_jobs.store.keys import Scope, create_key  # noqa: PLC0415  loads the database

    asked = scope or ["enqueue", "read"]
    unknown = sorted(set(asked) - set(Scope))
    if unknown:
        raise typer.BadParameter(f"--scope {unknown[0]!r} is none of {', '.join(Scope)}")
    scopes = [Scope(one) for one in asked]

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.begin() as connection:
            key_id, token = await create_key(connection, name=name, tenant=tenant, scopes=scopes)
        if as_json:
            print_json({"id": key_id, "name": name, "tenant": tenant, "scopes": sorted(scopes), "key": token})
        else:
            typer.echo(token)
            note(f"Key {key_id}. Keep it: it is not shown again. From now on the API asks for a key.")
        return DONE

    return with_database(work)


@app.command("list")
def list_all(*, as_json: AsJson = False) -> int:
    """List the keys, without what opens anything.

    Example: runware-jobs keys list
    """
    from runware_jobs.store.keys import list_keys  # noqa: PLC0415  loads the database

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.connect() as connection:
            keys = await list_keys(connection)
        if as_json:
            print_json(keys)
            return DONE
        table = new_table("key", "name", "tenant", "scopes", "created", "revoked")
        for key in keys:
            table.add_row(
                str(key["id"]),
                key["name"],
                key["tenant"],
                ", ".join(key["scopes"]),
                moment_text(key["created_at"]),
                moment_text(key["revoked_at"]),
            )
        out().print(table)
        return DONE

    return with_database(work)


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    *,
    as_json: AsJson = False,
) -> int:
    """End a key at once and for ever.

    Example: runware-jobs keys revoke 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    from runware_jobs.store.keys import revoke_key  # noqa: PLC0415  loads the database

    try:
        key_id = UUID(key)
    except ValueError:
        raise typer.BadParameter(f"{key!r} is no key's id: see runware-jobs keys list") from None

    async def work(engine: "AsyncEngine", _settings: "Settings", _services: "Services") -> int:
        async with engine.begin() as connection:
            revoked = await revoke_key(connection, key_id)
        if as_json:
            print_json({"id": key_id, "revoked": revoked})
        elif revoked:
            note(f"Key {key_id} opens nothing any more.")
        else:
            complain(f"There is no key {key_id} that could be revoked.")
        return DONE if revoked else FAILED

    return with_database(work)
