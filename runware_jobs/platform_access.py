"""The client that a process calls the platform with, and whose its key is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from .client import Runware, RunwareError
from .client.account_errors import KeyVerdict, key_verdict
from .core.identity import organisation_of_key
from .errors import SettingsError

if TYPE_CHECKING:
    from .settings import Settings

_log = structlog.get_logger()

EMULATOR_KEY = "emulator"
"""The key used where there is none: the emulator takes any, the platform refuses it."""

_KEY_WITHIN_S: Final = 5.0


def require_key(settings: Settings) -> None:
    """Refuse to call the platform without a key.

    Raises:
        SettingsError: there is none, and what would be called is no emulator.
    """
    if settings.api_key is None and settings.is_platform:
        raise SettingsError(
            "RUNWARE_API_KEY is not set: the worker needs it to call the platform."
            " To try without one: `runware-jobs demo`, or RUNWARE_JOBS_HTTP_BASE_URL of an emulator"
        )


def check_key(settings: Settings) -> None:
    """Refuse a key that the platform refuses, before anything starts; a platform that is away refuses none.

    Raises:
        SettingsError: there is no key, or the platform says that it is none of its own.
    """

    async def ask() -> None:
        client = make_client(settings)
        try:
            async with asyncio.timeout(_KEY_WITHIN_S):
                await client.account_management({"operation": "getDetails"})
        except TimeoutError:
            return
        except RunwareError as error:
            if key_verdict(error) is KeyVerdict.REFUSED:
                raise SettingsError(
                    f"{settings.http_base_url} refuses the key in RUNWARE_API_KEY: {error.message}"
                    " Jobs stay queued until a worker has a key that it takes"
                ) from None
        finally:
            await client.close()

    require_key(settings)
    asyncio.run(ask())


def make_client(settings: Settings) -> Runware:
    """Make the client of these settings; it calls nobody yet.

    Raises:
        SettingsError: there is no key for the platform.
    """
    milliseconds = 1000
    key = settings.api_key.get_secret_value() if settings.api_key else None
    require_key(settings)
    return Runware(
        api_key=key or EMULATOR_KEY,
        transport=settings.transport,
        http_base_url=settings.http_base_url,
        ws_base_url=settings.ws_base_url,
        schemas_base_url=settings.schemas_base_url,
        content_base_url=settings.content_base_url,
        serverless_base_url=settings.serverless_base_url,
        timeout=settings.request_timeout_s * milliseconds,
        submit_timeout=settings.request_timeout_s * milliseconds,
        poll_request_timeout=settings.request_timeout_s * milliseconds,
        submit_group_size=settings.submit_group_size,
        poll_group_size=settings.poll_group_size,
        encode_local_files=False,
    )


async def _organisation(client: Runware, settings: Settings) -> str:
    """Ask the platform who we are; a key that may not ask gets a name of its own."""
    try:
        details = await client.account_management({"operation": "getDetails"})
    except RunwareError as error:
        # One that is refused is nobody's: named by it, an account would take the new
        # jobs from the one whose key was mistyped.
        if key_verdict(error) is not KeyVerdict.MUTE:
            raise
        return key_name(settings)
    return _organisation_uuid(details) or key_name(settings)


def key_name(settings: Settings) -> str:
    """Name an organisation by its key, where the platform does not tell its own name."""
    key = settings.api_key.get_secret_value() if settings.api_key else EMULATOR_KEY
    return organisation_of_key(key, settings.http_base_url)


def _organisation_uuid(details: object) -> str | None:
    entry = details[0] if isinstance(details, list) and details else details
    value = entry.get("organizationUUID") if isinstance(entry, dict) else None
    return value if isinstance(value, str) and value else None


async def organisation_when_up(client: Runware, settings: Settings) -> str:
    """Ask again until the platform answers: a worker may start before its network does."""
    wait_s = 0.2
    while True:
        try:
            async with asyncio.timeout(settings.request_timeout_s):
                return await _organisation(client, settings)
        except RunwareError as error:
            _log.warning("platform_not_reached", error_code=error.code, retry_in_s=wait_s)
        except TimeoutError:
            _log.warning("platform_not_reached", error_code="timeout", retry_in_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, 30.0)
