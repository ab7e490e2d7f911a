"""The whole system under one set of settings, for the tests that run it as processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runware_jobs import Jobs, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.emulator_process import EmulatorProcess
    from tests.support.servers import Servers


@pytest.fixture
def environment(
    clean_database: str, services: Servers, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What every process of the system under test is told; short leases, so that a kill is seen soon."""
    values = {
        "RUNWARE_JOBS_DATABASE_URL": clean_database,
        "RUNWARE_JOBS_BROKER_URL": services.broker_url,
        "RUNWARE_JOBS_HTTP_BASE_URL": emulator.http_base_url,
        "RUNWARE_JOBS_WS_BASE_URL": emulator.ws_base_url,
        "RUNWARE_JOBS_SECRET_KEY": "a key that only tests use",
        "RUNWARE_JOBS_ALLOW_PRIVATE_WEBHOOKS": "true",
        "RUNWARE_JOBS_LEASE_S": "4",
        "RUNWARE_JOBS_SEND_WINDOW_S": "0.5",
        "RUNWARE_JOBS_REQUEST_TIMEOUT_S": "1",
        "RUNWARE_JOBS_RECONCILE_GRACE_S": "0.5",
        "RUNWARE_JOBS_POLL_MIN_INTERVAL_S": "0.2",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def jobs(environment: dict[str, str]) -> Iterator[Jobs]:
    """A producer of the same system."""
    with Jobs(Settings()) as opened:
        yield opened
