"""Open what a worker works with, for one command that asks the platform itself."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from .opening import open_services
from .terminal import FAILED, complain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runware_jobs.steps.context import Context

_REACHED_WITHIN_S: Final = 20.0


def with_platform(work: Callable[[Context], Awaitable[int]]) -> int:
    """Give `work` a registered process that claims nothing; return its exit code.

    Raises:
        SettingsError, DatabaseBehind, EmbeddedError: before `work` is called.
    """
    from runware_jobs.assembly import open_worker  # noqa: PLC0415  the queue is loaded by commands that use it
    from runware_jobs.logs import configure_logs  # noqa: PLC0415  the same

    # To stderr: what a machine reads is on stdout alone.
    configure_logs(logging.WARNING)
    settings, services = open_services()

    async def run() -> int:
        opening = open_worker(
            settings,
            services,
            signals=[],
            receivers=lambda _: (),
            publish_link=_nobody_hears,
            keeps_limits=True,
        )
        try:
            async with asyncio.timeout(_REACHED_WITHIN_S):
                context = await opening.__aenter__()
        except TimeoutError:
            complain(f"The platform at {settings.http_base_url} does not answer. See: runware-jobs doctor")
            return FAILED
        code = FAILED
        try:
            code = await work(context)
        finally:
            await opening.__aexit__(None, None, None)
        return code

    return asyncio.run(run())


def _nobody_hears(*_: Any) -> None:
    """Links leave from workers: this process sends none."""
