"""The account's rate: one bucket of tokens that every request to the platform is paid from.

It holds at most one token, and may owe some: who takes a token that is not there
yet is told when it will be, and comes after everybody who asked before. So requests
of all processes are spaced evenly, first come, first served, and no burst follows
an idle minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from .columns import SCHEMA, UNHURRIED

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# A turn may be used a little late, and its request travels for a while: turns that
# come slightly slower than allowed leave room for that in every window of two seconds.
PACE: Final = 0.95
TURNS_AT_ONCE_S: Final = 0.02

_HELD: Final = (
    f"LEAST(1, {{tokens}} + max_requests_per_s * {PACE} * EXTRACT(EPOCH FROM clock_timestamp() - {{since}}))"
)
_TOKENS: Final = _HELD.format(tokens="rate.tokens", since="rate.tokens_at")

# The row is made by the first request; until then the bucket fills since there is the account.
TOKENS: Final = f"""COALESCE(
    (SELECT CAST({_TOKENS} AS double precision) FROM {SCHEMA}.rate WHERE account_id = account.id),
    {_HELD.format(tokens="0", since="created_at")})"""
"""What the bucket of a row of `account` holds now, as far as is seen without a lock; negative: so many are promised."""


async def reserve_turns(connection: AsyncConnection, account_id: int) -> tuple[float, ...]:
    """Take the next turns; give for each the seconds until it comes, in order.

    One turn where the rate is scarce, a few hundredths of a second's worth where it is not.
    """
    row = (await connection.execute(text(_RESERVE), {"account_id": account_id})).one_or_none()
    if row is None:
        await _begin(connection, account_id)
        row = (await connection.execute(text(_RESERVE), {"account_id": account_id})).one()
    return tuple(max(0.0, (turn - row.tokens) / row.rate) for turn in range(1 - row.turns, 1))


async def pay(connection: AsyncConnection, account_id: int) -> bool:
    """Pay one request with a token that is there; False: there is none, and it needs a turn.

    The last thing a transaction does: until its commit everybody else waits for a turn.
    """
    values = {"account_id": account_id}
    if (await connection.execute(text(_PAY), values)).rowcount > 0:
        return True
    return (
        await _begin(connection, account_id) and (await connection.execute(text(_PAY), values)).rowcount > 0
    )


async def _begin(connection: AsyncConnection, account_id: int) -> bool:
    return (await connection.execute(text(_BEGIN), {"account_id": account_id})).rowcount > 0


_TURNS: Final = f"LEAST(100, GREATEST(1, floor(max_requests_per_s * {TURNS_AT_ONCE_S})))"

# What is left may be negative; a turn has come when the tokens after it reach zero. One that
# a crash of the server forgets has been used long before it is back: the commit need not wait.
_RESERVE: Final = f"""
UPDATE {SCHEMA}.rate SET tokens = {_TOKENS} - {_TURNS}, tokens_at = clock_timestamp()
FROM {SCHEMA}.account WHERE rate.account_id = :account_id AND account.id = rate.account_id AND {UNHURRIED}
RETURNING CAST(rate.tokens AS double precision) AS tokens, max_requests_per_s * {PACE} AS rate,
    CAST({_TURNS} AS integer) AS turns
"""

_PAY: Final = f"""
UPDATE {SCHEMA}.rate SET tokens = {_TOKENS} - 1, tokens_at = clock_timestamp()
FROM {SCHEMA}.account WHERE rate.account_id = :account_id AND account.id = rate.account_id AND {_TOKENS} >= 1
"""

_BEGIN: Final = f"""
INSERT INTO {SCHEMA}.rate (account_id, tokens_at) SELECT id, created_at FROM {SCHEMA}.account WHERE id = :account_id
ON CONFLICT DO NOTHING
"""
