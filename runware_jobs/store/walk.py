"""The walk of a claim: whose turn it is, among everything that is queued and may go out.

Priority 9 first; then tenants in turn, the one served longest ago first, however many
batches or models it has; inside a tenant its buckets in turn, and in a bucket the oldest
job. What a model or a lane has no room for is left out here, before the turns are counted.
"""

from __future__ import annotations

from typing import Final

from runware_jobs.core.limits import FlowState
from runware_jobs.core.states import AttemptState, JobState

from .columns import CLAIMABLE, SCHEMA
from .estimates import LEARNED_AS

# What one model, and one lane, may still take: `room` is never more than the claim's own.
# A model that is paused for its errors lets out one job when its probe is due; while that
# is out, another only once it is given up.
_ROOMS: Final = f"""
flow_room AS (
    SELECT lane, model, CASE
        WHEN in_flight >= max_in_flight THEN 0
        WHEN state = '{FlowState.OPEN}' THEN
            GREATEST(0, LEAST(max_in_flight, floor(allowed), in_flight + :room) - in_flight)
        WHEN probe_at <= clock_timestamp() OR (state = '{FlowState.PROBING}' AND in_flight = 0) THEN 1
        ELSE 0 END AS room
    FROM {SCHEMA}.flow WHERE account_id = :account_id
),
lane_room AS (
    SELECT limited.lane, CASE WHEN limits ->> 'pause_reason' IS NOT NULL THEN 0
        ELSE GREATEST(0, LEAST(:room, CAST(limits ->> 'max_in_flight' AS integer) - used.in_flight)) END AS room
    FROM {SCHEMA}.account CROSS JOIN LATERAL jsonb_each(lane_limits) AS limited(lane, limits)
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(in_flight), 0) AS in_flight FROM {SCHEMA}.flow
        WHERE flow.account_id = account.id AND flow.lane = limited.lane) AS used
    WHERE account.id = :account_id
)"""

_DUE: Final = f"{CLAIMABLE} AND run_at <= now()"

# A party is what one tenant has for one model at one priority. Of each, so many jobs are
# looked at that a claim is filled from few long queues as well as from many short ones,
# and never more than a few times its room. A batch or tenant that was paused while
# somebody made a bucket for it is told by its own row.
CANDIDATES: Final = f"""
WITH {_ROOMS},
open_bucket AS MATERIALIZED (
    SELECT bucket.id, bucket.tenant, bucket.priority, bucket.lane, bucket.model, bucket.batch_id, last_served_at,
        max(last_served_at) OVER (PARTITION BY bucket.tenant) AS tenant_served_at,
        COALESCE(flow_room.room, :room) AS flow_room, COALESCE(lane_room.room, :room) AS lane_room
    FROM {SCHEMA}.bucket LEFT JOIN flow_room USING (lane, model) LEFT JOIN lane_room USING (lane)
    LEFT JOIN {SCHEMA}.tenant ON tenant.name = bucket.tenant
    WHERE bucket.account_id = :account_id AND bucket.state = 'open' AND tenant.state IS DISTINCT FROM 'paused'
      AND bucket.tenant <> ALL (CAST(:short_tenants AS text[]))
      AND (bucket.batch_id IS NULL OR bucket.batch_id <> ALL (CAST(:short_batches AS uuid[])))
),
head AS (
    SELECT open_bucket.*,
        row_number() OVER (party ORDER BY last_served_at NULLS FIRST, open_bucket.id) AS place,
        LEAST(count(*) OVER party, :room) AS siblings
    FROM open_bucket CROSS JOIN LATERAL (
        SELECT FROM {SCHEMA}.job WHERE bucket_id = open_bucket.id AND {_DUE} LIMIT 1) AS due
    LEFT JOIN {SCHEMA}.batch ON batch.id = open_bucket.batch_id
    WHERE flow_room > 0 AND lane_room > 0 AND batch.state IS DISTINCT FROM 'paused'
    WINDOW party AS (PARTITION BY open_bucket.priority, open_bucket.tenant, open_bucket.lane, open_bucket.model)
),
party AS (
    SELECT head.*, count(*) FILTER (WHERE place = 1) OVER () AS parties FROM head
),
candidate AS (
    SELECT due.id AS job_id, party.*,
        row_number() OVER (PARTITION BY priority, tenant
                           ORDER BY due.turn, last_served_at NULLS FIRST, party.id) AS turn
    FROM party CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY run_at, id) AS turn FROM {SCHEMA}.job
        WHERE bucket_id = party.id AND {_DUE} ORDER BY run_at, id
        LIMIT LEAST(:room, 1 + :room * :room / (2 * siblings * parties))) AS due
    WHERE place <= :room
),
in_flow AS (
    SELECT candidate.*, row_number() OVER (
        PARTITION BY lane, model ORDER BY priority DESC, turn, tenant_served_at NULLS FIRST, tenant) AS flow_place
    FROM candidate
),
in_lane AS (
    SELECT in_flow.*, row_number() OVER (
        PARTITION BY lane ORDER BY priority DESC, turn, tenant_served_at NULLS FIRST, tenant) AS lane_place
    FROM in_flow WHERE flow_place <= flow_room
),
picked AS (
    SELECT *, row_number() OVER (ORDER BY priority DESC, turn, tenant_served_at NULLS FIRST, tenant) AS rank
    FROM in_lane WHERE lane_place <= lane_room ORDER BY rank LIMIT :room
)
SELECT job.id AS job_id, job.kind, job.lane, job.model, job.size, job.tenant, job.params, job.run, job.bucket_id,
    job.batch_id, job.account_id, job.results_expected, COALESCE(sized.cost_usd, usual.cost_usd) AS price_usd,
    job.attempts + CASE WHEN prepared.task_uuid IS NULL THEN 1 ELSE 0 END AS number
FROM picked JOIN {SCHEMA}.job ON job.id = picked.job_id
LEFT JOIN {SCHEMA}.attempt AS prepared ON prepared.job_id = job.id AND prepared.run = job.run
    AND prepared.state = '{AttemptState.PREPARED}'
LEFT JOIN {SCHEMA}.estimate AS sized ON sized.model = {LEARNED_AS} AND sized.size = job.size
LEFT JOIN {SCHEMA}.estimate AS usual ON usual.model = {LEARNED_AS} AND usual.size = ''
WHERE job.state = '{JobState.QUEUED}' AND (job.deadline_at IS NULL OR job.deadline_at > now())
  -- While an account is paused this deadline stands still; see store/deadlines.py.
  AND (job.start_deadline_at IS NULL OR job.submitted_at IS NOT NULL OR job.start_deadline_at + make_interval(
       secs => (SELECT paused_s FROM {SCHEMA}.account WHERE id = :account_id) - job.paused_before_s) > now())
ORDER BY rank
FOR UPDATE OF job SKIP LOCKED
"""
