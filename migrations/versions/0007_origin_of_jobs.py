"""Jobs: which job one was made from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("origin", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "origin")
