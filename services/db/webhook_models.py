"""The tables of webhooks, as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base

PENDING = text("state = 'pending'")


class Webhook(Base):
    """An address of a tenant's that is told of events; ``next_turn_at`` is both a pause and a lease."""

    __tablename__ = "webhook"
    __table_args__ = (Index("ix_webhook_list", "tenant_id", text("id DESC")),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    failing_since: Mapped[datetime | None]
    last_delivered_at: Mapped[datetime | None]
    next_turn_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """One event on its way to one webhook; written in the transaction of the event.

    ``payload`` is null where the event is a job's: the body is made from its row.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        CheckConstraint("state IN ('pending','succeeded','failed')", name="state"),
        Index("ix_webhook_delivery_due", "webhook_id", "due_at", postgresql_where=PENDING),
        Index("ix_webhook_delivery_list", "webhook_id", text("sequence DESC")),
        Index("ix_webhook_delivery_created", "created_at"),
    )

    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity())
    type: Mapped[str]
    job_id: Mapped[str | None]
    payload: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(server_default="pending")
    tries: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    tried: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    delivered_at: Mapped[datetime | None]
