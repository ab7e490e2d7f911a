"""Connections for tests of the store: each test commits, so that others see what a worker would see."""

from __future__ import annotations

import pytest

from tests.support.queued import register_worker


@pytest.fixture
async def owner(engine):
    """One registered worker without limits."""
    async with engine.begin() as connection:
        return await register_worker(connection)
