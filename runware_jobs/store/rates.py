"""The account's rate: one bucket of tokens that every request to the platform is paid from.

It holds at most one token, and may owe some: who takes a token that is not there
yet is told when it will be, and comes after everybody who asked before. So requests
of all processes are spaced evenly, first come, first served, and no burst follows
an idle minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from .tables import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A turn may be used a little late, and its request travels for a while: turns that
# come slightly slower than allowed leave room for that in every window of two seconds.
PACE: Final = 0.95
TURNS_AT_ONCE_S: Final = 0.02

TOKENS: Final = f"""LEAST(1, tokens + max_requests_per_s * {PACE}
    * EXTRACT(EPOCH FROM clock_timestamp() - tokens_at))"""
"""What the bucket of a locked `account` row holds now; negative: so many are promised already."""


async def reserve_turns(connection: AsyncConnection, account_id: int) -> tuple[float, ...]:
    """Take the next turns; give for each the seconds until it comes, in order.

    One turn where the rate is scarce, a few hundredths of a second's worth where it is not.
    """
    # A turn that a crash of the server forgets has been used long before it is back.
    await connection.execute(text("SET LOCAL synchronous_commit TO off"))
    row = (await connection.execute(text(_RESERVE), {"account_id": account_id})).one()
    return tuple(max(0.0, (turn - row.tokens) / row.rate) for turn in range(1 - row.turns, 1))


_TURNS: Final = f"LEAST(100, GREATEST(1, floor(max_requests_per_s * {TURNS_AT_ONCE_S})))"

# What is left may be negative; a turn has come when the tokens after it reach zero.
_RESERVE: Final = f"""
UPDATE {SCHEMA}.account SET tokens = {TOKENS} - {_TURNS}, tokens_at = clock_timestamp()
WHERE id = :account_id
RETURNING CAST(tokens AS double precision) AS tokens, max_requests_per_s * {PACE} AS rate,
    CAST({_TURNS} AS integer) AS turns
"""
