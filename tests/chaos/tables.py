"""What of our tables is compared with the ledger, by the names of `Books`."""

from __future__ import annotations

TABLES = {
    "jobs": "SELECT id::text, state, run, seq, billing, cost_usd, error, batch_id::text, kind FROM job",
    "attempts": "SELECT task_uuid::text, job_id::text, run, number, state, outcome, cost_usd, settlement, error,"
    " resent_at, submitted_at, accepted_at, finished_at FROM attempt",
    "results": "SELECT task_uuid::text, key, state, item, cost_usd FROM result",
    "events": "SELECT job_id::text, type, seq, run, data, created_at FROM event",
    "counters": """
        SELECT 'in_flight of account ' || id AS name, in_flight::numeric AS value FROM account
        UNION ALL SELECT 'held_usd of account ' || id, held_usd FROM account
        UNION ALL SELECT 'in_flight of bucket ' || id, in_flight FROM bucket
        UNION ALL SELECT 'in_flight of flow ' || model, in_flight FROM flow
        UNION ALL SELECT 'held_usd of batch ' || id, held_usd FROM batch
        UNION ALL SELECT 'held_usd of tenant ' || name, held_usd FROM tenant
        UNION ALL SELECT 'number of rows in the outbox for ' || sink, count(*) FROM outbox GROUP BY sink
        UNION ALL SELECT 'number of sealed batches without an end', count(*) FROM batch
            WHERE sealed_at IS NOT NULL AND finished_at IS NULL
        UNION ALL SELECT 'spent_usd, less its attempts'' cost, of account ' || account.id, spent_usd - COALESCE(
            (SELECT sum(CASE outcome WHEN 'lost' THEN GREATEST(cost_usd, hold_usd) ELSE cost_usd END)
             FROM attempt WHERE account_id = account.id), 0) FROM account
            WHERE spend_day = CURRENT_DATE AND created_at >= CURRENT_DATE
        UNION ALL SELECT 'spent_usd, less its attempts'' cost, of batch ' || batch.id, spent_usd - COALESCE(
            (SELECT sum(CASE outcome WHEN 'lost' THEN GREATEST(attempt.cost_usd, hold_usd) ELSE attempt.cost_usd END)
             FROM attempt JOIN job ON job.id = job_id WHERE job.batch_id = batch.id), 0) FROM batch""",
}
