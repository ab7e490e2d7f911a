"""Accounts and the installation: whom we work for, with what limits, and our own secret."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, text

from .columns import SPENT_TODAY
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an account may use at once, over all its workers; None lifts the daily brake."""

    max_in_flight: int
    max_requests_per_s: float
    daily_limit_usd: Decimal | None


def ensure_installation(connection: Connection) -> None:
    """Make the installation's secret, once; the first one stays for ever."""
    connection.execute(
        text(f"INSERT INTO {SCHEMA}.installation (secret) VALUES (:secret) ON CONFLICT DO NOTHING"),
        {"secret": secrets.token_bytes(32)},
    )


async def installation_secret(connection: AsyncConnection) -> bytes:
    """Read the secret that task UUIDs derive from."""
    row = await connection.execute(text(f"SELECT secret FROM {SCHEMA}.installation"))
    return bytes(row.scalar_one())


async def confirm_account(
    connection: AsyncConnection,
    *,
    base_url: str,
    organisation: str,
    limits: Limits,
    key_name: str | None = None,
    keeps_limits: bool = False,
) -> int:
    """Find or make the account of a process that knows who it is, and set its limits.

    Jobs that were enqueued before any worker had come hang on a placeholder without
    an organisation: the first worker makes it its own. Another organisation at the
    same base URL is another account; new jobs then go to the newest. `key_name` is what
    its key is called while it may not ask for its organisation: an account of that name
    is the organisation's from now on, unless that has one already. `keeps_limits`: an
    account that is there goes on with those of its workers.
    """
    values = {
        "base_url": base_url,
        "organisation": organisation,
        "key_name": key_name,
        "max_in_flight": limits.max_in_flight,
        "max_requests_per_s": limits.max_requests_per_s,
        "daily_limit_usd": limits.daily_limit_usd,
        "keeps_limits": keeps_limits,
    }
    # One worker at a time: the partial unique index allows one current account only.
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:base_url, 7))"), values)
    for statement in _CONFIRM:
        await connection.execute(text(statement), values)
    return int((await connection.execute(text(_ACCOUNT_ID), values)).scalar_one())


async def read_accounts(connection: AsyncConnection) -> list[dict[str, Any]]:
    """List the accounts with what is queued, in flight, unclear and spent."""
    rows = await connection.execute(text(_ACCOUNTS))
    return [dict(row) for row in rows.mappings()]


PRODUCERS_ACCOUNT: Final = f"""
known_account AS (
    SELECT id FROM {SCHEMA}.account
    WHERE is_current AND (CAST(:base_url AS text) IS NULL OR base_url = :base_url)
    -- A light producer knows no base URL: the account that somebody works for comes
    -- first, then the newest that a worker ever had, then a placeholder.
    ORDER BY EXISTS (SELECT FROM {SCHEMA}.process
                     WHERE process.account_id = account.id AND stopped_at IS NULL) DESC,
        organisation IS NULL, created_at DESC LIMIT 1
),
new_account AS (
    INSERT INTO {SCHEMA}.account (base_url)
    SELECT COALESCE(CAST(:base_url AS text), :fallback_url) WHERE NOT EXISTS (SELECT FROM known_account)
    ON CONFLICT DO NOTHING RETURNING id
),
account AS (SELECT id FROM known_account UNION ALL SELECT id FROM new_account)"""
"""The CTE `account`: whose a producer's rows are; made as a placeholder when there is none."""

_CONFIRM: Final[Sequence[str]] = (
    # The key was given the permission to read its account: it is the same one as before.
    f"""
    UPDATE {SCHEMA}.account SET organisation = :organisation
    WHERE base_url = :base_url AND organisation = CAST(:key_name AS text) AND NOT EXISTS (
        SELECT FROM {SCHEMA}.account WHERE base_url = :base_url AND organisation = :organisation)""",
    # A producer may be making the placeholder in a transaction that is still open:
    # this waits for it, and the next statement sees its row.
    f"""
    INSERT INTO {SCHEMA}.account (base_url)
    SELECT :base_url WHERE NOT EXISTS (SELECT FROM {SCHEMA}.account WHERE base_url = :base_url AND is_current)
    ON CONFLICT DO NOTHING""",
    f"""
    UPDATE {SCHEMA}.account SET organisation = :organisation
    WHERE base_url = :base_url AND organisation IS NULL AND NOT EXISTS (
        SELECT FROM {SCHEMA}.account WHERE base_url = :base_url AND organisation = :organisation)""",
    f"""
    UPDATE {SCHEMA}.account SET is_current = false
    WHERE base_url = :base_url AND is_current AND organisation IS DISTINCT FROM :organisation""",
    f"""
    INSERT INTO {SCHEMA}.account AS account
        (base_url, organisation, max_in_flight, max_requests_per_s, daily_limit_usd)
    VALUES (:base_url, :organisation, :max_in_flight, :max_requests_per_s, :daily_limit_usd)
    ON CONFLICT ON CONSTRAINT account_identity_key DO UPDATE SET is_current = true,
        (max_in_flight, max_requests_per_s, daily_limit_usd) = (
            SELECT kept.max_in_flight, kept.max_requests_per_s, kept.daily_limit_usd
            FROM (VALUES (true, account.max_in_flight, account.max_requests_per_s, account.daily_limit_usd),
                (false, excluded.max_in_flight, excluded.max_requests_per_s, excluded.daily_limit_usd)
            ) AS kept(is_kept, max_in_flight, max_requests_per_s, daily_limit_usd)
            WHERE kept.is_kept = CAST(:keeps_limits AS boolean))""",
)

_ACCOUNT_ID: Final = (
    f"SELECT id FROM {SCHEMA}.account WHERE base_url = :base_url AND organisation = :organisation"
)

_ACCOUNTS: Final = f"""
SELECT account.id, base_url, organisation, is_current, account.state, pause_reason, pause_kind,
    CASE account.state WHEN 'paused' THEN paused_at END AS paused_at,
    CASE account.state WHEN 'paused' THEN probe_at END AS probe_at, in_flight,
    max_in_flight, max_requests_per_s, daily_limit_usd, held_usd,
    {SPENT_TODAY} AS spent_today_usd,
    (SELECT count(*) FROM {SCHEMA}.job WHERE job.account_id = account.id AND job.state = 'queued') AS queued,
    (SELECT count(*) FROM {SCHEMA}.attempt
     WHERE attempt.account_id = account.id AND attempt.state = 'unclear') AS unclear
FROM {SCHEMA}.account ORDER BY is_current DESC, id
"""
