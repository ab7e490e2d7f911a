"""Settings to parts: opens what a process needs, in order, and closes it again.

The only place that reads settings. Producers and the API need `Services` and an
engine; a worker needs a `Context` besides.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from .archive import open_archive
from .core.answers import CostPer
from .core.signing import Vault
from .errors import DatabaseBehind, SettingsError
from .platform_access import key_name, make_client, organisation_when_up
from .settings import PLATFORM_HTTP_URL
from .steps.context import Context, NoCelery, Tempo
from .steps.pace import Pace
from .steps.progress import POST_TIMEOUT_S
from .steps.record import committed
from .steps.telling import Teller
from .store import accounts, processes
from .store.database import migrate, open_engine, require_schema
from .webhooks import WebhookSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .archive import Archive
    from .settings import Settings
    from .steps.context import CelerySide, PublishLink, Receivers

_log = structlog.get_logger()

EMULATOR_PORT = 9300


@dataclass(frozen=True, slots=True)
class Services:
    """Where Postgres and the broker are; `secret_key` None: webhooks cannot be signed."""

    database_url: str
    broker_url: str
    secret_key: str | None
    embedded: Any = None


_embedded: dict[tuple[int, str, str], Services] = {}
_embedded_lock = threading.Lock()


def find_services(settings: Settings) -> Services:
    """Give the given URLs, or start or join the embedded engines and give theirs.

    Embedded engines are held until this process ends. They get their schema here,
    since there is nobody else to migrate them, and a key for secrets under HOME.

    Raises:
        SettingsError: only one of the two URLs is set.
        EmbeddedError: the engines cannot run here; the message names the remedy.
    """
    key = settings.secret_key.get_secret_value() if settings.secret_key else None
    if settings.database_url and settings.broker_url:
        return Services(settings.database_url, settings.broker_url, key)
    if settings.database_url or settings.broker_url:
        missing = "BROKER_URL" if settings.database_url else "DATABASE_URL"
        raise SettingsError(
            f"RUNWARE_JOBS_{missing} is not set: set both URLs, or neither for the embedded engines"
        )
    place = (os.getpid(), str(settings.home.resolve()), settings.realm)
    with _embedded_lock:
        if place not in _embedded:
            _embedded[place] = _start_embedded(settings, key)
        return _embedded[place]


def _start_embedded(settings: Settings, key: str | None) -> Services:
    from .embedded import open_engines  # noqa: PLC0415  a producer with URLs never loads the engines

    engines = open_engines(settings.home, realm=settings.realm, idle_s=settings.embedded_idle_s)
    atexit.register(engines.close)
    migrate(engines.database_url)
    return Services(
        engines.database_url,
        engines.broker_url,
        key or _key_of_home(settings.home / settings.realm),
        engines,
    )


def _key_of_home(folder: Path) -> str:
    """Read the key for secrets under HOME; the first process makes it, for its user's eyes only."""
    path = folder / "secret_key"
    fresh = path.with_suffix(f".{os.getpid()}")
    if not path.exists():
        fresh.touch(mode=0o600)
        fresh.write_text(os.urandom(32).hex())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass  # another process was first: its key counts
        finally:
            fresh.unlink()
    return path.read_text().strip()


def check_schema(services: Services) -> None:
    """Refuse a database that this code cannot write to, before anything starts.

    Raises:
        DatabaseBehind: the schema is missing or old, or the database does not answer.
    """

    async def check() -> None:
        engine = open_engine(services.database_url, pool_size=1)
        try:
            async with engine.connect() as connection:
                await require_schema(connection)
        except OperationalError as error:
            raise DatabaseBehind(
                f"The database at {masked(services.database_url)} does not answer: {_first_line(error)}"
            ) from None
        finally:
            await engine.dispose()

    asyncio.run(check())


def _first_line(error: OperationalError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason given"


def vault_of(services: Services) -> Vault | None:
    """Make the vault of webhook secrets; None without a key."""
    return Vault(services.secret_key) if services.secret_key else None


def account_urls(settings: Settings) -> tuple[str | None, str]:
    """Say at which base URL a producer's jobs are for: the known one (or None), and the fallback."""
    if settings.knows_platform:
        return settings.http_base_url, settings.http_base_url
    local = f"http://127.0.0.1:{EMULATOR_PORT}/v1"
    embedded = settings.database_url is None
    return None, local if embedded and settings.realm == "emulator" else PLATFORM_HTTP_URL


def celery_broker(broker_url: str) -> dict[str, Any]:
    """Give Celery's settings for our messages: our own queue and keys, JSON, nothing held long."""
    options: dict[str, Any] = {}
    if broker_url.startswith(("redis", "rediss")):
        # Own keys and a short timeout: on a shared Redis we neither redeliver a
        # neighbour's messages nor leave ours to its sweeper.
        options = {
            "global_keyprefix": "",
            "unacked_key": "runware_jobs.unacked",
            "unacked_index_key": "runware_jobs.unacked_index",
            "unacked_mutex_key": "runware_jobs.unacked_mutex",
            "visibility_timeout": 120,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 2,
        }
    return {
        "broker_url": broker_url,
        "broker_transport_options": options,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": "runware_jobs",
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
    }


@asynccontextmanager
async def open_worker(
    settings: Settings,
    services: Services,
    *,
    signals: list[str],
    receivers: Receivers,
    publish_link: PublishLink,
    celery: CelerySide | None = None,
    keeps_limits: bool = False,
) -> AsyncIterator[Context]:
    """Open what one worker process works with; on leaving, its lease is given back.

    The account's limits become those of `settings`, unless `keeps_limits`: a person's
    command, run where nobody has set a daily brake, must not lift that of the workers.

    Raises:
        DatabaseBehind: the schema is missing or old.
        SettingsError: there is no key for the platform.
    """
    engine = open_engine(
        services.database_url,
        pool_size=settings.db_pool_size,
        name="runware-jobs-worker",
        longest_transaction_pause_s=settings.lease_s / 2,
    )
    teller = Teller(engine)
    client = make_client(settings)
    try:
        async with (
            WebhookSender(allow_private=settings.allow_private_webhooks) as sender,
            # Of its own, so that progress takes no place from what counts.
            WebhookSender(
                allow_private=settings.allow_private_webhooks, timeout_s=POST_TIMEOUT_S
            ) as progress_sender,
            _archive_of(settings) as archive,
        ):
            secret = await committed(engine, _open_schema)
            organisation = await organisation_when_up(client, settings)

            async def register(connection: AsyncConnection) -> processes.Owner:
                account_id = await accounts.confirm_account(
                    connection,
                    base_url=settings.http_base_url,
                    organisation=organisation,
                    key_name=key_name(settings),
                    limits=accounts.Limits(
                        max_in_flight=settings.in_flight_limit,
                        max_requests_per_s=settings.requests_per_s_limit,
                        daily_limit_usd=settings.daily_spend_limit_usd,
                    ),
                    keeps_limits=keeps_limits,
                )
                return await processes.register(
                    connection,
                    account_id=account_id,
                    host=os.uname().nodename,
                    pid=os.getpid(),
                    signals=signals,
                    archives=archive is not None,
                )

            # A lease that was taken twice, because its commit's answer was lost, lapses.
            owner = await committed(engine, register)
            yield Context(
                engine=engine,
                client=client,
                pace=Pace(engine, owner.account_id),
                callback_base_url=settings.callback_base_url,
                cost_per=CostPer(settings.cost_per),
                sender=sender,
                vault=vault_of(services),
                archive=archive,
                owner=owner,
                secret=secret,
                tempo=_tempo(settings),
                signals=frozenset(signals),
                receivers=receivers,
                progress_sender=progress_sender,
                publish_link=publish_link,
                celery=celery or NoCelery(),
            )
    finally:
        await client.close()
        await teller.aclose()
        await engine.dispose()


async def _open_schema(connection: AsyncConnection) -> bytes:
    await require_schema(connection)
    return await accounts.installation_secret(connection)


@asynccontextmanager
async def _archive_of(settings: Settings) -> AsyncIterator[Archive | None]:
    """Open the archive when there is one. An emulator's assets lie on loopback, which is then allowed."""
    if settings.archive_url is None:
        yield None
        return
    async with open_archive(settings.archive_url, allow_private=not settings.is_platform) as archive:
        yield archive


def _tempo(settings: Settings) -> Tempo:
    return Tempo(
        send_window_s=settings.send_window_s,
        submit_group_size=settings.submit_group_size,
        poll_group_size=settings.poll_group_size,
        poll_min_interval_s=settings.poll_min_interval_s,
        request_timeout_s=settings.request_timeout_s,
        reconcile_grace_s=settings.reconcile_grace_s,
        reconcile_max_age_s=settings.reconcile_max_age_s,
        resends=settings.reconcile_resend == "auto",
        lost_after_s=settings.lost_after_s,
        stuck_after_s=settings.stuck_after_s,
        lease_s=settings.lease_s,
        clocks=settings.clocks,
    )


def masked(url: str) -> str:
    """Give a URL fit for a log: without its password."""
    return make_url(url).render_as_string(hide_password=True)


def environment_of(settings: Settings, services: Services) -> Mapping[str, str]:
    """Give the environment under which another process finds the same services and platform."""
    values = {
        "RUNWARE_JOBS_DATABASE_URL": services.database_url,
        "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": settings.http_base_url,
        "RUNWARE_JOBS_WS_BASE_URL": settings.ws_base_url,
        "RUNWARE_JOBS_TRANSPORT": settings.transport,
        "RUNWARE_JOBS_SECRET_KEY": services.secret_key or "",
        "RUNWARE_API_KEY": settings.api_key.get_secret_value() if settings.api_key else "",
    }
    return {name: value for name, value in values.items() if value}
