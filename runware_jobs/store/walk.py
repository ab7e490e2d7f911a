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

# A line is what one tenant has at one priority. Lines are looked through in the order of
# their turns, and no longer than until twice a claim's jobs have been found: what is left
# was served less long ago, and is first at the next claim. So a claim's cost grows with the
# jobs it takes, not with the buckets that have some. Of each line so many buckets are looked
# at (`width`), and of each bucket so many jobs (`depth`), that few long queues fill a claim
# as well as many short ones. A claim that limits cut short looks again, with `wide`.
# A batch or tenant that was paused while somebody made a bucket for it is told by its own row.
CANDIDATES: Final = f"""
WITH {_ROOMS},
open_bucket AS (
    -- Turns need an order, not an alphabet: that of bytes is the cheapest.
    SELECT bucket.id, bucket.tenant COLLATE "C" AS tenant, bucket.priority, last_served_at
    FROM {SCHEMA}.bucket LEFT JOIN flow_room USING (lane, model) LEFT JOIN lane_room USING (lane)
    LEFT JOIN {SCHEMA}.tenant ON tenant.name = bucket.tenant
    WHERE bucket.account_id = :account_id AND bucket.state = 'open' AND tenant.state IS DISTINCT FROM 'paused'
      AND COALESCE(flow_room.room, 1) > 0 AND COALESCE(lane_room.room, 1) > 0
      AND bucket.tenant <> ALL (CAST(:short_tenants AS text[]))
      AND (bucket.batch_id IS NULL OR bucket.batch_id <> ALL (CAST(:short_batches AS uuid[])))
),
line AS MATERIALIZED (
    SELECT priority, tenant, array_agg(id ORDER BY last_served_at NULLS FIRST, id) AS bucket_ids,
        max(max(last_served_at)) OVER (PARTITION BY tenant) AS tenant_served_at,
        CASE WHEN :wide THEN :room ELSE GREATEST(1, 2 * :room / count(*) OVER ()) END AS width
    FROM open_bucket GROUP BY tenant, priority
    ORDER BY priority DESC, tenant_served_at NULLS FIRST, tenant
),
head AS MATERIALIZED (
    SELECT line.priority, line.tenant, tenant_served_at, first.id,
        CASE WHEN cardinality(bucket_ids) > width THEN width END AS width
    FROM line CROSS JOIN LATERAL (
        SELECT waiting.id FROM unnest(bucket_ids) AS waiting(id) CROSS JOIN LATERAL (
            -- In the index' order, or the planner may prefer to read the whole table for one row.
            SELECT batch_id FROM {SCHEMA}.job WHERE bucket_id = waiting.id AND {_DUE}
            ORDER BY run_at, id LIMIT 1) AS due
        WHERE due.batch_id IS NULL OR (SELECT state FROM {SCHEMA}.batch WHERE id = due.batch_id) <> 'paused'
        LIMIT width) AS first
    LIMIT 2 * :room
),
share AS MATERIALIZED (
    SELECT priority, tenant, tenant_served_at, id, COALESCE(siblings >= width, false) AS is_cut, CASE WHEN tenants >= :room THEN 1
        ELSE LEAST(:room, 1 + :room * :room / (2 * siblings * tenants)) END AS depth
    FROM (
        SELECT *, count(*) FILTER (WHERE place = 1) OVER (PARTITION BY priority) AS tenants
        FROM (
            SELECT *, count(*) OVER line AS siblings, row_number() OVER line AS place
            FROM head WINDOW line AS (PARTITION BY priority, tenant)) AS placed
    ) AS counted
),
candidate AS MATERIALIZED (
    SELECT due.id AS job_id, share.priority, share.tenant, tenant_served_at, lane, model,
        COALESCE(flow_room.room, :room) AS flow_room, COALESCE(lane_room.room, :room) AS lane_room,
        is_cut OR due.place >= depth AS is_cut,
        row_number() OVER (PARTITION BY share.priority, share.tenant
                           ORDER BY due.place, last_served_at NULLS FIRST, share.id) AS turn
    FROM share JOIN {SCHEMA}.bucket ON bucket.id = share.id
    LEFT JOIN flow_room USING (lane, model) LEFT JOIN lane_room USING (lane)
    CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY run_at, id) AS place FROM {SCHEMA}.job
        WHERE bucket_id = share.id AND {_DUE} ORDER BY run_at, id LIMIT depth) AS due
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
SELECT (SELECT count(*) >= 2 * :room FROM head) OR (SELECT bool_or(is_cut) FROM candidate) AS is_cut,
    job.id AS job_id, job.kind, job.lane, job.model, job.size, job.tenant, job.params, job.run, job.bucket_id,
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
