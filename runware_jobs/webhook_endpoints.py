"""Webhook endpoints and the log of their deliveries: for the HTTP API and the command line.

A secret is given once, where it is made or rotated; after that only the vault's
token of it is kept. `tenant` None means any tenant: for trusted callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .core.addresses import AddressRefused, check_url
from .core.events import EventType
from .core.signing import new_secret
from .core.views import moment
from .errors import InvalidJob, JobNotFound, NotPossible
from .store import outbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .core.signing import Vault

    View = dict[str, Any]

DEFAULT_ENDPOINT: Final = "default"
"""Names a tenant's default endpoint, whose secret signs for the `webhook_url` of single jobs."""


class WebhookEndpoints:
    """Where a tenant's webhooks go, and what became of them."""

    def __init__(self, engine: AsyncEngine, vault: Vault | None, *, allow_private: bool) -> None:
        self._engine = engine
        self._vault = vault
        self._allow_private = allow_private

    async def all_of(self, *, tenant: str | None) -> list[View]:
        """List endpoints, oldest first, the default one among them once it is in use."""
        async with self._engine.connect() as connection:
            return [endpoint_view(row) for row in await outbox.read_endpoints(connection, tenant=tenant)]

    async def get(self, endpoint: UUID | str, *, tenant: str | None) -> View:
        """Read one endpoint, by its id or `default`.

        Raises:
            JobNotFound: there is none for this tenant.
        """
        async with self._engine.connect() as connection:
            return endpoint_view(await _find(connection, endpoint, tenant))

    async def add(self, url: str, *, tenant: str, events: Sequence[str] = ()) -> View:
        """Add an endpoint; `events` empty means the final and money events. The view holds its `secret`.

        Raises:
            InvalidJob: the URL is not one that we call, an event is unknown, or there
                is no key to keep secrets with.
        """
        vault = self._require_vault()
        try:
            check_url(url, allow_private=self._allow_private)
        except AddressRefused as error:
            raise InvalidJob(f"url: {error.message}", parameter="url") from error
        wanted = _known_events(events)
        secret = new_secret()
        async with self._engine.begin() as connection:
            endpoint_id = await outbox.add_endpoint(
                connection, tenant=tenant, url=url, events=wanted, secret=vault.encrypt(secret)
            )
            row = await _find(connection, endpoint_id, tenant)
        return endpoint_view(row) | {"secret": secret}

    async def change(
        self,
        endpoint: UUID | str,
        *,
        tenant: str | None,
        events: Sequence[str] | None = None,
        is_enabled: bool | None = None,
        keeps_old_secret: bool = True,
    ) -> View:
        """Change what is given and leave the rest.

        Raises:
            InvalidJob: an event is unknown.
            JobNotFound: there is no such endpoint for this tenant.
            NotPossible: the default endpoint signs whenever a job asks; it has no events and no switch.
        """
        async with self._engine.begin() as connection:
            row = await _find(connection, endpoint, tenant)
            if row["url"] is None and (events is not None or is_enabled is not None):
                raise NotPossible("The default endpoint only signs: it has neither events nor a switch.")
            await outbox.change_endpoint(
                connection,
                row["id"],
                events=None if events is None else _known_events(events),
                is_enabled=is_enabled,
                keeps_old_secret=keeps_old_secret,
            )
            return endpoint_view(await _find(connection, row["id"], tenant))

    async def rotate(self, endpoint: UUID | str, *, tenant: str | None) -> View:
        """Make a new secret; the one before signs beside it until it is dropped. The view holds `secret`.

        Raises:
            JobNotFound: there is no such endpoint for this tenant.
            InvalidJob: there is no key to keep secrets with.
        """
        vault = self._require_vault()
        secret = new_secret()
        async with self._engine.begin() as connection:
            if endpoint == DEFAULT_ENDPOINT:
                await outbox.ensure_default_endpoint(
                    connection, tenant or DEFAULT_ENDPOINT, vault.encrypt(new_secret())
                )
            row = await _find(connection, endpoint, tenant)
            await outbox.rotate_secret(connection, row["id"], vault.encrypt(secret))
            row = await _find(connection, row["id"], tenant)
        return endpoint_view(row) | {"secret": secret}

    async def remove(self, endpoint_id: UUID, *, tenant: str | None) -> None:
        """Remove an endpoint with its log and what was still to leave for it.

        Raises:
            JobNotFound: there is no such endpoint for this tenant, or it is the default.
        """
        async with self._engine.begin() as connection:
            removed = await outbox.remove_endpoint(connection, endpoint_id, tenant=tenant)
        if not removed:
            raise JobNotFound(f"There is no webhook endpoint {endpoint_id} to remove.")

    async def deliveries(
        self, *, tenant: str | None, limit: int = 50, before: tuple[datetime, UUID] | None = None
    ) -> list[View]:
        """List tries to deliver, newest first."""
        async with self._engine.connect() as connection:
            rows = await outbox.list_deliveries(connection, tenant=tenant, limit=limit, before=before)
        return [delivery_view(row) for row in rows]

    async def redeliver(self, delivery_id: UUID, *, tenant: str | None) -> None:
        """Send a delivery's event again, with the same webhook-id, as soon as a worker is free.

        Raises:
            JobNotFound: there is no such delivery for this tenant.
        """
        async with self._engine.begin() as connection:
            found = await outbox.redeliver(connection, delivery_id, tenant=tenant)
        if not found:
            raise JobNotFound(f"There is no delivery {delivery_id}.")

    def _require_vault(self) -> Vault:
        if self._vault is None:
            raise InvalidJob(
                "Webhooks cannot be signed: set RUNWARE_JOBS_SECRET_KEY to a long random string.",
                parameter="url",
            )
        return self._vault


async def _find(connection: AsyncConnection, endpoint: UUID | str, tenant: str | None) -> Mapping[str, Any]:
    owner = tenant or DEFAULT_ENDPOINT if endpoint == DEFAULT_ENDPOINT else tenant
    for row in await outbox.read_endpoints(connection, tenant=owner):
        if row["id"] == endpoint or (endpoint == DEFAULT_ENDPOINT and row["url"] is None):
            return row
    raise JobNotFound(f"There is no webhook endpoint {endpoint}.")


def _known_events(events: Sequence[str]) -> list[str]:
    unknown = set(events) - set(EventType)
    if unknown:
        raise InvalidJob(f"event {min(unknown)!r} is none of {', '.join(EventType)}", parameter="events")
    return sorted(set(events))


def endpoint_view(row: Mapping[str, Any]) -> View:
    """Show an endpoint without its secrets; `url` None is the tenant's default."""
    return {
        "id": str(row["id"]),
        "tenant": row["tenant"],
        "url": row["url"],
        "is_default": row["url"] is None,
        "events": list(row["events"]),
        "is_enabled": row["is_enabled"],
        "disabled_reason": row["disabled_reason"],
        "failing_since": moment(row["failing_since"]),
        "has_old_secret": len(row["secrets"]) > 1,
        "created_at": moment(row["created_at"]),
        "rotated_at": moment(row["rotated_at"]),
    }


def delivery_view(row: Mapping[str, Any]) -> View:
    """Show one try to deliver a webhook; `type` None: its event's month was dropped."""
    return {
        "id": str(row["id"]),
        "event_id": str(row["event_id"]),
        "type": row["type"],
        "tenant": row["tenant"],
        "job_id": None if row["job_id"] is None else str(row["job_id"]),
        "endpoint_id": str(row["endpoint_id"]),
        "url": row["url"],
        "number": row["number"],
        "state": row["state"],
        "status_code": row["status_code"],
        "reason": row["reason"],
        "duration_ms": row["duration_ms"],
        "answer": row["answer"],
        "created_at": moment(row["created_at"]),
        "next_at": moment(row["next_at"]),
    }
