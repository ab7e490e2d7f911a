"""What every test may ask for: servers, a migrated database, an emulator; and no settings from outside.

Postgres and the broker are the embedded ones, or those named when pytest was started
by RUNWARE_JOBS_DATABASE_URL and RUNWARE_JOBS_BROKER_URL. On a server of somebody's
own the tests work in a database that they make and drop.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from runware_jobs.store.database import migrate, open_engine
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.servers import (
    GIVEN_NAMES,
    Servers,
    broker_of_worker,
    embedded_servers,
    empty_every_table,
    fresh_database,
    given_servers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

# Taken away before a test can read them: a key in a developer's shell must never
# pay for a test, and no test may pass because of what is set there.
# The servers are kept under other names: with -n the tests run in processes below this one.
for _name in [name for name in os.environ if name.startswith("RUNWARE_")]:
    _value = os.environ.pop(_name)
    if _name in GIVEN_NAMES:
        os.environ[f"TESTS_{_name}"] = _value
_GIVEN = {name: os.environ[f"TESTS_{name}"] for name in GIVEN_NAMES if f"TESTS_{name}" in os.environ}

# Started in the background of a shell, pytest ignores Ctrl-C, and so would all it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a test before this one has left behind."""
    for name in list(os.environ):
        if name.startswith("RUNWARE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Postgres and a broker, for the session; embedded ones stop at its end."""
    given = given_servers(_GIVEN)
    if given is None:
        with embedded_servers(tmp_path_factory.mktemp("servers")) as servers:
            yield servers
    else:
        with fresh_database(given.database_url) as database_url:
            yield Servers(
                database_url=database_url,
                broker_url=broker_of_worker(given.broker_url, os.environ.get("PYTEST_XDIST_WORKER")),
            )


@pytest.fixture(scope="session")
def database_url(services: Servers) -> str:
    """A migrated database, shared by the session; see `clean_database`."""
    migrate(services.database_url)
    return services.database_url


@pytest.fixture
def clean_database(database_url: str) -> str:
    """The shared database with no row in it but the installation's."""
    empty_every_table(database_url)
    return database_url


@pytest.fixture
def empty_database(services: Servers) -> Iterator[str]:
    """A database of this test's own, without any table."""
    with fresh_database(services.database_url) as url:
        yield url


@pytest.fixture
async def engine(clean_database: str) -> AsyncIterator[AsyncEngine]:
    """An async engine on the clean database."""
    opened = open_engine(clean_database, pool_size=5)
    yield opened
    await opened.dispose()


@pytest.fixture(scope="session")
def _emulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with running_emulator(log=tmp_path_factory.mktemp("emulator") / "log", speed=100) as process:
        yield process


@pytest.fixture
def emulator(_emulator_process: EmulatorProcess) -> EmulatorProcess:
    """An emulator in a process of its own, a hundred times as fast as the platform, with nothing in it."""
    _emulator_process.reset()
    _emulator_process.configure(**_emulator_process.usual, balance_usd=25_000)
    return _emulator_process
