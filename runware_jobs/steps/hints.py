"""Hints: the platform has called back about a task, so it is asked about now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_jobs.store import hints

if TYPE_CHECKING:
    from uuid import UUID

    from .context import Context


async def take_hints(context: Context) -> list[UUID]:
    """Name the tasks of this process that were called back about, each call once."""
    async with context.engine.begin() as connection:
        return await hints.take_hints(connection, context.owner)
