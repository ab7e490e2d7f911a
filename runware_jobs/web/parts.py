"""What the routes work with: opened once per process, closed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from starlette.requests import Request  # noqa: TC002  FastAPI reads the annotation

from runware_jobs.assembly import account_urls, find_services, vault_of
from runware_jobs.jobs import wake_sender
from runware_jobs.producer import Producer
from runware_jobs.steps.telling import Teller
from runware_jobs.store.accounts import installation_secret
from runware_jobs.store.database import open_engine
from runware_jobs.wakes import Waker
from runware_jobs.webhook_endpoints import WebhookEndpoints

from .live import Streams
from .remembering import Remembered

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from runware_jobs.settings import Settings
    from runware_jobs.store.vitals import Vitals

_POOL_SIZE = 10


class Installation:
    """The secret that task UUIDs and callback addresses derive from: read once, it never changes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._secret: bytes | None = None

    async def secret(self) -> bytes:
        """Give the secret."""
        if self._secret is None:
            async with self._engine.connect() as connection:
                self._secret = await installation_secret(connection)
        return self._secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One process's parts. `heartbeat_s` is how often a silent live stream says that it is there."""

    settings: Settings
    engine: AsyncEngine
    waker: Waker
    producer: Producer
    endpoints: WebhookEndpoints
    teller: Teller
    streams: Streams
    installation: Installation
    vitals: Remembered[Vitals]
    overviews: Remembered[dict[str, Any]]
    heartbeat_s: float

    async def aclose(self) -> None:
        """Close connections and send the last wake."""
        await self.streams.aclose()
        await self.producer.live.aclose()
        self.waker.close()
        await self.teller.aclose()
        await self.engine.dispose()


def open_parts(settings: Settings, *, heartbeat_s: float) -> Parts:
    """Open the parts; no connection is made yet, but embedded engines are started where there are no URLs.

    Raises:
        SettingsError: only one of the two URLs is set.
    """
    services = find_services(settings)
    engine = open_engine(services.database_url, pool_size=_POOL_SIZE)
    teller = Teller(engine)
    waker = Waker(wake_sender(services.broker_url))
    vault = vault_of(services)
    base_url, fallback_url = account_urls(settings)
    producer = Producer(engine, base_url=base_url, fallback_url=fallback_url, vault=vault, wake=waker.wake)
    return Parts(
        settings=settings,
        engine=engine,
        waker=waker,
        producer=producer,
        endpoints=WebhookEndpoints(engine, vault, allow_private=settings.allow_private_webhooks),
        teller=teller,
        streams=Streams(producer.live),
        installation=Installation(engine),
        vitals=Remembered(),
        overviews=Remembered(),
        heartbeat_s=heartbeat_s,
    )


def _parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


WithParts = Annotated[Parts, Depends(_parts_of)]
