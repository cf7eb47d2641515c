"""Metric segments: the lowest and the highest of their values, and the steps of both."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("low", "high"):
        op.add_column("metric_segment", sa.Column(f"{name}_step", sa.BigInteger(), nullable=True))
        op.add_column("metric_segment", sa.Column(name, sa.Double(), nullable=True))
    op.execute('ALTER TABLE metric_segment ALTER COLUMN "values" SET STORAGE EXTERNAL')  # noise is not compressed


def downgrade() -> None:
    op.execute('ALTER TABLE metric_segment ALTER COLUMN "values" SET STORAGE EXTENDED')
    for name in ("high", "low"):
        op.drop_column("metric_segment", name)
        op.drop_column("metric_segment", f"{name}_step")
