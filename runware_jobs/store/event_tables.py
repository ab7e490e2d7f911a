"""The tables of what is told: events, what is still to leave because of them, where to, and each try."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

from .columns import metadata, one_of, when

event = Table(
    "event",
    metadata,
    Column("id", Uuid, nullable=False),
    when("created_at", nullable=False),
    Column("type", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("job_id", Uuid),
    Column("batch_id", Uuid),
    Column("run", SmallInteger),
    Column("seq", Integer, nullable=False, server_default=text("0")),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    PrimaryKeyConstraint("id", "created_at"),
    Index("event_job_idx", "job_id", "seq"),  # a job's events in order
    # Events of a time, to be told again. Written in the order of time, so that it costs next to nothing.
    Index("event_created_idx", "created_at", postgresql_using="brin"),
    comment="What happened, written in the transaction of the move. Partitioned by month.",
    postgresql_partition_by="RANGE (created_at)",
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("sink", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("event_created_at", TIMESTAMP(timezone=True), nullable=False),
    Column("job_id", Uuid),
    Column("endpoint_id", Uuid),
    Column("url", Text),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    # A claim pushes it ahead: a deliverer that dies leaves the row to the next one.
    when("due_at", nullable=False),
    Column("is_dead", Boolean, nullable=False, server_default=text("false")),
    # Of a link that consists of several messages: those that have left.
    Column("sent", ARRAY(Text)),
    # Of a webhook. The claim that holds the row: a mark of any other changes nothing.
    Column("holder", Uuid),
    # Of a webhook: one host of one endpoint, whose rows take turns with those of the others.
    Column(
        "receiver",
        BigInteger,
        Computed(
            "uuid_hash_extended(endpoint_id,"
            " hashtextextended(lower(\"substring\"(url, '^[^:]*://[^/?#]*'::text)), (0)::bigint))",
            persisted=True,
        ),
    ),
    one_of("sink", ("webhook", "link", "signal", "archive")),
    CheckConstraint("sink <> 'webhook' OR endpoint_id IS NOT NULL", name="webhook_is_signed"),
    Index("outbox_due_idx", "sink", "due_at", postgresql_where=text("NOT is_dead")),  # what is due for a sink
    Index("outbox_job_idx", "job_id", "sink", "id"),  # is something earlier of this job still to leave?
    # Which receivers is anything for, and what is due for one of them?
    Index(
        "outbox_receiver_idx",
        "receiver",
        "due_at",
        postgresql_where=text("sink = 'webhook' AND NOT is_dead"),
    ),
    comment="What has to leave because of an event, one row per sink; deleted when done.",
)

receiver = Table(
    "receiver",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # `outbox.receiver`
    Column("rest_s", Double, nullable=False),
    Column("rests_until", TIMESTAMP(timezone=True), nullable=False),
    comment="A receiver of webhooks that failed several times in a row, until it answers again.",
)

endpoint = Table(
    "endpoint",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("tenant", Text, nullable=False),
    # NULL: the tenant's default, whose secret signs for the `webhook_url` of single jobs.
    Column("url", Text),
    Column("events", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("secrets", ARRAY(LargeBinary), nullable=False),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("disabled_reason", Text),
    when("failing_since"),
    when("created_at", nullable=False),
    when("rotated_at"),
    CheckConstraint("cardinality(secrets) BETWEEN 1 AND 3", name="secrets"),
    CheckConstraint("is_enabled OR disabled_reason IS NOT NULL", name="disabled"),
    Index("endpoint_default_idx", "tenant", unique=True, postgresql_where=text("url IS NULL")),
    Index(
        "endpoint_tenant_idx", "tenant", postgresql_where=text("is_enabled AND url IS NOT NULL")
    ),  # fan-out
    comment="Where webhooks go, and the encrypted secrets that sign them.",
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("event_id", Uuid, nullable=False),
    Column("event_created_at", TIMESTAMP(timezone=True), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("job_id", Uuid),
    Column("endpoint_id", Uuid, ForeignKey(endpoint.c.id, ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("status_code", SmallInteger),
    Column("reason", Text),
    Column("duration_ms", Integer, nullable=False),
    Column("answer", Text, nullable=False, server_default=text("''")),
    when("created_at", nullable=False),
    when("next_at"),
    one_of("state", ("delivered", "failed", "dead")),
    Index("delivery_tenant_idx", "tenant", "created_at"),  # the delivery log
    Index("delivery_endpoint_idx", "endpoint_id", "created_at"),
    Index("delivery_event_idx", "event_id"),  # what became of an event: was it taken, and of a job's events
    comment="One try to deliver a webhook: when, how long, what was answered.",
)
