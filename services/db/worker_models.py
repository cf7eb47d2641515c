"""The table of workers, as a SQLAlchemy model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class WorkerSlot(Base):
    """Room for one job in a worker, renewed by its heartbeat; the slots of one worker share ``worker_id``.

    ``owner`` is what the slot writes into the jobs that it claims, ``devices`` what it can run, ``about`` what its
    machine and its programs are.
    """

    __tablename__ = "worker_slot"
    __table_args__ = (Index("ix_worker_slot_worker", "worker_id"),)

    owner: Mapped[str] = mapped_column(primary_key=True)
    worker_id: Mapped[str]
    devices: Mapped[list[str]] = mapped_column(ARRAY(Text))
    about: Mapped[dict[str, Any]]
    draining: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
