"""Data sets that the service fetches from a URL."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATE = "state IN ('fetching','uploading','preparing','ready','failed')"
_STATE_BEFORE = "state IN ('uploading','preparing','ready','failed')"


def upgrade() -> None:
    op.add_column("dataset", sa.Column("remote", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("dataset", sa.Column("fetch_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("dataset", sa.Column("fetch_epoch", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("ck_dataset_state"), "dataset")
    op.create_check_constraint(op.f("ck_dataset_state"), "dataset", _STATE)
    op.create_index(
        "ix_dataset_fetch", "dataset", ["fetch_at"], postgresql_where=sa.text("state IN ('fetching','preparing')")
    )


def downgrade() -> None:
    op.drop_index("ix_dataset_fetch", "dataset")
    op.execute("DELETE FROM dataset WHERE state = 'fetching'")
    op.drop_constraint(op.f("ck_dataset_state"), "dataset")
    op.create_check_constraint(op.f("ck_dataset_state"), "dataset", _STATE_BEFORE)
    for column in ("remote", "fetch_at", "fetch_epoch"):
        op.drop_column("dataset", column)
