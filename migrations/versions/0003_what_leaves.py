"""Health of webhook endpoints; Celery's canvas, results and chords.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_endpoints()
    _upgrade_outbox()
    _upgrade_celery()


def downgrade() -> None:
    _downgrade_celery()
    _downgrade_outbox()
    _downgrade_endpoints()


def _upgrade_endpoints() -> None:
    op.create_index("delivery_event_idx", "delivery", ["event_id"], schema="runware_jobs")
    op.create_index("event_created_idx", "event", ["created_at"], schema="runware_jobs", postgresql_using="brin")


def _downgrade_endpoints() -> None:
    op.drop_index("event_created_idx", "event", schema="runware_jobs")
    op.drop_index("delivery_event_idx", "delivery", schema="runware_jobs")


def _upgrade_celery() -> None:
    op.add_column("outbox", sa.Column("sent", postgresql.ARRAY(sa.Text()), nullable=True), schema="runware_jobs")
    op.create_table(
        "celery_result",
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("meta", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(status IS NULL) = (meta IS NULL) AND (status IS NULL) = (job_id IS NOT NULL)",
            name=op.f("celery_result_says_one_check"),
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("celery_result_pkey")),
        schema="runware_jobs",
        comment="What a Celery task gave that is no job of ours.",
    )
    op.create_index("celery_result_updated_idx", "celery_result", ["updated_at"], schema="runware_jobs")
    op.create_table(
        "celery_group",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("meta", sa.Text(), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("group_id", name=op.f("celery_group_pkey")),
        schema="runware_jobs",
        comment="A saved GroupResult: which tasks it is made of.",
    )
    op.create_index("celery_group_updated_idx", "celery_group", ["updated_at"], schema="runware_jobs")
    op.create_table(
        "celery_chord",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("header", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("celery_chord_size_check")),
        sa.PrimaryKeyConstraint("group_id", name=op.f("celery_chord_pkey")),
        schema="runware_jobs",
        comment="A chord: registered before its header is sent, ended when its body is.",
    )
    op.create_index(
        "celery_chord_due_idx",
        "celery_chord",
        ["due_at"],
        schema="runware_jobs",
        postgresql_where=sa.text("due_at IS NOT NULL AND ended_at IS NULL"),
    )
    op.create_index("celery_chord_created_idx", "celery_chord", ["created_at"], schema="runware_jobs")
    op.create_table(
        "celery_chord_part",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["runware_jobs.celery_chord.group_id"],
            name=op.f("celery_chord_part_group_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", "task_id", name=op.f("celery_chord_part_pkey")),
        schema="runware_jobs",
        comment="One task of a chord's header that has ended; done twice it counts once.",
    )


def _downgrade_celery() -> None:
    op.drop_table("celery_chord_part", schema="runware_jobs")
    op.drop_table("celery_chord", schema="runware_jobs")
    op.drop_table("celery_group", schema="runware_jobs")
    op.drop_table("celery_result", schema="runware_jobs")
    op.drop_column("outbox", "sent", schema="runware_jobs")


_RECEIVER = (
    "uuid_hash_extended(endpoint_id,"
    " hashtextextended(lower(\"substring\"(url, '^[^:]*://[^/?#]*'::text)), (0)::bigint))"
)


def _upgrade_outbox() -> None:
    op.add_column("outbox", sa.Column("holder", sa.Uuid(), nullable=True), schema="runware_jobs")
    op.add_column(
        "outbox",
        sa.Column("receiver", sa.BigInteger(), sa.Computed(_RECEIVER, persisted=True), nullable=True),
        schema="runware_jobs",
    )
    op.create_index(
        "outbox_receiver_idx",
        "outbox",
        ["receiver", "due_at"],
        schema="runware_jobs",
        postgresql_where=sa.text("sink = 'webhook' AND NOT is_dead"),
    )
    op.create_table(
        "receiver",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rest_s", sa.Double(), nullable=False),
        sa.Column("rests_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("receiver_pkey")),
        schema="runware_jobs",
        comment="A receiver of webhooks that failed several times in a row, until it answers again.",
    )


def _downgrade_outbox() -> None:
    op.drop_table("receiver", schema="runware_jobs")
    op.drop_index("outbox_receiver_idx", "outbox", schema="runware_jobs")
    op.drop_column("outbox", "receiver", schema="runware_jobs")
    op.drop_column("outbox", "holder", schema="runware_jobs")
