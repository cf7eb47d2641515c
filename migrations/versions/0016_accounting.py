"""Keys that are used, rotated and narrower; limits of tenants; who did what; requests a day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None

_RESOURCES = ("models", "datasets", "checkpoints", "sweeps", "webhooks")


def upgrade() -> None:
    limits = postgresql.JSONB(astext_type=sa.Text())
    op.add_column("tenant", sa.Column("limits", limits, server_default=sa.text("'{}'"), nullable=False))
    op.add_column("tenant", sa.Column("stored_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("tenant", sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_key", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    for name in ("created_by", "rotated_to"):
        op.add_column("api_key", sa.Column(name, sa.Text(), nullable=True))
    op.create_index("ix_api_key_list", "api_key", ["tenant_id", sa.text("created_at DESC"), sa.text("id DESC")])
    _keep_what_keys_could()
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_list", "audit_entry", ["tenant_id", sa.text("id DESC")])
    op.create_index("ix_audit_entry_age", "audit_entry", ["created_at"])
    op.create_table(
        "request_count",
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "day", name="pk_request_count"),
    )


def downgrade() -> None:
    op.drop_table("request_count")
    op.drop_table("audit_entry")
    op.drop_index("ix_api_key_list", "api_key")
    for name in ("rotated_to", "created_by", "last_used_at"):
        op.drop_column("api_key", name)
    for name in ("stored_at", "stored_bytes", "limits"):
        op.drop_column("tenant", name)


def _keep_what_keys_could() -> None:
    """Before, `jobs:read` opened everything for reading, `jobs:write` for writing, and `admin` was another `*`."""
    op.execute("UPDATE api_key SET scopes = array_replace(scopes, 'admin', '*')")
    for verb in ("read", "write"):
        more = ", ".join(f"'{resource}:{verb}'" for resource in _RESOURCES)
        op.execute(f"UPDATE api_key SET scopes = scopes || ARRAY[{more}] WHERE 'jobs:{verb}' = ANY (scopes)")  # noqa: S608
