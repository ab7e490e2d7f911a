"""What a forecast is made from: learned prices and durations, an account's limits, what it may still spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.forecast import Learned, Sort
from runware_jobs.core.states import Lane

from .columns import SPENT_TODAY
from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRoom:
    """The account that a producer's jobs would be of, as it stands now.

    `left_today_usd` None: it has no daily limit. `queued` are jobs before these.
    """

    max_in_flight: int
    max_requests_per_s: float
    left_today_usd: Decimal | None
    queued: int
    by_lane: Mapping[Lane, int]
    by_model: Mapping[tuple[Lane, str], int]


async def read_learned(connection: AsyncConnection, sorts: Iterable[Sort]) -> dict[Sort, Learned]:
    """Read what was learned of each sort; of its model, where its size is new."""
    wanted = list(dict.fromkeys(sorts))
    rows = await connection.execute(
        text(_LEARNED),
        {"wanted": as_json([{"model": sort.learned_as, "size": sort.size} for sort in wanted])},
    )
    known = {(row.model, row.size): Learned(row.cost_usd, row.duration_s) for row in rows}
    return {sort: known.get((sort.learned_as, sort.size), Learned()) for sort in wanted}


async def read_room(connection: AsyncConnection, *, base_url: str | None) -> AccountRoom | None:
    """Read the limits of the current account at `base_url` (None: of whichever a worker serves).

    None: no worker has ever come, so nobody has set any.
    """
    row = (await connection.execute(text(_ACCOUNT), {"base_url": base_url})).mappings().one_or_none()
    if row is None:
        return None
    flows = await connection.execute(text(_FLOWS), {"account_id": row["id"]})
    lanes = row["lane_limits"]
    return AccountRoom(
        max_in_flight=row["max_in_flight"],
        max_requests_per_s=row["max_requests_per_s"],
        left_today_usd=row["left_today_usd"],
        queued=row["queued"],
        by_lane={
            Lane(name): int(limits["max_in_flight"])
            for name, limits in lanes.items()
            if limits.get("max_in_flight") is not None
        },
        by_model={(Lane(flow.lane), flow.model): flow.room for flow in flows},
    )


_LEARNED: Final = f"""
SELECT wanted.model, wanted.size, COALESCE(sized.cost_usd, usual.cost_usd) AS cost_usd,
    COALESCE(sized.duration_s, usual.duration_s) AS duration_s
FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted(model text, size text)
LEFT JOIN {SCHEMA}.estimate AS sized ON sized.model = wanted.model AND sized.size = wanted.size
LEFT JOIN {SCHEMA}.estimate AS usual ON usual.model = wanted.model AND usual.size = ''
"""

# Whose a producer's jobs would be, as store.accounts.PRODUCERS_ACCOUNT says it; nothing is made here.
_ACCOUNT: Final = f"""
SELECT id, max_in_flight, max_requests_per_s, lane_limits,
    daily_limit_usd - held_usd - {SPENT_TODAY} AS left_today_usd,
    (SELECT count(*) FROM {SCHEMA}.job WHERE job.account_id = account.id AND job.state = 'queued') AS queued
FROM {SCHEMA}.account
WHERE is_current AND organisation IS NOT NULL
  AND (CAST(:base_url AS text) IS NULL OR base_url = :base_url)
ORDER BY EXISTS (SELECT FROM {SCHEMA}.process
                 WHERE process.account_id = account.id AND stopped_at IS NULL) DESC, created_at DESC LIMIT 1
"""

_FLOWS: Final = f"""
SELECT lane, model, CAST(LEAST(max_in_flight, GREATEST(1, floor(allowed))) AS integer) AS room
FROM {SCHEMA}.flow WHERE account_id = :account_id AND (max_in_flight IS NOT NULL OR allowed IS NOT NULL)
"""
