"""The tables of who did what and how much, as SQLAlchemy models."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class AuditEntry(Base):
    """One call that changed something, or tried to; the API only ever adds to these.

    ``key_id`` is no foreign key: what was done stays on record whatever becomes of the key. None is the operator.
    """

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_list", "tenant_id", text("id DESC")),
        Index("ix_audit_entry_age", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    key_id: Mapped[str | None]
    action: Mapped[str]
    object_id: Mapped[str | None]
    status: Mapped[int] = mapped_column(SmallInteger)
    code: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RequestCount(Base):
    """How many requests a tenant made on a day (UTC), and how many of them were one too many."""

    __tablename__ = "request_count"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)
