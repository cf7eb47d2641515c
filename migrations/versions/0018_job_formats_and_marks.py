"""Jobs: which version of the worker they need, and the mark of their owner's last write."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("format", sa.SmallInteger(), nullable=False, server_default="1"))
    op.add_column("job", sa.Column("last_write", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "last_write")
    op.drop_column("job", "format")
