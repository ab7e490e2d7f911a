"""What was learned of a model: how long a task takes and what one result costs.

Written with the moves that end attempts, read by claims, polls and views. A running
mean that forgets: the newest 50 samples weigh most, so that a model that became
faster is polled earlier within minutes. The row of size '' holds the price.
"""

from __future__ import annotations

from typing import Final

from .tables import SCHEMA

LEARNED_AS: Final = "COALESCE(NULLIF(job.model, ''), job.params ->> 'taskType')"
"""What the estimates of a `job` row are kept under: a task without a model is of its type,
or the price of a caption would be mixed from those of trainings and uploads."""

LEARN: Final = f"""
sample AS (
    SELECT {LEARNED_AS} AS model, size.name AS size, count(*) AS samples,
        -- It ended somewhere between the last two looks: half of that is taken off, or
        -- late polls would teach that tasks take long, and so be late for ever.
        avg(EXTRACT(EPOCH FROM attempt.finished_at - attempt.accepted_at) - COALESCE(move.unseen_s, 0) / 2) AS duration_s,
        -- Of all results: those that came with earlier answers were paid as well.
        avg(attempt.cost_usd / NULLIF(move.successes, 0)) AS cost_usd
    FROM move JOIN {SCHEMA}.attempt USING (task_uuid) JOIN {SCHEMA}.job ON job.id = move.job_id
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(ARRAY['', attempt.size]) AS name) AS size
    WHERE move.is_sample AND attempt.accepted_at IS NOT NULL
    GROUP BY 1, size.name
)
INSERT INTO {SCHEMA}.estimate AS estimate (model, size, samples, duration_s, cost_usd)
SELECT model, size, samples, duration_s, cost_usd FROM sample ORDER BY model, size
ON CONFLICT (model, size) DO UPDATE SET
    samples = LEAST(estimate.samples + excluded.samples, 50),
    duration_s = estimate.duration_s + (excluded.duration_s - estimate.duration_s)
        * excluded.samples / LEAST(estimate.samples + excluded.samples, 50),
    cost_usd = COALESCE(estimate.cost_usd + (excluded.cost_usd - estimate.cost_usd)
        * excluded.samples / LEAST(estimate.samples + excluded.samples, 50), excluded.cost_usd, estimate.cost_usd),
    updated_at = now()
"""
"""Follows a WITH that names the `move` rows."""
