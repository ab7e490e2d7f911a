"""Postgres and a broker for the tests: embedded, or those that were given; and databases on them."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from runware_jobs.embedded import open_engines
from runware_jobs.store.tables import SCHEMA, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


GIVEN_NAMES = ("RUNWARE_JOBS_DATABASE_URL", "RUNWARE_JOBS_BROKER_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where Postgres and the broker are."""

    database_url: str
    broker_url: str


def given_servers(environment: Mapping[str, str]) -> Servers | None:
    """Read both URLs, or neither (None); one alone is refused, as the program itself refuses it."""
    database_url = environment.get("RUNWARE_JOBS_DATABASE_URL")
    broker_url = environment.get("RUNWARE_JOBS_BROKER_URL")
    if database_url and broker_url:
        return Servers(database_url=database_url, broker_url=broker_url)
    if database_url or broker_url:
        raise pytest.UsageError(
            "set both RUNWARE_JOBS_DATABASE_URL and RUNWARE_JOBS_BROKER_URL for the tests, or neither"
        )
    return None


def broker_of_worker(broker_url: str, worker: str | None) -> str:
    """Give each of pytest's processes (`gw3`; None without -n) a broker of its own, as far as one server has several.

    They must not share one: a job sent through the broker alone would end in the database of another.
    """
    if worker is None:
        return broker_url
    if not broker_url.startswith(("redis://", "rediss://")):
        raise pytest.UsageError("RUNWARE_JOBS_BROKER_URL is one queue for all tests: run them with -n 0")
    parts = urlsplit(broker_url)
    number = int(parts.path.strip("/") or 0) + int(worker.removeprefix("gw"))
    return parts._replace(path=f"/{number}").geturl()


@contextmanager
def embedded_servers(home: Path) -> Iterator[Servers]:
    """Run embedded engines under `home`; at the end they stop, and their data (40 MB) goes."""
    with open_engines(home, realm="emulator", idle_s=0) as engines:
        yield Servers(database_url=engines.database_url, broker_url=engines.broker_url)
    shutil.rmtree(home)


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Make a database of a name that nobody else has, and drop it, whoever is still connected."""
    name = f"runware_jobs_test_{uuid4().hex[:12]}"
    with psycopg.connect(_plain(server_url), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield make_url(_plain(server_url)).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def empty_every_table(database_url: str) -> None:
    """Remove all rows but the installation's, whose secret names are derived from."""
    tables = ", ".join(
        f"{SCHEMA}.{table.name}" for table in metadata.tables.values() if table.name != "installation"
    )
    with psycopg.connect(_plain(database_url)) as connection:
        # A test that has left a transaction open is told so, instead of hanging the next one.
        connection.execute("SET lock_timeout = '10s'")
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
