"""Webhooks and their deliveries; what jobs say of them; what the service counts of itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("tenant_id", sa.Text(), sa.ForeignKey("tenant.id"), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("old_secret", sa.Text()),
        sa.Column("old_secret_until", _TIME),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("disabled_at", _TIME),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", _TIME),
        sa.Column("last_delivered_at", _TIME),
        sa.Column("next_turn_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
    )
    op.create_index("ix_webhook_list", "webhook", ["tenant_id", sa.text("id DESC")])
    _create_deliveries()
    webhook = sa.ForeignKey("webhook.id", ondelete="SET NULL", name="fk_job_webhook_id_webhook")
    op.add_column("job", sa.Column("webhook_id", sa.Text(), webhook))
    op.add_column("job", sa.Column("webhook_events", postgresql.ARRAY(sa.Text())))
    op.add_column("job", sa.Column("traceparent", sa.Text()))
    op.create_table(
        "service_part",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("seen_at", _TIME, server_default=_NOW, nullable=False),
    )
    op.create_table(
        "service_counter",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("label", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), server_default="0", nullable=False),
    )


def downgrade() -> None:
    op.drop_table("service_counter")
    op.drop_table("service_part")
    for column in ("traceparent", "webhook_events", "webhook_id"):
        op.drop_column("job", column)
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")


def _create_deliveries() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("webhook_id", sa.Text(), sa.ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text())),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("tries", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("tried", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("asked_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("delivered_at", _TIME),
        sa.CheckConstraint("state IN ('pending','succeeded','failed')", name="state"),
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["webhook_id", "due_at"], postgresql_where=_PENDING)
    op.create_index("ix_webhook_delivery_list", "webhook_delivery", ["webhook_id", sa.text("sequence DESC")])
    op.create_index("ix_webhook_delivery_created", "webhook_delivery", ["created_at"])
