"""Chunks: their bytes may lie in an object store; the row then has the word that ends the object's name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("chunk", "data", existing_type=sa.LargeBinary(), nullable=True)
    op.add_column("chunk", sa.Column("object", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("ck_chunk_bytes"), "chunk", "num_nonnulls(data, object) = 1")


def downgrade() -> None:
    # Fails while the bytes of any chunk lie in an object store: there is no row to put them into.
    op.drop_constraint(op.f("ck_chunk_bytes"), "chunk")
    op.alter_column("chunk", "data", existing_type=sa.LargeBinary(), nullable=False)
    op.drop_column("chunk", "object")
