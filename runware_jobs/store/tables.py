"""The tables, their constraints and their indexes; Alembic's migrations make the same.

Everything lives in the schema `runware_jobs`, beside a host application's own
tables. Constraints repeat the rules of `core.states`; each index names the query
it serves. What is told about jobs stands in `event_tables`. Money is numeric, never float; every time is Postgres' own `now()`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
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
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from runware_jobs.core.states import (
    FINAL,
    AttemptEnd,
    AttemptState,
    Billing,
    Inputs,
    JobState,
    Kind,
    Lane,
    OnPartial,
)

from .account_tables import account, batch, bucket, estimate, flow, rate, tenant
from .celery_tables import celery_chord, celery_chord_part, celery_group, celery_result
from .columns import CLAIMABLE, SCHEMA, WAITING_FOR_INPUTS, count, metadata, money, one_of, when
from .event_tables import delivery, endpoint, event, outbox, receiver

__all__ = [
    "SCHEMA",
    "account",
    "api_key",
    "attempt",
    "batch",
    "bucket",
    "celery_chord",
    "celery_chord_part",
    "celery_group",
    "celery_result",
    "delivery",
    "endpoint",
    "estimate",
    "event",
    "flow",
    "input_",
    "installation",
    "job",
    "metadata",
    "outbox",
    "process",
    "rate",
    "receiver",
    "result",
    "tenant",
    "tombstone",
]

_FINAL_SQL = ", ".join(f"'{state}'" for state in JobState if state in FINAL)

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, server_default=text("1")),
    # Task UUIDs derive from it; losing it means that a resend
    # is a new task, so it lives in the same backup as the jobs.
    Column("secret", LargeBinary, nullable=False),
    when("created_at", nullable=False),
    CheckConstraint("id = 1", name="single_row"),
    CheckConstraint("octet_length(secret) = 32", name="secret_length"),
    comment="One row: the secret that names are derived from.",
)

process = Table(
    "process",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("account_id", BigInteger, ForeignKey(account.c.id)),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    # Raised by whoever adopts from it: a paused process that wakes up owns nothing.
    Column("epoch", Integer, nullable=False, server_default=text("1")),
    Column("is_clock", Boolean, nullable=False, server_default=text("false")),
    # Signals this process has receivers for: moves leave an outbox row only then.
    Column("signals", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # It keeps copies of outputs: results leave a row for it.
    Column("archives", Boolean, nullable=False, server_default=text("false")),
    # As of the heartbeat: how many attempts it follows, and how late its oldest poll is.
    count("following"),
    Column("poll_lag_s", Double, nullable=False, server_default=text("0")),
    when("started_at", nullable=False),
    when("heartbeat_at", nullable=False),
    when("stopped_at"),
    # Who is alive, and whose lease has lapsed.
    Index("process_alive_idx", "heartbeat_at", postgresql_where=text("stopped_at IS NULL")),
    comment="One lease per process: a heartbeat, and an epoch that guards every move.",
)

job = Table(
    "job",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("tenant", Text, nullable=False),
    # Both from the statement that finds or makes the bucket. No foreign keys: accounts stay for
    # ever, and a bucket goes only with its batch, after the jobs. Checking them would cost each job
    # two looks and two locks, and each bucket that goes a look through all jobs.
    Column("account_id", BigInteger, nullable=False),
    Column("bucket_id", BigInteger, nullable=False),
    Column("batch_id", Uuid, ForeignKey(batch.c.id, ondelete="CASCADE")),
    Column("custom_id", Text),
    Column("lane", Text, nullable=False),
    Column("model", Text, nullable=False),
    # What its duration and price depend on besides the model; '' when nothing does.
    Column("size", Text, nullable=False, server_default=text("''")),
    Column("params", JSONB, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("run", SmallInteger, nullable=False, server_default=text("1")),
    count("seq"),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("max_attempts", SmallInteger, nullable=False),
    Column("times_busy", SmallInteger, nullable=False, server_default=text("0")),
    Column("results_expected", SmallInteger, nullable=False, server_default=text("1")),
    # What the producer asked for; a retry expects only those that are missing.
    Column("results_asked", SmallInteger, nullable=False, server_default=text("1")),
    # Where its large inputs stand; NULL when it has none.
    Column("inputs", Text),
    Column("on_partial", Text, nullable=False, server_default=text("'succeed'")),
    Column("progress", SmallInteger),
    Column("billing", Text, nullable=False, server_default=text("'none'")),
    money("cost_usd"),
    Column("error", JSONB),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary, nullable=False),
    Column("external_id", Text),
    Column("alias", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("webhook_url", Text),
    Column("link", JSONB),
    Column("link_error", JSONB),
    Column("canvas", JSONB),
    when("run_at", nullable=False),
    when("start_deadline_at"),
    # The account's `paused_s` when the job came: what was added since does not count against it.
    Column("paused_before_s", Double, nullable=False, server_default=text("0")),
    when("deadline_at"),
    when("eta_at"),
    when("created_at", nullable=False),
    when("submitted_at"),
    when("finished_at"),
    one_of("kind", Kind),
    one_of("state", JobState),
    one_of("lane", Lane),
    one_of("billing", Billing),
    one_of("on_partial", OnPartial),
    one_of("inputs", Inputs),
    CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
    CheckConstraint("progress BETWEEN 0 AND 100", name="progress"),
    CheckConstraint("max_attempts BETWEEN 1 AND 100 AND run >= 1", name="counts"),
    CheckConstraint(f"(state IN ({_FINAL_SQL})) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    # The claim takes the oldest due jobs of one bucket; those whose inputs it waits for are uploaded first.
    Index("job_claim_idx", "bucket_id", "run_at", "id", postgresql_where=text(CLAIMABLE)),
    Index("job_waiting_idx", "bucket_id", "run_at", "id", postgresql_where=text(WAITING_FOR_INPUTS)),
    Index(  # which jobs refer to an input
        "job_inputs_idx",
        text("jsonb_path_query_array(params, '$.**.\"$input\"')"),
        postgresql_using="gin",
        postgresql_where=text("inputs IS NOT NULL"),
    ),
    Index("job_tenant_idx", "tenant", "created_at", "id"),  # list of jobs, newest first
    Index("job_batch_idx", "batch_id", "state", postgresql_where=text("batch_id IS NOT NULL")),  # counts
    Index(
        "job_batch_order_idx", "batch_id", "id", postgresql_where=text("batch_id IS NOT NULL")
    ),  # its files
    Index("job_tags_idx", "tags", postgresql_using="gin", postgresql_where=text("tags <> '{}'")),
    Index(
        "job_idempotency_idx",
        "tenant",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "job_external_idx",
        "tenant",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    Index("job_alias_idx", "tenant", "alias", unique=True, postgresql_where=text("alias IS NOT NULL")),
    # Deadlines that have passed; those to start, by account, because they stand still while it is paused.
    Index(
        "job_deadline_idx",
        "deadline_at",
        postgresql_where=text("finished_at IS NULL AND deadline_at IS NOT NULL"),
    ),
    Index(
        "job_start_deadline_idx",
        "account_id",
        # On the account's own clock; see store/deadlines.py.
        text("((start_deadline_at AT TIME ZONE 'UTC') - make_interval(secs => paused_before_s))"),
        postgresql_where=text("state = 'queued' AND submitted_at IS NULL AND start_deadline_at IS NOT NULL"),
    ),
    Index("job_unclear_idx", "id", postgresql_where=text("billing = 'unclear'")),  # for people to settle
    Index("job_finished_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),  # prune
    comment="What a producer asked for, and where it stands.",
)

attempt = Table(
    "attempt",
    metadata,
    Column("task_uuid", Uuid, primary_key=True),
    Column("job_id", Uuid, ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("number", SmallInteger, nullable=False),
    Column("account_id", BigInteger, ForeignKey(account.c.id), nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Column("owner_id", BigInteger, ForeignKey(process.c.id)),
    Column("epoch", Integer),
    when("send_before"),
    Column("size", Text, nullable=False, server_default=text("''")),
    Column("progress", SmallInteger),
    Column("error", JSONB),
    money("cost_usd"),
    money("hold_usd"),
    # Steps of a settlement, in order: what was asked, when, what came back.
    Column("settlement", JSONB, nullable=False, server_default=text("'[]'")),
    when("resent_at"),
    # The platform has called back: a poll is due now, and the callback proves nothing.
    when("hinted_at"),
    when("created_at", nullable=False),
    when("submitted_at"),
    when("accepted_at"),
    when("finished_at"),
    UniqueConstraint("job_id", "run", "number", name="attempt_number_key"),
    one_of("state", AttemptState),
    one_of("outcome", AttemptEnd),
    CheckConstraint("(state = 'ended') = (outcome IS NOT NULL)", name="ended"),
    CheckConstraint("(state = 'ended') = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("state <> 'sending' OR send_before IS NOT NULL", name="fenced"),
    CheckConstraint("(owner_id IS NULL) = (epoch IS NULL)", name="owned"),
    # Never a second task of a job while the first could be alive (P2).
    Index("attempt_alive_idx", "job_id", unique=True, postgresql_where=text("state <> 'ended'")),
    # What a process owns; what a lapsed one left behind; what nobody owns.
    Index(
        "attempt_owner_idx",
        "account_id",
        "owner_id",
        postgresql_where=text("state NOT IN ('prepared', 'ended')"),
    ),
    Index(
        "attempt_hint_idx", "owner_id", postgresql_where=text("hinted_at IS NOT NULL AND state <> 'ended'")
    ),
    comment="One Runware task of a job. Its UUID is committed before the first byte leaves.",
)

result = Table(
    "result",
    metadata,
    Column("task_uuid", Uuid, ForeignKey(attempt.c.task_uuid, ondelete="CASCADE"), nullable=False),
    # resultIndex, else the media UUID, else the place in the complete answer.
    Column("key", Text, nullable=False),
    Column("job_id", Uuid, ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("run", SmallInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("item", JSONB, nullable=False),
    money("cost_usd"),
    Column("error", JSONB),
    Column("archived_url", Text),
    when("created_at", nullable=False),
    PrimaryKeyConstraint("task_uuid", "key"),
    one_of("state", ("success", "error")),
    CheckConstraint("(state = 'error') = (error IS NOT NULL)", name="error_says_why"),
    Index("result_job_idx", "job_id", "run", "position"),  # a job's results in order
    comment="One item as the platform returned it, with its own state and cost.",
)

input_ = Table(
    "input",
    metadata,
    Column("account_id", BigInteger, ForeignKey(account.c.id), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # What the platform calls it, once it was uploaded, and for how long we rely on that.
    Column("media_uuid", Text),
    when("uploaded_at"),
    when("expires_at"),
    # Numbers its uploads: each has a derived task UUID, kept until its outcome is known.
    count("uploads"),
    # Uploads in a row that ended with an error that may pass, or of which nobody knows whether they arrived.
    count("failures"),
    when("created_at", nullable=False),
    PrimaryKeyConstraint("account_id", "tenant", "sha256"),
    CheckConstraint("octet_length(sha256) = 32 AND size_bytes = octet_length(content)", name="content"),
    comment="A large input, stored once by content hash and uploaded once.",
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("key_kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("final_state", Text, nullable=False),
    when("created_at", nullable=False),
    PrimaryKeyConstraint("tenant", "key_kind", "key"),
    one_of("key_kind", ("idempotency_key", "external_id", "alias")),
    comment="A key whose job was pruned: a replay is told so and never runs again.",
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    when("created_at", nullable=False),
    when("revoked_at"),
    CheckConstraint("scopes <@ ARRAY['enqueue', 'read', 'admin'] AND cardinality(scopes) > 0", name="scopes"),
    comment="Keys of our own HTTP API, hashed.",
)
