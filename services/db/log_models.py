"""The table of job logs, as an SQLAlchemy model."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, func
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class JobLogLine(Base):
    """One line for people; numbered within its attempt, so that writing it twice is writing it once."""

    __tablename__ = "job_log_line"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True)
    level: Mapped[str]
    message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
