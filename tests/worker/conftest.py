"""A worker's clock in this process, on the contexts of the steps' tests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from runware_jobs.worker.clock import Clock
from tests.steps.conftest import heard, workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runware_jobs.steps.context import Context

__all__ = ["heard", "workers"]


@pytest.fixture
def running() -> Callable[[Context], AsyncIterator[Clock]]:
    """Run a clock on a context: `async with running(context) as clock`; it is drained at the end."""

    @asynccontextmanager
    async def run(context):
        clock = Clock(context)
        duties = asyncio.create_task(clock.run())
        try:
            yield clock
        finally:
            clock.drain()
            await duties

    return run
