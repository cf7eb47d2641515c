"""Jobs: how many days their checkpoints stay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("checkpoint_days", sa.Integer(), nullable=True))
    op.create_index(
        "ix_job_checkpoint_days",
        "job",
        ["finished_at"],
        postgresql_where=sa.text("checkpoint_days IS NOT NULL AND finished_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_job_checkpoint_days", "job")
    op.drop_column("job", "checkpoint_days")
