"""Open the queue for one command: settings, services, a schema that fits, and the event loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from .terminal import note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from runware_jobs.assembly import Services
    from runware_jobs.jobs import AsyncJobs
    from runware_jobs.settings import Settings

FRESH_HEARTBEAT_S: Final = 120.0
"""A worker whose lease is older than this is gone, with any sensible LEASE_S."""


def with_jobs(work: Callable[[AsyncJobs], Awaitable[int]]) -> int:
    """Give `work` the queue and return the exit code that it returns.

    Raises:
        SettingsError, DatabaseBehind, EmbeddedError: before `work` is called.
    """
    from runware_jobs.jobs import AsyncJobs  # noqa: PLC0415  the queue is loaded by commands that use it

    settings, _ = open_services()

    async def run() -> int:
        async with AsyncJobs(settings) as jobs:
            return await work(jobs)

    return asyncio.run(run())


def with_database(work: Callable[[AsyncEngine, Settings, Services], Awaitable[int]]) -> int:
    """Give `work` an engine on the database, the settings and the services; return its exit code."""
    from runware_jobs.store.database import open_engine  # noqa: PLC0415  see with_jobs

    settings, services = open_services()

    async def run() -> int:
        engine = open_engine(services.database_url, pool_size=2)
        try:
            return await work(engine, settings, services)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def open_services() -> tuple[Settings, Services]:
    """Read the settings and find the services; embedded engines are started or joined.

    Raises:
        SettingsError, DatabaseBehind, EmbeddedError: the message names the remedy.
    """
    from runware_jobs.assembly import check_schema, find_services  # noqa: PLC0415  see with_jobs
    from runware_jobs.settings import Settings  # noqa: PLC0415  see with_jobs

    settings = Settings()
    services = find_services(settings)
    if services.embedded is None:  # the embedded engines were migrated when they were opened
        check_schema(services)
    return settings, services


@asynccontextmanager
async def _connection() -> AsyncIterator[AsyncConnection]:
    """Open one more connection for a look beside the queue; services are known by now."""
    from runware_jobs.assembly import find_services  # noqa: PLC0415  see with_jobs
    from runware_jobs.settings import Settings  # noqa: PLC0415  see with_jobs
    from runware_jobs.store.database import open_engine  # noqa: PLC0415  see with_jobs

    engine = open_engine(find_services(Settings()).database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def account_urls() -> list[str]:
    """Name the platforms that this database works for, by their base URLs."""
    from runware_jobs.store.accounts import read_accounts  # noqa: PLC0415  see with_jobs

    async with _connection() as connection:
        return [account["base_url"] for account in await read_accounts(connection)]


async def hint_at_worker() -> None:
    """Say on stderr when nobody is there to run what was enqueued."""
    from runware_jobs.store.vitals import read_vitals  # noqa: PLC0415  see with_jobs

    async with _connection() as connection:
        vitals = await read_vitals(connection)
    if vitals.heartbeat_age_s is None or vitals.heartbeat_age_s > FRESH_HEARTBEAT_S:
        note(
            "[yellow]No worker is running:[/yellow] the queue keeps its jobs until one is."
            " Start it in another terminal: [bold]runware-jobs up[/bold] or [bold]runware-jobs worker[/bold]"
        )
