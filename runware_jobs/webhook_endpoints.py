"""Webhook endpoints and the log of their deliveries: for the HTTP API and the command line.

A secret is given once, where it is made or rotated; after that only the vault's
token of it is kept. `tenant` None means any tenant: for trusted callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from .core.addresses import AddressRefused, check_url
from .core.endpoints import old_secret_ends_at, read_filter
from .core.signing import SecretKeyWrong, new_secret
from .core.views import moment
from .errors import InvalidJob, JobNotFound, NotPossible
from .store import endpoints, redelivery
from .store.keys import EVERY_TENANT
from .store.redelivery import EventPlace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .core.signing import Vault

    View = dict[str, Any]

DEFAULT_ENDPOINT: Final = "default"
"""Names a tenant's default endpoint, whose secret signs for the `webhook_url` of single jobs."""

# One transaction's share of a redelivery: locks are held for milliseconds.
_BATCH: Final = 500
MOST_REDELIVERED: Final = 10_000
"""So many events are looked up at once; of more, `Redelivered.after` says where to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivered:
    """How many events leave again because of a call, and after which to go on; None: that was all."""

    queued: int
    after: EventPlace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which tries are listed; what is None lets all pass. `type` is an event's, `state` a delivery's."""

    endpoint_id: UUID | None = None
    state: str | None = None
    type: str | None = None
    job_id: UUID | None = None


EVERY_DELIVERY: Final = DeliveryFilter()


class WebhookEndpoints:
    """Where a tenant's webhooks go, and what became of them."""

    def __init__(self, engine: AsyncEngine, vault: Vault | None, *, allow_private: bool) -> None:
        self._engine = engine
        self._vault = vault
        self._allow_private = allow_private

    async def all_of(self, *, tenant: str | None) -> list[View]:
        """List endpoints, oldest first, the default one among them once it is in use."""
        async with self._engine.connect() as connection:
            return [endpoint_view(row) for row in await endpoints.read_endpoints(connection, tenant=tenant)]

    async def get(self, endpoint: UUID | str, *, tenant: str | None) -> View:
        """Read one endpoint, by its id or `default`.

        Raises:
            JobNotFound: there is none for this tenant.
        """
        async with self._engine.connect() as connection:
            return endpoint_view(await _find(connection, endpoint, tenant))

    async def add(self, url: str, *, tenant: str, events: Sequence[str] = ()) -> View:
        """Add an endpoint; `events` empty means the final and money events. The view holds its `secret`.

        `job.*` and the like stand for the events of that kind that there are now.

        Raises:
            InvalidJob: the URL is not one that we call, an event is unknown, the tenant
                is `*`, or there is no key to keep secrets with.
        """
        vault = self._require_vault()
        try:
            check_url(url, allow_private=self._allow_private)
        except AddressRefused as error:
            raise InvalidJob(f"url: {error.message}", parameter="url") from error
        wanted = read_filter(events)
        if tenant == EVERY_TENANT:
            # Under this name the log keeps what is nobody's own.
            raise InvalidJob(f"tenant {EVERY_TENANT!r} is no tenant's name", parameter="tenant")
        secret = new_secret()
        async with self._engine.begin() as connection:
            endpoint_id = await endpoints.add_endpoint(
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
        """Change what is given and leave the rest. Enabled again, it gets what stayed in the outbox, in order.

        Raises:
            InvalidJob: an event is unknown.
            JobNotFound: there is no such endpoint for this tenant.
            NotPossible: the default endpoint signs whenever a job asks; it has no events and no switch.
        """
        wanted = None if events is None else read_filter(events)
        async with self._engine.begin() as connection:
            row = await _find(connection, endpoint, tenant)
            if row["url"] is None and (events is not None or is_enabled is not None):
                raise NotPossible("The default endpoint only signs: it has neither events nor a switch.")
            await endpoints.change_endpoint(
                connection,
                row["id"],
                events=wanted,
                is_enabled=is_enabled,
                keeps_old_secret=keeps_old_secret,
            )
            return endpoint_view(await _find(connection, row["id"], tenant))

    async def rotate(
        self, endpoint: UUID | str, *, tenant: str | None, keeps_old_secret: bool = True
    ) -> View:
        """Make a new secret; for a day, or until it is dropped, the one before signs beside it.

        The view holds `secret`. `keeps_old_secret` False: the one before, which leaked,
        signs no more from now on. A secret before that cannot be read any more (it was
        stored under a key that is gone) is dropped at once, and deliveries leave again.

        Raises:
            JobNotFound: there is no such endpoint for this tenant.
            InvalidJob: there is no key to keep secrets with.
        """
        vault = self._require_vault()
        secret = new_secret()
        async with self._engine.begin() as connection:
            if endpoint == DEFAULT_ENDPOINT:
                await endpoints.ensure_default_endpoint(
                    connection, tenant or DEFAULT_ENDPOINT, vault.encrypt(new_secret())
                )
            row = await _find(connection, endpoint, tenant, locks=True)
            await endpoints.rotate_secret(
                connection,
                row["id"],
                vault.encrypt(secret),
                keeps_old_secret=keeps_old_secret and _is_readable(vault, row["secrets"][0]),
            )
            row = await _find(connection, row["id"], tenant)
        return endpoint_view(row) | {"secret": secret}

    async def remove(self, endpoint_id: UUID, *, tenant: str | None) -> None:
        """Remove an endpoint with its log and what was still to leave for it.

        Raises:
            JobNotFound: there is no such endpoint for this tenant, or it is the default.
        """
        async with self._engine.begin() as connection:
            removed = await endpoints.remove_endpoint(connection, endpoint_id, tenant=tenant)
        if not removed:
            raise JobNotFound(f"There is no webhook endpoint {endpoint_id} to remove.")

    async def test(self, endpoint_id: UUID, *, tenant: str | None) -> str:
        """Send a signed `endpoint.test` to this endpoint, as every event is sent; give the event's id.

        Raises:
            JobNotFound: there is no such endpoint for this tenant.
            NotPossible: it is disabled, or the default one, which has no address.
        """
        async with self._engine.begin() as connection:
            row = await _find(connection, endpoint_id, tenant)
            if row["url"] is None:
                raise NotPossible("The default endpoint only signs: it has no address to send a test to.")
            event_id = await endpoints.tell_test(connection, row["id"])
        if event_id is None:
            raise _is_disabled(endpoint_id)
        return str(event_id)

    async def deliveries(
        self,
        *,
        tenant: str | None,
        wanted: DeliveryFilter = EVERY_DELIVERY,
        limit: int = 50,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[View]:
        """List tries to deliver, newest first."""
        async with self._engine.connect() as connection:
            rows = await endpoints.list_deliveries(
                connection,
                tenant=tenant,
                limit=limit,
                before=before,
                endpoint_id=wanted.endpoint_id,
                state=wanted.state,
                event_type=wanted.type,
                job_id=wanted.job_id,
            )
        return [delivery_view(row) for row in rows]

    async def redeliver(self, delivery_id: UUID, *, tenant: str | None) -> None:
        """Send a delivery's event again, with the same webhook-id, as soon as a worker is free.

        Asked again while it is still to leave, it leaves once.

        Raises:
            JobNotFound: there is no such delivery for this tenant.
            NotPossible: its endpoint is disabled, or its event was pruned.
        """
        async with self._engine.begin() as connection:
            delivery = await endpoints.read_delivery(connection, delivery_id, tenant=tenant)
            if delivery is None:
                raise JobNotFound(f"There is no delivery {delivery_id}.")
            await _require_enabled(connection, delivery["endpoint_id"], tenant)
            if not await endpoints.redeliver(connection, delivery_id, tenant=tenant):
                raise NotPossible(f"The event of delivery {delivery_id} was pruned: nothing is left to send.")

    async def redeliver_span(
        self,
        endpoint: UUID | str,
        *,
        tenant: str | None,
        since: datetime,
        until: datetime | None = None,
        only_failed: bool = False,
        after: EventPlace | None = None,
        limit: int = MOST_REDELIVERED,
    ) -> Redelivered:
        """Send an endpoint every event of a time that it asks for again, under the same ids, oldest first.

        Also those that it was never told, because it was disabled or not there yet.
        `until` None is now, `only_failed` leaves out what it has answered with 2xx. What
        is still to leave leaves once. At most `limit` events at a time, in small
        transactions: `after` of the answer goes on, and asked anew after an interruption
        nothing that waits is doubled.

        Raises:
            InvalidJob: the times have no zone, or `until` is not after `since`.
            JobNotFound: there is no such endpoint for this tenant.
            NotPossible: it is disabled, perhaps since a moment ago; what was queued until then stays.
        """
        span = _read_span(since, until, only_failed=only_failed)
        async with self._engine.begin() as connection:
            row = await _require_enabled(connection, endpoint, tenant)
            found = await redelivery.read_span(connection, row, span, after=after, limit=limit)
        queued = 0
        for start in range(0, len(found), _BATCH):
            async with self._engine.begin() as connection:
                await _require_enabled(connection, row["id"], tenant)
                batch = found[start : start + _BATCH]
                queued += await redelivery.queue_again(connection, row["id"], batch)
        if len(found) < limit:
            return Redelivered(queued=queued, after=None)
        last = found[-1]
        place = EventPlace(last["event_created_at"], last["seq"], last["event_id"])
        return Redelivered(queued=queued, after=place)

    def _require_vault(self) -> Vault:
        if self._vault is None:
            raise InvalidJob(
                "Webhooks cannot be signed: set RUNWARE_JOBS_SECRET_KEY to a long random string.",
                parameter="url",
            )
        return self._vault


async def _find(
    connection: AsyncConnection, endpoint: UUID | str, tenant: str | None, *, locks: bool = False
) -> Mapping[str, Any]:
    if isinstance(endpoint, str):
        # Only `default` comes as text; each tenant has one of its own.
        row = await endpoints.read_endpoint(connection, None, tenant=tenant or DEFAULT_ENDPOINT, locks=locks)
    else:
        row = await endpoints.read_endpoint(connection, endpoint, tenant=tenant, locks=locks)
    if row is None:
        raise JobNotFound(f"There is no webhook endpoint {endpoint}.")
    return row


async def _require_enabled(
    connection: AsyncConnection, endpoint: UUID | str, tenant: str | None
) -> Mapping[str, Any]:
    """Lock an endpoint that may be sent to, so that of two who ask the second sees what the first queued."""
    row = await _find(connection, endpoint, tenant, locks=True)
    if not row["is_enabled"]:
        raise _is_disabled(endpoint)
    return row


def _is_disabled(endpoint: UUID | str) -> NotPossible:
    return NotPossible(f"Endpoint {endpoint} is disabled and is sent nothing: enable it first.")


def _is_readable(vault: Vault, token: bytes) -> bool:
    try:
        vault.decrypt(bytes(token))
    except SecretKeyWrong:
        return False
    return True


def _read_span(since: datetime, until: datetime | None, *, only_failed: bool) -> redelivery.Span:
    end = datetime.now(UTC) if until is None else until
    for name, instant in (("since", since), ("until", end)):
        if instant.tzinfo is None:
            raise InvalidJob(f"{name} has no time zone: write 2026-11-21T09:30Z", parameter=name)
    if end <= since:
        raise InvalidJob("until is not after since", parameter="until")
    return redelivery.Span(since=since, until=end, only_failed=only_failed)


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
        "has_old_secret": len(row["signing"]) > 1,
        "created_at": moment(row["created_at"]),
        "rotated_at": moment(row["rotated_at"]),
        "old_secret_ends_at": moment(
            old_secret_ends_at(row["rotated_at"], has_old_secret=len(row["signing"]) > 1)
        ),
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
