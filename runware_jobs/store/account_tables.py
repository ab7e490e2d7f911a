"""The tables of limits and turns: whom we work for, what each may use, and what queued jobs hang on."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from runware_jobs.core.states import Lane

from .columns import count, metadata, money, one_of, when

account = Table(
    "account",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("base_url", Text, nullable=False),
    # NULL until the first worker with this base URL has asked the platform who it is.
    Column("organisation", Text),
    Column("is_current", Boolean, nullable=False, server_default=text("true")),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("pause_reason", Text),
    # Who paused it: a person, or the platform (its credits, its key). Only the latter resume by themselves.
    Column("pause_kind", Text),
    when("paused_at"),
    # When a process may ask the platform again whether the reason is gone.
    when("probe_at"),
    # Length of all pauses that have ended: start deadlines stand still while an account is paused.
    Column("paused_s", Double, nullable=False, server_default=text("0")),
    count("in_flight"),
    Column("max_in_flight", Integer, nullable=False, server_default=text("16")),
    Column("max_requests_per_s", Double, nullable=False, server_default=text("5")),
    # By lane: {"video": {"max_in_flight": 4, "pause_reason": "by hand"}}, both optional.
    Column("lane_limits", JSONB, nullable=False, server_default=text("'{}'")),
    money("daily_limit_usd"),
    Column("spend_day", Date, nullable=False, server_default=text("CURRENT_DATE")),
    money("spent_usd", nullable=False),
    money("held_usd", nullable=False),
    when("created_at", nullable=False),
    UniqueConstraint(
        "base_url", "organisation", name="account_identity_key", postgresql_nulls_not_distinct=True
    ),
    one_of("state", ("open", "paused")),
    CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name="pause"),
    one_of("pause_kind", ("hand", "credits", "auth")),
    CheckConstraint("in_flight >= 0", name="in_flight"),
    CheckConstraint("max_in_flight > 0 AND max_requests_per_s > 0", name="limits"),
    # Which account a producer's job belongs to.
    Index("account_current_idx", "base_url", unique=True, postgresql_where=text("is_current")),
    comment="Whom we work for: a base URL and an organisation, with its limits and its spend.",
)

rate = Table(
    "rate",
    metadata,
    Column("account_id", BigInteger, ForeignKey(account.c.id), primary_key=True),
    # A token bucket: `tokens` as of `tokens_at`, refilled by arithmetic when debited.
    Column("tokens", Double, nullable=False, server_default=text("0")),
    when("tokens_at", nullable=False),
    comment="When the next request may leave: no row of the account's own, or polls would wait for claims.",
)

tenant = Table(
    "tenant",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("pause_reason", Text),
    money("budget_usd"),
    money("spent_usd", nullable=False),
    money("held_usd", nullable=False),
    when("created_at", nullable=False),
    one_of("state", ("open", "paused")),
    CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name="pause"),
    CheckConstraint("budget_usd IS NULL OR budget_usd > 0", name="budget"),
    comment="Tenants that something is set for; a job may name any other.",
)

batch = Table(
    "batch",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("pause_reason", Text),
    money("budget_usd"),
    money("spent_usd", nullable=False),
    money("held_usd", nullable=False),
    when("created_at", nullable=False),
    # Set when its producer has enqueued everything; a batch completes only then.
    when("sealed_at"),
    when("finished_at"),
    one_of("state", ("open", "paused", "canceled")),
    CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name="pause"),
    CheckConstraint("budget_usd IS NULL OR budget_usd > 0", name="budget"),
    Index("batch_tenant_idx", "tenant", "created_at"),  # list of a tenant's batches
    # Those that may be complete now.
    Index("batch_sealed_idx", "id", postgresql_where=text("sealed_at IS NOT NULL AND finished_at IS NULL")),
    comment="Jobs that were enqueued together, with one budget.",
)

bucket = Table(
    "bucket",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("account_id", BigInteger, ForeignKey(account.c.id), nullable=False),
    Column("lane", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("batch_id", Uuid, ForeignKey(batch.c.id, ondelete="CASCADE")),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("pause_reason", Text),
    when("paused_at"),
    count("in_flight"),
    when("last_served_at"),
    when("created_at", nullable=False),
    UniqueConstraint(
        "account_id",
        "lane",
        "model",
        "tenant",
        "batch_id",
        "priority",
        name="bucket_identity_key",
        postgresql_nulls_not_distinct=True,
    ),
    one_of("lane", Lane),
    one_of("state", ("open", "paused")),
    CheckConstraint("(state = 'paused') = (pause_reason IS NOT NULL)", name="pause"),
    CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
    CheckConstraint("in_flight >= 0", name="in_flight"),
    # A claim walks open buckets: priority, then least recently served.
    Index(
        "bucket_walk_idx", "account_id", "priority", "last_served_at", postgresql_where=text("state = 'open'")
    ),
    Index("bucket_batch_idx", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    comment="What queued jobs hang on: pauses, limits and turns touch this row, never the jobs.",
)

flow = Table(
    "flow",
    metadata,
    Column("account_id", BigInteger, ForeignKey(account.c.id), nullable=False),
    Column("lane", Text, nullable=False),
    Column("model", Text, nullable=False),
    count("in_flight"),
    # Set by hand, and the most that feedback (429, 503) lets out at present; NULL: no limit of its own.
    Column("max_in_flight", Integer),
    Column("allowed", Double),
    when("cut_at"),
    Column("state", Text, nullable=False, server_default=text("'open'")),
    Column("pause_reason", Text),
    when("paused_at"),
    # When one job may go out to see whether the model works again; NULL when paused by hand.
    when("probe_at"),
    # Provider errors in a row, and pauses in a row that their probes did not end.
    count("failures"),
    count("pauses"),
    PrimaryKeyConstraint("account_id", "lane", "model"),
    one_of("lane", Lane),
    one_of("state", ("open", "paused", "probing")),
    CheckConstraint("(state = 'open') = (pause_reason IS NULL)", name="pause"),
    CheckConstraint("in_flight >= 0", name="in_flight"),
    CheckConstraint(
        "(max_in_flight IS NULL OR max_in_flight > 0) AND (allowed IS NULL OR allowed >= 1)", name="limits"
    ),
    comment="What one model of an account lets through: its tasks in flight, its limits, its pause.",
)

estimate = Table(
    "estimate",
    metadata,
    Column("model", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("duration_s", Double, nullable=False),
    # What 19 of 20 tasks have ended within: longer than that and unknown everywhere is lost.
    Column("late_s", Double),
    money("cost_usd"),
    when("updated_at", nullable=False),
    PrimaryKeyConstraint("model", "size"),
    comment="What was learned of a model and size: when to poll, what to hold.",
)
