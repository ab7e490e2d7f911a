"""`webhooks list|add|rotate|deliveries|redeliver`."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from .opening import with_database
from .terminal import DONE, AsJson, moment_text, new_app, new_table, note, out, print_json, state_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings
    from runware_jobs.webhook_endpoints import WebhookEndpoints

app = new_app("Where events go, signed; and what became of them.")

Tenant = Annotated[str, typer.Option("--tenant", help="Whose events.")]


@app.command("list")
def list_endpoints(*, as_json: AsJson = False) -> int:
    """List the endpoints; `default` signs for the webhook_url of single jobs.

    Example: runware-jobs webhooks list
    """

    async def work(endpoints: "WebhookEndpoints") -> int:
        views = await endpoints.all_of(tenant=None)
        if as_json:
            print_json(views)
            return DONE
        table = new_table("endpoint", "tenant", "url", "events", "state")
        for view in views:
            state = "enabled" if view["is_enabled"] else f"disabled: {view['disabled_reason']}"
            events = ", ".join(view["events"]) or "default"
            table.add_row(view["id"], view["tenant"], view["url"] or "(default)", events, state)
        out().print(table)
        return DONE

    return _with_endpoints(work)


@app.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="An https address that takes POSTs.")],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="Only this event; may be repeated. None: how jobs end."),
    ] = None,
    tenant: Tenant = "default",
    as_json: AsJson = False,
) -> int:
    """Add an endpoint and show its signing secret, this once.

    Example: runware-jobs webhooks add https://app.example/hooks --event job.succeeded
    """

    async def work(endpoints: "WebhookEndpoints") -> int:
        return _show_secret(await endpoints.add(url, tenant=tenant, events=event or ()), as_json=as_json)

    return _with_endpoints(work)


@app.command("rotate")
def rotate(
    endpoint: Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id, or default.")],
    *,
    tenant: Tenant = "default",
    as_json: AsJson = False,
) -> int:
    """Make a new secret and show it, this once; the one before signs beside it.

    Example: runware-jobs webhooks rotate default
    """
    which = endpoint if endpoint == "default" else _uuid(endpoint)

    async def work(endpoints: "WebhookEndpoints") -> int:
        of_tenant = tenant if endpoint == "default" else None
        return _show_secret(await endpoints.rotate(which, tenant=of_tenant), as_json=as_json)

    return _with_endpoints(work)


@app.command("deliveries")
def deliveries(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List what was sent and what was answered, newest first.

    Example: runware-jobs webhooks deliveries --limit 5
    """

    async def work(endpoints: "WebhookEndpoints") -> int:
        views = await endpoints.deliveries(tenant=None, limit=limit)
        if as_json:
            print_json(views)
            return DONE
        table = new_table("delivery", "event", "try", "state", "answer", "ms", "when", right=("try", "ms"))
        for view in views:
            table.add_row(
                view["id"],
                str(view["type"]),
                str(view["number"]),
                state_text(view["state"]),
                str(view["status_code"] or view["reason"] or "-"),
                str(view["duration_ms"]),
                moment_text(view["created_at"]),
            )
        out().print(table)
        return DONE

    return _with_endpoints(work)


@app.command("redeliver")
def redeliver(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")],
    *,
    as_json: AsJson = False,
) -> int:
    """Send a delivery's event again, with the same webhook-id.

    Example: runware-jobs webhooks redeliver 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    delivery_id = _uuid(delivery)

    async def work(endpoints: "WebhookEndpoints") -> int:
        await endpoints.redeliver(delivery_id, tenant=None)
        if as_json:
            print_json({"id": delivery, "state": "queued"})
        else:
            note("It is sent again as soon as a worker is free.")
        return DONE

    return _with_endpoints(work)


def _with_endpoints(work: "Callable[[WebhookEndpoints], Awaitable[int]]") -> int:
    from runware_jobs.assembly import vault_of  # noqa: PLC0415  loaded by commands that use it
    from runware_jobs.webhook_endpoints import WebhookEndpoints  # noqa: PLC0415  the same

    async def run(engine: "AsyncEngine", settings: "Settings", services: "Services") -> int:
        return await work(
            WebhookEndpoints(engine, vault_of(services), allow_private=settings.allow_private_webhooks)
        )

    return with_database(run)


def _show_secret(view: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        print_json(view)
    else:
        typer.echo(view["secret"])
        note(f"Endpoint {view['id']}. Keep the secret above: it is not shown again.")
    return DONE


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no id: ids are UUIDs") from None
