"""The tables of data sets, as SQLAlchemy models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models import Base


class Dataset(Base):
    """A tenant's own data: where its upload is, and once it is ready, what its columns are."""

    __tablename__ = "dataset"
    __table_args__ = (
        CheckConstraint("state IN ('fetching','uploading','preparing','ready','failed')", name="state"),
        Index("ix_dataset_list", "tenant_id", text("id DESC")),
        Index("ix_dataset_source", "tenant_id", "source_sha256"),
        Index("ix_dataset_fetch", "fetch_at", postgresql_where=text("state IN ('fetching','preparing')")),
    )

    # `source_*` are of the bytes that were sent, `sha256` and `size_bytes` of the prepared file that trainers read.
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="uploading")
    format: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    source_sha256: Mapped[str | None]
    source_size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    # Of data that the service fetches: from where and how far, when it goes on (or another may), whose turn it is.
    remote: Mapped[dict[str, Any] | None]
    fetch_at: Mapped[datetime | None]
    fetch_epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    problems: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    info: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    profile: Mapped[dict[str, Any] | None] = mapped_column(JSON, deferred=True)
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DatasetPart(Base):
    """One part of an upload that has arrived whole."""

    __tablename__ = "dataset_part"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class DatasetChunk(Base):
    """Where each chunk of a data set's files lies: its parts while it is uploaded, then the prepared file."""

    __tablename__ = "dataset_chunk"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "chunk_sha256"], ["chunk.tenant_id", "chunk.sha256"]),
        Index("ix_dataset_chunk_chunk", "tenant_id", "chunk_sha256"),
    )

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    file: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    tenant_id: Mapped[str]
    chunk_sha256: Mapped[bytes]
    offset_bytes: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(Integer)
