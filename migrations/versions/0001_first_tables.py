"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=True),
        sa.Column("is_current", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("in_flight", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), server_default=sa.text("16"), nullable=False),
        sa.Column("max_requests_per_s", sa.Double(), server_default=sa.text("5"), nullable=False),
        sa.Column(
            "lane_limits",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("tokens", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "tokens_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("daily_limit_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("spend_day", sa.Date(), server_default=sa.text("CURRENT_DATE"), nullable=False),
        sa.Column(
            "spent_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("held_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "(state = 'paused') = (pause_reason IS NOT NULL)", name=op.f("account_pause_check")
        ),
        sa.CheckConstraint("state IN ('open', 'paused')", name=op.f("account_state_check")),
        sa.CheckConstraint("in_flight >= 0", name=op.f("account_in_flight_check")),
        sa.CheckConstraint("max_in_flight > 0 AND max_requests_per_s > 0", name=op.f("account_limits_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("account_pkey")),
        sa.UniqueConstraint(
            "base_url", "organisation", name="account_identity_key", postgresql_nulls_not_distinct=True
        ),
        schema="runware_jobs",
        comment="Whom we work for: a base URL and an organisation, with its limits and its spend.",
    )
    op.create_index(
        "account_current_idx",
        "account",
        ["base_url"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("is_current"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scopes <@ ARRAY['enqueue', 'read', 'admin'] AND cardinality(scopes) > 0",
            name=op.f("api_key_scopes_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("key_hash", name=op.f("api_key_key_hash_key")),
        schema="runware_jobs",
        comment="Keys of our own HTTP API, hashed.",
    )
    op.create_table(
        "batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("budget_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column(
            "spent_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("held_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("sealed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name=op.f("batch_pause_check")),
        sa.CheckConstraint("state IN ('open', 'paused', 'canceled')", name=op.f("batch_state_check")),
        sa.CheckConstraint("budget_usd IS NULL OR budget_usd > 0", name=op.f("batch_budget_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("batch_pkey")),
        schema="runware_jobs",
        comment="Jobs that were enqueued together, with one budget.",
    )
    op.create_index(
        "batch_tenant_idx", "batch", ["tenant", "created_at"], unique=False, schema="runware_jobs"
    )
    op.create_table(
        "endpoint",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("events", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("secrets", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("rotated_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("cardinality(secrets) BETWEEN 1 AND 3", name=op.f("endpoint_secrets_check")),
        sa.CheckConstraint("is_enabled OR disabled_reason IS NOT NULL", name=op.f("endpoint_disabled_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("endpoint_pkey")),
        schema="runware_jobs",
        comment="Where webhooks go, and the encrypted secrets that sign them.",
    )
    op.create_index(
        "endpoint_default_idx",
        "endpoint",
        ["tenant"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("url IS NULL"),
    )
    op.create_index(
        "endpoint_tenant_idx",
        "endpoint",
        ["tenant"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("is_enabled AND url IS NOT NULL"),
    )
    op.create_table(
        "estimate",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column(
            "updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("model", "size", name=op.f("estimate_pkey")),
        schema="runware_jobs",
        comment="What was learned of a model and size: when to poll, what to hold.",
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("run", sa.SmallInteger(), nullable=True),
        sa.Column("seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", "created_at", name=op.f("event_pkey")),
        schema="runware_jobs",
        comment="What happened, written in the transaction of the move. Partitioned by month.",
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index("event_job_idx", "event", ["job_id", "seq"], unique=False, schema="runware_jobs")
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint("id = 1", name=op.f("installation_single_row_check")),
        sa.CheckConstraint("octet_length(secret) = 32", name=op.f("installation_secret_length_check")),
        sa.PrimaryKeyConstraint("id", name=op.f("installation_pkey")),
        schema="runware_jobs",
        comment="One row: the secret that names are derived from.",
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "due_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("is_dead", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint(
            "sink <> 'webhook' OR endpoint_id IS NOT NULL", name=op.f("outbox_webhook_is_signed_check")
        ),
        sa.CheckConstraint(
            "sink IN ('webhook', 'link', 'signal', 'archive')", name=op.f("outbox_sink_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_pkey")),
        schema="runware_jobs",
        comment="What has to leave because of an event, one row per sink; deleted when done.",
    )
    op.create_index(
        "outbox_due_idx",
        "outbox",
        ["sink", "due_at"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("NOT is_dead"),
    )
    op.create_index("outbox_job_idx", "outbox", ["job_id", "sink", "id"], unique=False, schema="runware_jobs")
    op.create_table(
        "tenant",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("budget_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column(
            "spent_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("held_usd", sa.Numeric(precision=14, scale=6), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("tenant_pkey")),
        schema="runware_jobs",
        comment="Tenants that something is set for; a job may name any other.",
    )
    op.create_table(
        "tombstone",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key_kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("final_state", sa.Text(), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "key_kind IN ('idempotency_key', 'external_id', 'alias')", name=op.f("tombstone_key_kind_check")
        ),
        sa.PrimaryKeyConstraint("tenant", "key_kind", "key", name=op.f("tombstone_pkey")),
        schema="runware_jobs",
        comment="A key whose job was pruned: a replay is told so and never runs again.",
    )
    op.create_table(
        "bucket",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("in_flight", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("last_served_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "(state = 'paused') = (pause_reason IS NOT NULL)", name=op.f("bucket_pause_check")
        ),
        sa.CheckConstraint(
            "lane IN ('image', 'video', 'audio', 'text', '3d', 'training', 'upload')",
            name=op.f("bucket_lane_check"),
        ),
        sa.CheckConstraint("state IN ('open', 'paused')", name=op.f("bucket_state_check")),
        sa.CheckConstraint("in_flight >= 0", name=op.f("bucket_in_flight_check")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("bucket_priority_check")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["runware_jobs.account.id"], name=op.f("bucket_account_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["runware_jobs.batch.id"], name=op.f("bucket_batch_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("bucket_pkey")),
        sa.UniqueConstraint(
            "account_id",
            "lane",
            "model",
            "tenant",
            "batch_id",
            "priority",
            name="bucket_identity_key",
            postgresql_nulls_not_distinct=True,
        ),
        schema="runware_jobs",
        comment="What queued jobs hang on: pauses, limits and turns touch this row, never the jobs.",
    )
    op.create_index(
        "bucket_batch_idx",
        "bucket",
        ["batch_id"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "bucket_walk_idx",
        "bucket",
        ["account_id", "priority", "last_served_at"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("event_created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("status_code", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("next_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('delivered', 'failed', 'dead')", name=op.f("delivery_state_check")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["runware_jobs.endpoint.id"],
            name=op.f("delivery_endpoint_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("delivery_pkey")),
        schema="runware_jobs",
        comment="One try to deliver a webhook: when, how long, what was answered.",
    )
    op.create_index(
        "delivery_endpoint_idx",
        "delivery",
        ["endpoint_id", "created_at"],
        unique=False,
        schema="runware_jobs",
    )
    op.create_index(
        "delivery_tenant_idx", "delivery", ["tenant", "created_at"], unique=False, schema="runware_jobs"
    )
    op.create_table(
        "input",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_uuid", sa.Text(), nullable=True),
        sa.Column("uploaded_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "octet_length(sha256) = 32 AND size_bytes = octet_length(content)",
            name=op.f("input_content_check"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["runware_jobs.account.id"], name=op.f("input_account_id_fkey")
        ),
        sa.PrimaryKeyConstraint("account_id", "tenant", "sha256", name=op.f("input_pkey")),
        schema="runware_jobs",
        comment="A large input, stored once by content hash and uploaded once.",
    )
    op.create_table(
        "process",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("is_clock", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("signals", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("archives", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "started_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "heartbeat_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("stopped_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["runware_jobs.account.id"], name=op.f("process_account_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("process_pkey")),
        schema="runware_jobs",
        comment="One lease per process: a heartbeat, and an epoch that guards every move.",
    )
    op.create_index(
        "process_alive_idx",
        "process",
        ["heartbeat_at"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("stopped_at IS NULL"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("bucket_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("custom_id", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("run", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), nullable=False),
        sa.Column("times_busy", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("results_expected", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("on_partial", sa.Text(), server_default=sa.text("'succeed'"), nullable=False),
        sa.Column("progress", sa.SmallInteger(), nullable=True),
        sa.Column("billing", sa.Text(), server_default=sa.text("'none'"), nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("alias", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("link", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("link_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("canvas", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "run_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("start_deadline_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deadline_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("eta_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("submitted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)",
            name=op.f("job_finished_check"),
        ),
        sa.CheckConstraint(
            "billing IN ('none', 'billed', 'detached', 'unclear')", name=op.f("job_billing_check")
        ),
        sa.CheckConstraint("kind IN ('run', 'upload', 'training')", name=op.f("job_kind_check")),
        sa.CheckConstraint(
            "lane IN ('image', 'video', 'audio', 'text', '3d', 'training', 'upload')",
            name=op.f("job_lane_check"),
        ),
        sa.CheckConstraint("on_partial IN ('succeed', 'fail')", name=op.f("job_on_partial_check")),
        sa.CheckConstraint("state <> 'failed' OR error IS NOT NULL", name=op.f("job_failed_says_why_check")),
        sa.CheckConstraint(
            "state IN ('queued', 'submitting', 'running', 'succeeded', 'failed', 'canceled')",
            name=op.f("job_state_check"),
        ),
        sa.CheckConstraint("max_attempts BETWEEN 1 AND 100 AND run >= 1", name=op.f("job_counts_check")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("job_priority_check")),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name=op.f("job_progress_check")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["runware_jobs.account.id"], name=op.f("job_account_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["runware_jobs.batch.id"], name=op.f("job_batch_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["bucket_id"], ["runware_jobs.bucket.id"], name=op.f("job_bucket_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("job_pkey")),
        schema="runware_jobs",
        comment="What a producer asked for, and where it stands.",
    )
    op.create_index(
        "job_alias_idx",
        "job",
        ["tenant", "alias"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("alias IS NOT NULL"),
    )
    op.create_index(
        "job_batch_idx",
        "job",
        ["batch_id", "state"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "job_batch_order_idx",
        "job",
        ["batch_id", "id"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "job_claim_idx",
        "job",
        ["bucket_id", "run_at", "id"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "job_deadline_idx",
        "job",
        [sa.literal_column("LEAST(deadline_at, CASE WHEN state = 'queued' THEN start_deadline_at END)")],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text(
            "finished_at IS NULL AND (deadline_at IS NOT NULL OR start_deadline_at IS NOT NULL)"
        ),
    )
    op.create_index(
        "job_external_idx",
        "job",
        ["tenant", "external_id"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_index(
        "job_finished_idx",
        "job",
        ["finished_at"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "job_idempotency_idx",
        "job",
        ["tenant", "idempotency_key"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        "job_tags_idx",
        "job",
        ["tags"],
        unique=False,
        schema="runware_jobs",
        postgresql_using="gin",
        postgresql_where=sa.text("tags <> '{}'"),
    )
    op.create_index(
        "job_tenant_idx", "job", ["tenant", "created_at", "id"], unique=False, schema="runware_jobs"
    )
    op.create_table(
        "attempt",
        sa.Column("task_uuid", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("send_before", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("size", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("progress", sa.SmallInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("hold_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column(
            "settlement",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        sa.Column("resent_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("submitted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("accepted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'ended') = (finished_at IS NOT NULL)", name=op.f("attempt_finished_check")
        ),
        sa.CheckConstraint("(state = 'ended') = (outcome IS NOT NULL)", name=op.f("attempt_ended_check")),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'refused', 'not_sent', 'lost')",
            name=op.f("attempt_outcome_check"),
        ),
        sa.CheckConstraint(
            "state <> 'sending' OR send_before IS NOT NULL", name=op.f("attempt_fenced_check")
        ),
        sa.CheckConstraint(
            "state IN ('prepared', 'sending', 'accepted', 'unclear', 'ended')",
            name=op.f("attempt_state_check"),
        ),
        sa.CheckConstraint("(owner_id IS NULL) = (epoch IS NULL)", name=op.f("attempt_owned_check")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["runware_jobs.account.id"], name=op.f("attempt_account_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["runware_jobs.job.id"], name=op.f("attempt_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["runware_jobs.process.id"], name=op.f("attempt_owner_id_fkey")
        ),
        sa.PrimaryKeyConstraint("task_uuid", name=op.f("attempt_pkey")),
        sa.UniqueConstraint("job_id", "run", "number", name="attempt_number_key"),
        schema="runware_jobs",
        comment="One Runware task of a job. Its UUID is committed before the first byte leaves.",
    )
    op.create_index(
        "attempt_alive_idx",
        "attempt",
        ["job_id"],
        unique=True,
        schema="runware_jobs",
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index(
        "attempt_owner_idx",
        "attempt",
        ["account_id", "owner_id"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("state NOT IN ('prepared', 'ended')"),
    )
    op.create_table(
        "result",
        sa.Column("task_uuid", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("item", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("archived_url", sa.Text(), nullable=True),
        sa.Column(
            "created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "(state = 'error') = (error IS NOT NULL)", name=op.f("result_error_says_why_check")
        ),
        sa.CheckConstraint("state IN ('success', 'error')", name=op.f("result_state_check")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["runware_jobs.job.id"], name=op.f("result_job_id_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_uuid"],
            ["runware_jobs.attempt.task_uuid"],
            name=op.f("result_task_uuid_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_uuid", "key", name=op.f("result_pkey")),
        schema="runware_jobs",
        comment="One item as the platform returned it, with its own state and cost.",
    )
    op.create_index(
        "result_job_idx", "result", ["job_id", "run", "position"], unique=False, schema="runware_jobs"
    )

    # Catches what no month has; `store.database.ensure_event_partitions` makes the months.
    op.execute("CREATE TABLE runware_jobs.event_default PARTITION OF runware_jobs.event DEFAULT")


def downgrade() -> None:
    op.drop_index("result_job_idx", table_name="result", schema="runware_jobs")
    op.drop_table("result", schema="runware_jobs")
    op.drop_index(
        "attempt_owner_idx",
        table_name="attempt",
        schema="runware_jobs",
        postgresql_where=sa.text("state NOT IN ('prepared', 'ended')"),
    )
    op.drop_index(
        "attempt_alive_idx",
        table_name="attempt",
        schema="runware_jobs",
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.drop_table("attempt", schema="runware_jobs")
    op.drop_index("job_tenant_idx", table_name="job", schema="runware_jobs")
    op.drop_index(
        "job_tags_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_using="gin",
        postgresql_where=sa.text("tags <> '{}'"),
    )
    op.drop_index(
        "job_idempotency_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.drop_index(
        "job_finished_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index(
        "job_external_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.drop_index(
        "job_deadline_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text(
            "finished_at IS NULL AND (deadline_at IS NOT NULL OR start_deadline_at IS NOT NULL)"
        ),
    )
    op.drop_index(
        "job_claim_idx", table_name="job", schema="runware_jobs", postgresql_where=sa.text("state = 'queued'")
    )
    op.drop_index(
        "job_batch_order_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.drop_index(
        "job_batch_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.drop_index(
        "job_alias_idx",
        table_name="job",
        schema="runware_jobs",
        postgresql_where=sa.text("alias IS NOT NULL"),
    )
    op.drop_table("job", schema="runware_jobs")
    op.drop_index(
        "process_alive_idx",
        table_name="process",
        schema="runware_jobs",
        postgresql_where=sa.text("stopped_at IS NULL"),
    )
    op.drop_table("process", schema="runware_jobs")
    op.drop_table("input", schema="runware_jobs")
    op.drop_index("delivery_tenant_idx", table_name="delivery", schema="runware_jobs")
    op.drop_index("delivery_endpoint_idx", table_name="delivery", schema="runware_jobs")
    op.drop_table("delivery", schema="runware_jobs")
    op.drop_index(
        "bucket_walk_idx",
        table_name="bucket",
        schema="runware_jobs",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.drop_index(
        "bucket_batch_idx",
        table_name="bucket",
        schema="runware_jobs",
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.drop_table("bucket", schema="runware_jobs")
    op.drop_table("tombstone", schema="runware_jobs")
    op.drop_table("tenant", schema="runware_jobs")
    op.drop_index("outbox_job_idx", table_name="outbox", schema="runware_jobs")
    op.drop_index(
        "outbox_due_idx", table_name="outbox", schema="runware_jobs", postgresql_where=sa.text("NOT is_dead")
    )
    op.drop_table("outbox", schema="runware_jobs")
    op.drop_table("installation", schema="runware_jobs")
    op.drop_index("event_job_idx", table_name="event", schema="runware_jobs")
    op.drop_table("event", schema="runware_jobs")
    op.drop_table("estimate", schema="runware_jobs")
    op.drop_index(
        "endpoint_tenant_idx",
        table_name="endpoint",
        schema="runware_jobs",
        postgresql_where=sa.text("is_enabled AND url IS NOT NULL"),
    )
    op.drop_index(
        "endpoint_default_idx",
        table_name="endpoint",
        schema="runware_jobs",
        postgresql_where=sa.text("url IS NULL"),
    )
    op.drop_table("endpoint", schema="runware_jobs")
    op.drop_index("batch_tenant_idx", table_name="batch", schema="runware_jobs")
    op.drop_table("batch", schema="runware_jobs")
    op.drop_table("api_key", schema="runware_jobs")
    op.drop_index(
        "account_current_idx",
        table_name="account",
        schema="runware_jobs",
        postgresql_where=sa.text("is_current"),
    )
    op.drop_table("account", schema="runware_jobs")
