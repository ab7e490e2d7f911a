"""Limits by model and tenant, pauses that say whose they are, sizes, hints, and what a retry still lacks.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "batch_sealed_idx",
        "batch",
        ["id"],
        unique=False,
        schema="runware_jobs",
        postgresql_where=sa.text("sealed_at IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_table('flow',
    sa.Column('account_id', sa.BigInteger(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('in_flight', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('max_in_flight', sa.Integer(), nullable=True),
    sa.Column('allowed', sa.Double(), nullable=True),
    sa.Column('cut_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('state', sa.Text(), server_default=sa.text("'open'"), nullable=False),
    sa.Column('pause_reason', sa.Text(), nullable=True),
    sa.Column('paused_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('probe_at', postgresql.TIMESTAMP(timezone=True), nullable=True),
    sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('pauses', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.CheckConstraint("(state = 'open') = (pause_reason IS NULL)", name=op.f('flow_pause_check')),
    sa.CheckConstraint("lane IN ('image', 'video', 'audio', 'text', '3d', 'training', 'upload')", name=op.f('flow_lane_check')),
    sa.CheckConstraint("state IN ('open', 'paused', 'probing')", name=op.f('flow_state_check')),
    sa.CheckConstraint('(max_in_flight IS NULL OR max_in_flight > 0) AND (allowed IS NULL OR allowed >= 1)', name=op.f('flow_limits_check')),
    sa.CheckConstraint('in_flight >= 0', name=op.f('flow_in_flight_check')),
    sa.ForeignKeyConstraint(['account_id'], ['runware_jobs.account.id'], name=op.f('flow_account_id_fkey')),
    sa.PrimaryKeyConstraint('account_id', 'lane', 'model', name=op.f('flow_pkey')),
    schema='runware_jobs',
    comment='What one model of an account lets through: its tasks in flight, its limits, its pause.'
    )
    op.create_table('rate',
    sa.Column('account_id', sa.BigInteger(), nullable=False),
    sa.Column('tokens', sa.Double(), server_default=sa.text('0'), nullable=False),
    sa.Column('tokens_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['runware_jobs.account.id'], name=op.f('rate_account_id_fkey')),
    sa.PrimaryKeyConstraint('account_id', name=op.f('rate_pkey')),
    schema='runware_jobs',
    comment="When the next request may leave: no row of the account's own, or polls would wait for claims."
    )
    op.execute(
        "INSERT INTO runware_jobs.rate (account_id, tokens, tokens_at)"
        " SELECT id, tokens, tokens_at FROM runware_jobs.account"
    )
    op.drop_column('account', 'tokens', schema='runware_jobs')
    op.drop_column('account', 'tokens_at', schema='runware_jobs')
    # Nobody ever read it: what a model may have in flight is its flow's.
    op.drop_column('bucket', 'max_in_flight', schema='runware_jobs')
    # Accounts stay for ever and a bucket goes after its jobs: the checks cost each job two locks, and each bucket a look
    # through all jobs.
    op.drop_constraint(op.f('job_account_id_fkey'), 'job', schema='runware_jobs')
    op.drop_constraint(op.f('job_bucket_id_fkey'), 'job', schema='runware_jobs')
    op.add_column('account', sa.Column('pause_kind', sa.Text(), nullable=True), schema='runware_jobs')
    op.add_column('account', sa.Column('probe_at', postgresql.TIMESTAMP(timezone=True), nullable=True), schema='runware_jobs')
    op.add_column('account', sa.Column('paused_s', sa.Double(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('attempt', sa.Column('hinted_at', postgresql.TIMESTAMP(timezone=True), nullable=True), schema='runware_jobs')
    op.create_index('attempt_hint_idx', 'attempt', ['owner_id'], unique=False, schema='runware_jobs', postgresql_where=sa.text("hinted_at IS NOT NULL AND state <> 'ended'"))
    op.add_column('estimate', sa.Column('late_s', sa.Double(), nullable=True), schema='runware_jobs')
    op.add_column('input', sa.Column('uploads', sa.Integer(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('input', sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('job', sa.Column('inputs', sa.Text(), nullable=True), schema='runware_jobs')
    op.create_check_constraint(op.f('job_inputs_check'), 'job', "inputs IN ('awaited', 'ready', 'renewing', 'renewed')", schema='runware_jobs')
    op.drop_index('job_claim_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text("state = 'queued'"))
    op.create_index('job_claim_idx', 'job', ['bucket_id', 'run_at', 'id'], unique=False, schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND (inputs IS NULL OR inputs IN ('ready', 'renewed'))"))
    op.create_index('job_waiting_idx', 'job', ['bucket_id', 'run_at', 'id'], unique=False, schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND inputs IN ('awaited', 'renewing')"))
    op.create_index('job_inputs_idx', 'job', [sa.literal_column('jsonb_path_query_array(params, \'$.**."$input"\')')], unique=False, schema='runware_jobs', postgresql_using='gin', postgresql_where=sa.text('inputs IS NOT NULL'))
    op.add_column('job', sa.Column('size', sa.Text(), server_default=sa.text("''"), nullable=False), schema='runware_jobs')
    op.add_column('job', sa.Column('results_asked', sa.SmallInteger(), server_default=sa.text('1'), nullable=False), schema='runware_jobs')
    op.add_column('job', sa.Column('paused_before_s', sa.Double(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.drop_index(op.f('job_deadline_idx'), table_name='job', schema='runware_jobs', postgresql_where='((finished_at IS NULL) AND ((deadline_at IS NOT NULL) OR (start_deadline_at IS NOT NULL)))')
    op.create_index('job_unclear_idx', 'job', ['id'], unique=False, schema='runware_jobs', postgresql_where=sa.text("billing = 'unclear'"))
    op.create_index('job_deadline_idx', 'job', ['deadline_at'], unique=False, schema='runware_jobs', postgresql_where=sa.text('finished_at IS NULL AND deadline_at IS NOT NULL'))
    op.create_index('job_start_deadline_idx', 'job', ['account_id', sa.literal_column("((start_deadline_at AT TIME ZONE 'UTC') - make_interval(secs => paused_before_s))")], unique=False, schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND submitted_at IS NULL AND start_deadline_at IS NOT NULL"))
    op.add_column('process', sa.Column('following', sa.Integer(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('process', sa.Column('poll_lag_s', sa.Double(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('tenant', sa.Column('state', sa.Text(), server_default=sa.text("'open'"), nullable=False), schema='runware_jobs')
    op.add_column('tenant', sa.Column('pause_reason', sa.Text(), nullable=True), schema='runware_jobs')
    op.create_check_constraint(
        op.f("account_pause_kind_check"), "account", "pause_kind IN ('hand', 'credits', 'auth')", schema="runware_jobs"
    )
    op.create_check_constraint(op.f("tenant_state_check"), "tenant", "state IN ('open', 'paused')", schema="runware_jobs")
    op.create_check_constraint(
        op.f("tenant_pause_check"), "tenant", "(state = 'paused') = (pause_reason IS NOT NULL)", schema="runware_jobs"
    )
    op.create_check_constraint(
        op.f("tenant_budget_check"), "tenant", "budget_usd IS NULL OR budget_usd > 0", schema="runware_jobs"
    )
    # What the code before this revision has left: a pause was a person's, or stays until one lifts it.
    op.execute("UPDATE runware_jobs.account SET pause_kind = 'hand' WHERE state = 'paused'")
    op.execute(
        "UPDATE runware_jobs.job SET inputs = 'ready'"
        """ WHERE jsonb_path_query_array(params, '$.**."$input"') <> '[]'"""
    )
    op.execute("UPDATE runware_jobs.job SET results_asked = results_expected WHERE results_expected <> 1")
    op.execute(
        "INSERT INTO runware_jobs.flow (account_id, lane, model, in_flight)"
        " SELECT account_id, lane, model, sum(in_flight) FROM runware_jobs.bucket GROUP BY account_id, lane, model"
    )


def downgrade() -> None:
    op.drop_index(
        "batch_sealed_idx",
        table_name="batch",
        schema="runware_jobs",
        postgresql_where=sa.text("sealed_at IS NOT NULL AND finished_at IS NULL"),
    )
    for table, name in (
        ("tenant", "tenant_budget_check"),
        ("tenant", "tenant_pause_check"),
        ("tenant", "tenant_state_check"),
        ("account", "account_pause_kind_check"),
    ):
        op.drop_constraint(op.f(name), table, schema="runware_jobs")
    op.drop_column('tenant', 'pause_reason', schema='runware_jobs')
    op.drop_column('tenant', 'state', schema='runware_jobs')
    op.drop_column('process', 'poll_lag_s', schema='runware_jobs')
    op.drop_column('process', 'following', schema='runware_jobs')
    op.drop_index('job_start_deadline_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND submitted_at IS NULL AND start_deadline_at IS NOT NULL"))
    op.drop_index('job_unclear_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text("billing = 'unclear'"))
    op.drop_index('job_deadline_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text('finished_at IS NULL AND deadline_at IS NOT NULL'))
    op.create_index(op.f('job_deadline_idx'), 'job', [sa.literal_column("LEAST(deadline_at,\nCASE\n    WHEN state = 'queued'::text THEN start_deadline_at\n    ELSE NULL::timestamp with time zone\nEND)")], unique=False, schema='runware_jobs', postgresql_where='((finished_at IS NULL) AND ((deadline_at IS NOT NULL) OR (start_deadline_at IS NOT NULL)))')
    op.drop_column('job', 'paused_before_s', schema='runware_jobs')
    op.drop_column('job', 'results_asked', schema='runware_jobs')
    op.drop_column('job', 'size', schema='runware_jobs')
    op.drop_index('job_inputs_idx', table_name='job', schema='runware_jobs', postgresql_using='gin', postgresql_where=sa.text('inputs IS NOT NULL'))
    op.drop_index('job_waiting_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND inputs IN ('awaited', 'renewing')"))
    op.drop_index('job_claim_idx', table_name='job', schema='runware_jobs', postgresql_where=sa.text("state = 'queued' AND (inputs IS NULL OR inputs IN ('ready', 'renewed'))"))
    op.create_index('job_claim_idx', 'job', ['bucket_id', 'run_at', 'id'], unique=False, schema='runware_jobs', postgresql_where=sa.text("state = 'queued'"))
    op.drop_constraint(op.f('job_inputs_check'), 'job', schema='runware_jobs')
    op.drop_column('job', 'inputs', schema='runware_jobs')
    op.drop_column('input', 'failures', schema='runware_jobs')
    op.drop_column('input', 'uploads', schema='runware_jobs')
    op.drop_column('estimate', 'late_s', schema='runware_jobs')
    op.drop_index('attempt_hint_idx', table_name='attempt', schema='runware_jobs', postgresql_where=sa.text("hinted_at IS NOT NULL AND state <> 'ended'"))
    op.drop_column('attempt', 'hinted_at', schema='runware_jobs')
    op.drop_column('account', 'paused_s', schema='runware_jobs')
    op.drop_column('account', 'probe_at', schema='runware_jobs')
    op.drop_column('account', 'pause_kind', schema='runware_jobs')
    op.add_column('bucket', sa.Column('max_in_flight', sa.Integer(), nullable=True), schema='runware_jobs')
    op.create_foreign_key(op.f('job_bucket_id_fkey'), 'job', 'bucket', ['bucket_id'], ['id'], source_schema='runware_jobs', referent_schema='runware_jobs')
    op.create_foreign_key(op.f('job_account_id_fkey'), 'job', 'account', ['account_id'], ['id'], source_schema='runware_jobs', referent_schema='runware_jobs')
    op.drop_table('flow', schema='runware_jobs')
    op.add_column('account', sa.Column('tokens', sa.Double(), server_default=sa.text('0'), nullable=False), schema='runware_jobs')
    op.add_column('account', sa.Column('tokens_at', postgresql.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False), schema='runware_jobs')
    op.drop_table('rate', schema='runware_jobs')
