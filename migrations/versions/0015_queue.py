"""The queue: fair shares, limits of running jobs, start times; and the workers that are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0016"
branch_labels = None
depends_on = None

_READY = "state = 'queued' AND held_until IS NULL"


def upgrade() -> None:
    op.add_column("tenant", sa.Column("max_running_jobs", sa.Integer(), nullable=True))
    for name in ("start_after", "held_until", "claimed_at"):
        op.add_column("job", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("job", sa.Column("seat", sa.Integer(), nullable=True))
    op.execute("UPDATE job SET claimed_at = started_at WHERE started_at IS NOT NULL")
    op.drop_index("ix_job_queued", "job")
    queued = ["tenant_id", "device", "format", sa.literal_column("priority DESC"), "created_at", "id"]
    op.create_index("ix_job_queued", "job", queued, postgresql_where=sa.text(_READY))
    op.create_index(
        "ix_job_held", "job", ["held_until"], postgresql_where=sa.text("state = 'queued' AND held_until IS NOT NULL")
    )
    op.create_index("ix_job_rung", "job", ["rung_at"], postgresql_where=sa.text(_READY))
    op.create_index(
        "ix_job_seat", "job", ["tenant_id", "seat"], unique=True, postgresql_where=sa.text("seat IS NOT NULL")
    )
    op.create_index(
        "ix_job_claimed", "job", ["tenant_id", "claimed_at"], postgresql_where=sa.text("claimed_at IS NOT NULL")
    )
    op.create_index("ix_job_running", "job", ["tenant_id"], postgresql_where=sa.text("lease_expires_at IS NOT NULL"))
    op.create_table(
        "worker_slot",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("devices", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("about", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("draining", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_worker_slot")),
    )
    op.create_index("ix_worker_slot_worker", "worker_slot", ["worker_id"])


def downgrade() -> None:
    op.drop_table("worker_slot")
    for name in ("ix_job_running", "ix_job_claimed", "ix_job_seat", "ix_job_rung", "ix_job_held", "ix_job_queued"):
        op.drop_index(name, "job")
    op.create_index(
        "ix_job_queued",
        "job",
        [sa.literal_column("priority DESC"), "created_at", "id"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    for name in ("seat", "claimed_at", "held_until", "start_after"):
        op.drop_column("job", name)
    op.drop_column("tenant", "max_running_jobs")
