"""A worker that could not work does not start, and says why in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic.script import ScriptDirectory

from runware_jobs.store.database import alembic_config, migrate

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


WORKER = ("-m", "celery", "-A", "runware_jobs.worker", "worker", "--without-gossip")


def refusal(environment: Mapping[str, str], *, command: tuple[str, ...] = WORKER) -> str:
    """Start a worker that is to refuse, and give the line that says why."""
    ran = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]

    assert ran.returncode != 0
    assert len(lines) == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    return lines[0]


def test_empty_database_names_the_remedy(environment: dict[str, str], empty_database: str) -> None:
    said = refusal(environment | {"RUNWARE_JOBS_DATABASE_URL": empty_database})

    assert "runware-jobs migrate" in said


def test_database_that_is_behind_names_the_remedy(environment: dict[str, str], empty_database: str) -> None:
    oldest = ScriptDirectory.from_config(alembic_config()).get_base()
    assert oldest is not None
    migrate(empty_database, oldest)
    said = refusal(environment | {"RUNWARE_JOBS_DATABASE_URL": empty_database})

    assert "runware-jobs migrate" in said


@pytest.mark.parametrize("transport", ["rest", "websocket"])
def test_key_that_the_platform_refuses_starts_nothing_and_makes_no_account(
    transport: str, environment: dict[str, str], clean_database: str
) -> None:
    said = refusal(environment | {"RUNWARE_API_KEY": "bad-key", "RUNWARE_JOBS_TRANSPORT": transport})
    with psycopg.connect(clean_database) as connection:
        accounts = connection.execute("SELECT count(*) FROM runware_jobs.account").fetchone()

    assert "RUNWARE_API_KEY" in said
    assert "bad-key" not in said
    assert accounts == (0,)


def test_missing_key_of_the_real_platform_is_named(environment: dict[str, str]) -> None:
    told = {name: value for name, value in environment.items() if not name.endswith("_BASE_URL")}
    said = refusal(
        told
        | {
            "RUNWARE_JOBS_HTTP_BASE_URL": "https://api.runware.ai/v1",
            "RUNWARE_JOBS_WS_BASE_URL": "wss://ws-api.runware.ai/v1",
        }
    )

    assert "RUNWARE_API_KEY is not set" in said


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_pool_that_cannot_hold_a_loop_is_refused(pool: str, environment: dict[str, str]) -> None:
    said = refusal(environment | {"RUNWARE_JOBS_POOL": pool})

    assert "RUNWARE_JOBS_POOL" in said
    assert "'threads', 'prefork' or 'solo'" in said


def test_pool_named_on_the_command_line_is_refused_too(environment: dict[str, str]) -> None:
    # As `celery worker -P gevent`, which needs gevent before it would load our app.
    entry = "from runware_jobs.worker import app; app.worker_main(['worker', '-P', 'gevent'])"

    assert "use -P threads" in refusal(environment, command=("-c", entry))
