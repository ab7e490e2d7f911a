"""`doctor`: looks at everything a worker needs, and names the remedy for what is wrong."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from .opening import FRESH_HEARTBEAT_S
from .terminal import DONE, FAILED, AsJson, dollars_text, new_table, out, print_json

if TYPE_CHECKING:
    from runware_jobs.assembly import Services
    from runware_jobs.settings import Settings

_DISK_MIN_BYTES: Final = 1 << 30
_BROKER_WITHIN_S: Final = 3
_PLATFORM_WITHIN_S: Final = 10.0
_REMEDIES: Final = {
    "auth": "give workers a key that the platform takes; one of them resumes by itself",
    "credits": "add credits; a worker resumes by itself, or now: runware-jobs account resume",
}
_MARKS: Final = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "wrong": "[red]wrong[/red]"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `remedy` empty where there is nothing to do."""

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    remedy: str = ""


def doctor(*, as_json: AsJson = False) -> int:
    """Check everything a worker needs, and say how to mend what is wrong.

    Example: runware-jobs doctor
    """
    checks = examine()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _show(checks)
    return FAILED if any(check.state == "wrong" for check in checks) else DONE


def examine() -> list[Check]:
    """Make every check; what depends on a failed one is left out."""
    from runware_jobs.assembly import find_services  # noqa: PLC0415  loads the database
    from runware_jobs.embedded import EmbeddedError  # noqa: PLC0415  the same
    from runware_jobs.errors import SettingsError  # noqa: PLC0415  the same
    from runware_jobs.settings import Settings  # noqa: PLC0415  the same

    try:
        settings = Settings()
        services = find_services(settings)
    except SettingsError as error:
        return [Check("settings", "wrong", error.message, "set or unset what it names")]
    except EmbeddedError as error:
        first = str(error).splitlines()[0]
        return [Check("embedded engines", "wrong", first, "see the log that it names, or set both URLs")]
    checks = [Check("settings", "ok", _settings_in_words(settings, services))]
    checks += _check_database(settings, services)
    checks.append(_check_broker(services))
    checks.append(_check_secret(services))
    checks.append(_check_disk(settings.home))
    return checks


def _settings_in_words(settings: "Settings", services: "Services") -> str:
    where = f"embedded engines in {settings.home}/{settings.realm}" if services.embedded else "given URLs"
    return f"{where}, {settings.transport}, {settings.pool} pool"


def _check_database(settings: "Settings", services: "Services") -> list[Check]:
    from runware_jobs.assembly import check_schema, masked  # noqa: PLC0415  loads the database
    from runware_jobs.errors import DatabaseBehind  # noqa: PLC0415  the same

    url = masked(services.database_url)
    try:
        check_schema(services)
    except DatabaseBehind as error:
        name, remedy = ("schema", "runware-jobs migrate")
        if "answer" in error.message:
            name, remedy = ("database", "start it, or correct RUNWARE_JOBS_DATABASE_URL")
        return [Check(name, "wrong", error.message, remedy)]
    accounts, vitals = asyncio.run(_read(services.database_url))
    return [
        Check("database", "ok", url),
        Check("schema", "ok", "up to date"),
        _check_platform(settings, accounts),
        *_check_accounts(accounts),
        _check_workers(vitals),
    ]


async def _read(database_url: str) -> tuple[list[dict[str, Any]], Any]:
    from runware_jobs.store.accounts import read_accounts  # noqa: PLC0415  loads the database
    from runware_jobs.store.database import open_engine  # noqa: PLC0415  the same
    from runware_jobs.store.vitals import read_vitals  # noqa: PLC0415  the same

    engine = open_engine(database_url, pool_size=1)
    try:
        async with engine.connect() as connection:
            return await read_accounts(connection), await read_vitals(connection)
    finally:
        await engine.dispose()


def _check_platform(settings: "Settings", accounts: list[dict[str, Any]]) -> Check:
    if settings.api_key is None and settings.is_platform:
        known = next((one["base_url"] for one in accounts if one["is_current"]), None)
        if known is not None and not known.startswith("https://"):
            return Check("platform", "ok", f"this database works for the emulator at {known}")
        return Check(
            "platform",
            "note",
            "RUNWARE_API_KEY is not set: this process can enqueue, no worker can start here",
            "set RUNWARE_API_KEY, or try without one: runware-jobs up",
        )
    found = asyncio.run(_ask_platform(settings))
    if found is None:
        return Check("platform", "ok", f"{settings.http_base_url} takes the key")
    remedy = "check the key in RUNWARE_API_KEY" if settings.is_platform else "start it: runware-jobs emulator"
    return Check("platform", "wrong", f"{settings.http_base_url}: {found}", remedy)


async def _ask_platform(settings: "Settings") -> str | None:
    """Ask who we are, which costs nothing; None when it was answered, else what went wrong."""
    from runware_jobs.client import Runware, RunwareError  # noqa: PLC0415  the same
    from runware_jobs.client.account_errors import KeyVerdict, key_verdict  # noqa: PLC0415  the same
    from runware_jobs.platform_access import EMULATOR_KEY  # noqa: PLC0415  loads the client

    key = settings.api_key.get_secret_value() if settings.api_key else EMULATOR_KEY
    async with Runware(
        api_key=key, transport="rest", http_base_url=settings.http_base_url, timeout=_PLATFORM_WITHIN_S * 1000
    ) as client:
        try:
            async with asyncio.timeout(_PLATFORM_WITHIN_S):
                await client.account_management({"operation": "getDetails"})
        except TimeoutError:
            return f"no answer within {_PLATFORM_WITHIN_S:g} s"
        except RunwareError as error:
            # A key that may run tasks but not read its account is a good key.
            return None if key_verdict(error) is KeyVerdict.MUTE else error.message
    return None


def _check_accounts(accounts: list[dict[str, Any]]) -> list[Check]:
    checks = []
    for account in accounts:
        name, left = f"account {account['id']}", _left(account)
        if account["state"] == "paused":
            remedy = _REMEDIES.get(account["pause_kind"], "runware-jobs account resume")
            checks.append(Check(name, "wrong", f"paused: {account['pause_reason']} ({left})", remedy))
        elif account["is_current"]:
            spent = dollars_text(account["spent_today_usd"])
            checks.append(Check(name, "ok", f"{account['base_url']}: {left}, {spent} today"))
        elif _has_left(account):
            checks.append(_left_behind(account))
    return checks


def left_behind(database_url: str, *, base_url: str) -> list[Check]:
    """Say what no worker for `base_url` goes on with: it belongs to an earlier key, or to another platform."""
    accounts, _ = asyncio.run(_read(database_url))
    return [
        _left_behind(account)
        for account in accounts
        if _has_left(account) and not (account["is_current"] and account["base_url"] == base_url)
    ]


def _left_behind(account: dict[str, Any]) -> Check:
    found = f"left in an old account of {account['base_url']}: {_left(account)}"
    remedy = "run a worker with its key once more, or cancel its jobs"
    return Check(f"account {account['id']}", "note", found, remedy)


def _has_left(account: dict[str, Any]) -> bool:
    return bool(account["queued"] or account["in_flight"] or account["unclear"])


def _left(account: dict[str, Any]) -> str:
    return ", ".join(
        f"{account[what]} {what.replace('_', ' ')}" for what in ("queued", "in_flight", "unclear")
    )


def _check_workers(vitals: Any) -> Check:
    if vitals.heartbeat_age_s is None or vitals.heartbeat_age_s > FRESH_HEARTBEAT_S:
        return Check("workers", "note", "none is running", "runware-jobs worker, or runware-jobs up")
    return Check("workers", "ok", f"{vitals.workers} running, last heard {vitals.heartbeat_age_s:.0f} s ago")


def _check_broker(services: "Services") -> Check:
    from celery import Celery  # noqa: PLC0415  only here is a broker called

    from runware_jobs.assembly import celery_broker, masked  # noqa: PLC0415  the same

    app = Celery("runware_jobs.doctor", set_as_current=False)
    app.conf.update(celery_broker(services.broker_url))

    def connect() -> None:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_BROKER_WITHIN_S)

    problem = _problem_of(connect)
    url = masked(services.broker_url)
    if problem is None:
        return Check("broker", "ok", url)
    return Check("broker", "wrong", f"{url}: {problem}", "start it, or correct RUNWARE_JOBS_BROKER_URL")


def _problem_of(connect: Callable[[], None]) -> str | None:
    try:
        connect()
    except Exception as error:  # noqa: BLE001  each transport has errors of its own, and all mean the same here
        return str(error).strip() or type(error).__name__
    return None


def _check_secret(services: "Services") -> Check:
    if services.secret_key:
        return Check("secret key", "ok", "webhooks can be signed")
    remedy = "set RUNWARE_JOBS_SECRET_KEY to a long random string, the same everywhere"
    return Check("secret key", "note", "not set: webhooks are refused", remedy)


def _check_disk(home: Path) -> Check:
    place = next(folder for folder in (home.resolve(), *home.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free in {home}"
    if free < _DISK_MIN_BYTES:
        return Check("disk", "wrong", text, "make room, or set RUNWARE_JOBS_HOME to another disk")
    return Check("disk", "ok", text)


def _show(checks: list[Check]) -> None:
    from rich.markup import escape  # noqa: PLC0415  only where something is shown

    table = new_table("", "check", "found", "remedy")
    for check in checks:
        table.add_row(_MARKS[check.state], check.name, escape(check.found), escape(check.remedy))
    out().print(table)
