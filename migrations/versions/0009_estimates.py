"""How long jobs were thought to take, and how long they took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_table(
        "job_timing",
        sa.Column("job_id", sa.Text(), sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("definition_sha256", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("setup", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("operations_per_sample", sa.BigInteger(), nullable=True),
        sa.Column("batches", sa.Double(), nullable=False),
        sa.Column("training_seconds", sa.Double(), nullable=False),
        sa.Column("total_seconds", sa.Double(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("estimated_seconds", sa.Double(), nullable=True),
        sa.Column("basis", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_timing"),
    )
    op.create_index("ix_job_timing_own", "job_timing", ["tenant_id", "definition_sha256", "created_at"])
    op.create_index("ix_job_timing_device", "job_timing", ["device", "created_at"])


def downgrade() -> None:
    op.drop_table("job_timing")
    op.drop_column("job", "estimate")
