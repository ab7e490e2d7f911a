"""The tables that Celery's results and chords stand in, beside the jobs.

A job's own result is read from its row and never copied here. These hold what is not a
job: results of a user's own tasks, of tasks that never became a job, saved groups, and
the parts of chords. What Celery gives to be kept stays the JSON text that it made.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from .columns import metadata, when

celery_result = Table(
    "celery_result",
    metadata,
    Column("task_id", Text, primary_key=True),
    Column("status", Text),
    Column("meta", Text),
    # The task asked, under a key, for a job that was there: its result is that job's.
    Column("job_id", Uuid),
    when("updated_at", nullable=False),
    CheckConstraint(
        "(status IS NULL) = (meta IS NULL) AND (status IS NULL) = (job_id IS NOT NULL)", name="says_one"
    ),
    Index("celery_result_updated_idx", "updated_at"),  # prune
    comment="What a Celery task gave that is no job of ours.",
)

celery_group = Table(
    "celery_group",
    metadata,
    Column("group_id", Text, primary_key=True),
    Column("meta", Text, nullable=False),
    when("updated_at", nullable=False),
    Index("celery_group_updated_idx", "updated_at"),  # prune
    comment="A saved GroupResult: which tasks it is made of.",
)

celery_chord = Table(
    "celery_chord",
    metadata,
    Column("group_id", Text, primary_key=True),
    Column("size", Integer, nullable=False),
    # Task ids of the header in order: results are given to the body in it.
    Column("header", ARRAY(Text), nullable=False),
    Column("body", Text, nullable=False),
    when("created_at", nullable=False),
    # All parts are in: whoever takes the chord pushes it ahead, and publishes the body.
    when("due_at"),
    when("ended_at"),
    CheckConstraint("size >= 0", name="size"),
    Index(
        "celery_chord_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL AND ended_at IS NULL")
    ),  # complete, and its body not published
    Index("celery_chord_created_idx", "created_at"),  # prune
    comment="A chord: registered before its header is sent, ended when its body is.",
)

celery_chord_part = Table(
    "celery_chord_part",
    metadata,
    Column("group_id", Text, ForeignKey(celery_chord.c.group_id, ondelete="CASCADE"), nullable=False),
    Column("task_id", Text, nullable=False),
    Column("position", Integer),
    Column("status", Text, nullable=False),
    Column("result", Text, nullable=False),
    when("created_at", nullable=False),
    PrimaryKeyConstraint("group_id", "task_id"),
    comment="One task of a chord's header that has ended; done twice it counts once.",
)
