"""The tables in which the service's own processes leave word of themselves, as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class ServicePart(Base):
    """A part of the service that looks after the rest, and when it last did."""

    __tablename__ = "service_part"

    name: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ServiceCounter(Base):
    """A number that only grows, for Prometheus; ``label`` is the value of its one label, or empty."""

    __tablename__ = "service_counter"

    name: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger, server_default="0")
