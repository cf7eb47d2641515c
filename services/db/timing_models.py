"""The table of how long jobs took, as an SQLAlchemy model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, ForeignKey, Index, Integer, func
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class JobTiming(Base):
    """What one job took that ran through in its first attempt, and what it had been thought to take. Seconds."""

    __tablename__ = "job_timing"
    __table_args__ = (
        Index("ix_job_timing_own", "tenant_id", "definition_sha256", "created_at"),
        Index("ix_job_timing_device", "device", "created_at"),
    )

    # `batches` counts what was trained, and what was evaluated by the share that it costs; `whole` is false where the
    # plan was cut short (early stopping, time). `setup` is what else changes the speed: see `services.estimates.work`.
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    definition_sha256: Mapped[str]
    device: Mapped[str]
    setup: Mapped[dict[str, Any]]
    batch_size: Mapped[int] = mapped_column(Integer)
    operations_per_sample: Mapped[int | None] = mapped_column(BigInteger)
    batches: Mapped[float] = mapped_column(Double)
    training_seconds: Mapped[float] = mapped_column(Double)
    total_seconds: Mapped[float] = mapped_column(Double)
    whole: Mapped[bool] = mapped_column(Boolean)
    estimated_seconds: Mapped[float | None] = mapped_column(Double)
    basis: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
