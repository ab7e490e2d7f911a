"""`webhooks list|add|rotate|enable|disable|remove|test|deliveries|redeliver`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from .opening import with_database
from .terminal import (
    DONE,
    AsJson,
    age_text,
    moment_text,
    new_app,
    new_table,
    note,
    out,
    print_json,
    state_text,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rich.table import Table
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings
    from runware_jobs.webhook_endpoints import WebhookEndpoints

app = new_app("Where events go, signed; and what became of them.")

# An id of 36 characters and what happened fit into an ordinary window; the rest needs this.
_WIDE: Final = 120

Tenant = Annotated[str, typer.Option("--tenant", help="Whose events.")]
EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]


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
        from rich.markup import escape  # noqa: PLC0415  only where something is shown

        table = new_table("endpoint", "tenant", "url", "events", "state")
        for view in views:
            events = ", ".join(view["events"]) or "default"
            table.add_row(
                view["id"], view["tenant"], escape(view["url"] or "(default)"), events, _standing_text(view)
            )
        out().print(table)
        return DONE

    return _with_endpoints(work)


@app.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="An https address that takes POSTs.")],
    *,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event", help="Only this event, or job.* and the like; may be repeated. None: how jobs end."
        ),
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
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="The secret before it signs no more, at once: it has leaked.")
    ] = False,
    tenant: Tenant = "default",
    as_json: AsJson = False,
) -> int:
    """Make a new secret and show it, this once; the one before signs beside it for a day.

    Example: runware-jobs webhooks rotate default
    """
    which = endpoint if endpoint == "default" else _uuid(endpoint)

    async def work(endpoints: "WebhookEndpoints") -> int:
        of_tenant = tenant if endpoint == "default" else None
        view = await endpoints.rotate(which, tenant=of_tenant, keeps_old_secret=not drop_old)
        return _show_secret(view, as_json=as_json)

    return _with_endpoints(work)


@app.command("enable")
def enable(endpoint: EndpointId, *, as_json: AsJson = False) -> int:
    """Send to an endpoint again: first what stayed for it, in order.

    What happened while it was disabled is sent by `webhooks redeliver --endpoint`.

    Example: runware-jobs webhooks enable 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    return _switch(endpoint, is_enabled=True, as_json=as_json)


@app.command("disable")
def disable(endpoint: EndpointId, *, as_json: AsJson = False) -> int:
    """Send nothing more to an endpoint; what was to leave stays until it is enabled.

    Example: runware-jobs webhooks disable 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    return _switch(endpoint, is_enabled=False, as_json=as_json)


@app.command("remove")
def remove(endpoint: EndpointId, *, as_json: AsJson = False) -> int:
    """Remove an endpoint with its log and what was still to leave for it.

    Example: runware-jobs webhooks remove 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    endpoint_id = _uuid(endpoint)

    async def work(endpoints: "WebhookEndpoints") -> int:
        await endpoints.remove(endpoint_id, tenant=None)
        if as_json:
            print_json({"id": endpoint, "state": "removed"})
        else:
            note("Removed.")
        return DONE

    return _with_endpoints(work)


@app.command("test")
def send_test(endpoint: EndpointId, *, as_json: AsJson = False) -> int:
    """Send a signed endpoint.test event, the way events are sent; `webhooks deliveries` shows the answer.

    Example: runware-jobs webhooks test 2f1c6a0e-63a4-4d1b-9f57-0c1d1f0a9e55
    """
    endpoint_id = _uuid(endpoint)

    async def work(endpoints: "WebhookEndpoints") -> int:
        event_id = await endpoints.test(endpoint_id, tenant=None)
        if as_json:
            print_json({"id": event_id, "state": "queued"})
        else:
            note(
                f"Event {event_id} is sent as soon as a worker is free."
                f" Its answer: [bold]runware-jobs webhooks deliveries --endpoint {endpoint}[/bold]"
            )
        return DONE

    return _with_endpoints(work)


@app.command("deliveries")
def deliveries(
    *,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="ID", help="Only of this endpoint.")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only delivered, failed (tried again) or dead ones.")
    ] = None,
    event: Annotated[str | None, typer.Option("--event", help="Only of this event, job.failed say.")] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Only of this job.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List what was sent and what was answered, newest first. With --json also the answer's first bytes.

    Example: runware-jobs webhooks deliveries --state dead --limit 5
    """
    if state not in {None, "delivered", "failed", "dead"}:
        raise typer.BadParameter(f"--state {state} is none of delivered, failed, dead")
    endpoint_id = None if endpoint is None else _uuid(endpoint)
    job_id = None if job is None else _uuid(job)

    async def work(endpoints: "WebhookEndpoints") -> int:
        from runware_jobs.webhook_endpoints import DeliveryFilter  # noqa: PLC0415  loads the database

        wanted = DeliveryFilter(endpoint_id=endpoint_id, state=state, type=event, job_id=job_id)
        views = await endpoints.deliveries(tenant=None, wanted=wanted, limit=limit)
        if as_json:
            print_json(views)
        else:
            console = out()
            console.print(_deliveries_table(views, is_wide=console.width >= _WIDE))
        return DONE

    return _with_endpoints(work)


@app.command("redeliver")
def redeliver(
    delivery: Annotated[str | None, typer.Argument(metavar="[ID]", help="One delivery's id.")] = None,
    *,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="ID", help="All of a time for this endpoint; or default."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From then on: 2026-11-21T09:30, in UTC.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Up to then; now when left out.")
    ] = None,
    only_failed: Annotated[
        bool, typer.Option("--failed", help="Only what the endpoint never answered with 2xx.")
    ] = False,
    tenant: Tenant = "default",
    as_json: AsJson = False,
) -> int:
    """Send one delivery's event again, or all events of a time to one endpoint, under the same webhook-ids.

    Of a time also those go that the endpoint was never told, because it was disabled or not there yet. What is
    still to leave leaves once: interrupted, run it again.

    Example: runware-jobs webhooks redeliver --endpoint default --since 2026-11-21T09:30 --failed
    """
    if (delivery is None) == (endpoint is None):
        raise typer.BadParameter("Name one delivery, or an --endpoint with --since")
    if endpoint is None:
        if since or until or only_failed:
            raise typer.BadParameter("--since, --until and --failed go with --endpoint")
        return _redeliver_one(str(delivery), as_json=as_json)
    if since is None:
        raise typer.BadParameter("Say with --since from when on")
    which = endpoint if endpoint == "default" else _uuid(endpoint)
    begins_at, ends_at = _read_time("--since", since), _read_time("--until", until or _now())

    async def work(endpoints: "WebhookEndpoints") -> int:
        queued, after, is_first = 0, None, True
        while is_first or after is not None:
            done = await endpoints.redeliver_span(
                which,
                tenant=tenant if endpoint == "default" else None,
                since=begins_at,
                until=ends_at,
                only_failed=only_failed,
                after=after,
            )
            queued, after, is_first = queued + done.queued, done.after, False
        if as_json:
            print_json({"queued": queued})
        else:
            note(f"{queued} events are sent again as soon as a worker is free.")
        return DONE

    return _with_endpoints(work)


def _redeliver_one(delivery: str, *, as_json: bool) -> int:
    delivery_id = _uuid(delivery)

    async def work(endpoints: "WebhookEndpoints") -> int:
        await endpoints.redeliver(delivery_id, tenant=None)
        if as_json:
            print_json({"id": delivery, "state": "queued"})
        else:
            note("It is sent again as soon as a worker is free.")
        return DONE

    return _with_endpoints(work)


def _switch(endpoint: str, *, is_enabled: bool, as_json: bool) -> int:
    endpoint_id = _uuid(endpoint)

    async def work(endpoints: "WebhookEndpoints") -> int:
        view = await endpoints.change(endpoint_id, tenant=None, is_enabled=is_enabled)
        if as_json:
            print_json(view)
        else:
            note(f"Endpoint {view['id']} is {_standing_text(view)}.")
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


def _standing_text(view: dict[str, Any]) -> str:
    if not view["is_enabled"]:
        return f"disabled: {view['disabled_reason']}"
    if view["failing_since"] is not None:
        return f"failing since {moment_text(view['failing_since'])}"
    return "enabled"


def _deliveries_table(views: "Sequence[dict[str, Any]]", *, is_wide: bool) -> "Table":
    """Show ids whole, since they are there to be copied; what a narrow window lacks room for, --json has."""
    if is_wide:
        table = new_table("delivery", "event", "try", "state", "answer", "ms", "when", right=("try", "ms"))
    else:
        table = new_table("delivery", "event", "answer", "ago")
    table.columns[0].no_wrap = True
    for view in views:
        answer = str(view["status_code"] or (view["reason"] or "-").partition(":")[0])
        event = str(view["type"] or "(pruned)")
        if is_wide:
            more = (str(view["number"]), state_text(view["state"]), answer, str(view["duration_ms"]))
            table.add_row(view["id"], event, *more, moment_text(view["created_at"]))
        else:
            # A status tells by itself whether it was taken; what it cannot tell is that nothing more is tried.
            outcome = f"{answer} dead" if view["state"] == "dead" else answer
            table.add_row(view["id"], event, outcome, age_text(datetime.fromisoformat(view["created_at"])))
    return table


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


def _read_time(option: str, given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise typer.BadParameter(f"{option} {given} is no time such as 2026-11-21T09:30") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _now() -> str:
    return datetime.now(UTC).isoformat()
