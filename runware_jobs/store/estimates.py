"""What was learned of a model: how long a task takes and what one result costs.

Written with the moves that end attempts, read by claims, polls and views. All of it
forgets: the newest 50 samples weigh most, so that a model that became faster is
polled earlier within minutes. The row of size '' is of all sizes, and holds the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from runware_jobs.core.schedule import Expected

from .plans import as_json
from .tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    LearnedAs = tuple[str, str]

LEARNED_AS: Final = "COALESCE(NULLIF(job.model, ''), job.params ->> 'taskType')"
"""What the estimates of a `job` row are kept under: a task without a model is of its type,
or the price of a caption would be mixed from those of trainings and uploads."""


async def read_expected(
    connection: AsyncConnection, wanted: Iterable[LearnedAs]
) -> dict[LearnedAs, Expected]:
    """Read how long tasks take, by model and size; of the model where its size is new.

    What is missing from the answer was never seen.
    """
    rows = await connection.execute(
        text(_EXPECTED),
        {"wanted": as_json([{"model": model, "size": size} for model, size in wanted])},
    )
    return {(row.model, row.size): Expected(row.duration_s, row.late_s) for row in rows}


# One sample says nothing of how far they scatter.
_EXPECTED: Final = f"""
SELECT wanted.model, wanted.size, known.duration_s,
    GREATEST(COALESCE(known.late_s, known.duration_s * 1.5), known.duration_s) AS late_s
FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted(model text, size text)
CROSS JOIN LATERAL (
    SELECT duration_s, late_s FROM {SCHEMA}.estimate
    WHERE model = wanted.model AND size IN (wanted.size, '')
    ORDER BY size DESC LIMIT 1) AS known
"""

LEARN: Final = f"""
ended AS (
    SELECT {LEARNED_AS} AS model, attempt.size,
        -- It ended somewhere between the last two looks: half of that is taken off, or
        -- late polls would teach that tasks take long, and so be late for ever.
        EXTRACT(EPOCH FROM attempt.finished_at - attempt.accepted_at) - COALESCE(move.unseen_s, 0) / 2 AS took_s,
        -- Of all results: those that came with earlier answers were paid as well.
        attempt.cost_usd / NULLIF(move.successes, 0) AS cost_usd
    FROM move JOIN {SCHEMA}.attempt USING (task_uuid) JOIN {SCHEMA}.job ON job.id = move.job_id
    WHERE move.is_sample AND attempt.accepted_at IS NOT NULL
),
sample AS (
    SELECT ended.model, size.name AS size, known.duration_s AS known_s,
        -- A straggler moves the middle no further than a slow task does.
        LEAST(ended.took_s, 3 * known.duration_s) AS took_s, ended.cost_usd
    FROM ended CROSS JOIN LATERAL (SELECT DISTINCT unnest(ARRAY['', ended.size]) AS name) AS size
    LEFT JOIN {SCHEMA}.estimate AS known ON known.model = ended.model AND known.size = size.name
),
middle AS (
    SELECT model, size, count(*) AS samples,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS duration_s, avg(cost_usd) AS cost_usd
    FROM sample GROUP BY model, size
),
-- Whoever ends after the middle does so by something; twice the mean of that is where
-- about 19 of 20 have ended, for even as for long-tailed durations. Unlike a count of
-- those beyond a mark it can be told from single samples.
learned AS (
    SELECT middle.*, (
        SELECT avg(2 * took_s - COALESCE(known_s, middle.duration_s)) FROM sample
        WHERE sample.model = middle.model AND sample.size = middle.size
          AND took_s > COALESCE(known_s, middle.duration_s)) AS late_s
    FROM middle
)
INSERT INTO {SCHEMA}.estimate AS estimate (model, size, samples, duration_s, late_s, cost_usd)
SELECT model, size, samples, duration_s, late_s, cost_usd FROM learned ORDER BY model, size
ON CONFLICT (model, size) DO UPDATE SET
    samples = LEAST(estimate.samples + excluded.samples, 50),
    duration_s = estimate.duration_s + (excluded.duration_s - estimate.duration_s)
        * excluded.samples / LEAST(estimate.samples + excluded.samples, 50),
    late_s = CASE WHEN excluded.late_s IS NULL THEN estimate.late_s ELSE
        COALESCE(estimate.late_s + (excluded.late_s - estimate.late_s)
            * excluded.samples / LEAST(estimate.samples + excluded.samples, 50), excluded.late_s) END,
    cost_usd = COALESCE(estimate.cost_usd + (excluded.cost_usd - estimate.cost_usd)
        * excluded.samples / LEAST(estimate.samples + excluded.samples, 50), excluded.cost_usd, estimate.cost_usd),
    updated_at = now()
"""
"""Follows a WITH that names the `move` rows."""
