"""The tables of sweeps, as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base

ENDED_SWEEP_STATES = ("succeeded", "failed", "cancelled")
OPEN_TRIAL_STATES = ("proposed", "submitted")


class Sweep(Base):
    """A search over the fields of one job request, and how it stands."""

    __tablename__ = "sweep"
    __table_args__ = (
        CheckConstraint(
            "state IN ('running','stopping','cancelling','succeeded','failed','cancelled')",
            name="state",
        ),
        Index("ix_sweep_list", "tenant_id", text("id DESC")),
        Index("ix_sweep_active", "id", postgresql_where=text("finished_at IS NULL")),
    )

    # JSON, not JSONB: the order of the space's members is that of the grid and of the table's columns.
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="running")
    reason: Mapped[str | None]
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    resolved: Mapped[dict[str, Any]] = mapped_column(JSON)
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SweepTrial(Base):
    """One point of a sweep's space: drawn once, trained by one job, judged by its objective.

    ``drawn`` is what the sampler drew (an index, or a number), ``parameters`` the values that it stands for.
    """

    __tablename__ = "sweep_trial"
    __table_args__ = (
        CheckConstraint(
            "state IN ('proposed','submitted','invalid','succeeded','failed','pruned','cancelled')", name="state"
        ),
        UniqueConstraint("job_id"),
        Index("ix_sweep_trial_open", "sweep_id", "number", postgresql_where=text("state IN ('proposed','submitted')")),
    )

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweep.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(server_default="proposed")
    drawn: Mapped[dict[str, Any]] = mapped_column(JSON)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id"))
    problem: Mapped[dict[str, Any] | None]
    rungs: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    objective: Mapped[float | None]
    best_step: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
