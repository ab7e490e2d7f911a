"""Expecting: what this process knows of how long tasks take, read from what all have learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runware_jobs.store.estimates import read_expected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from runware_jobs.store.estimates import LearnedAs

    from .context import Context


async def learn_of(context: Context, connection: AsyncConnection, kinds: Iterable[LearnedAs]) -> None:
    """Read what was learned of kinds of tasks that this process has not looked up yet."""
    new = set(kinds) - context.expected.keys()
    if new:
        context.expected.update(await read_expected(connection, new))


async def learn_again(context: Context, kinds: set[LearnedAs]) -> None:
    """Read anew what was learned of these kinds, and forget all others."""
    async with context.engine.connect() as connection:
        known = await read_expected(connection, kinds)
    context.expected.clear()
    context.expected.update(known)
