"""The tables, as SQLAlchemy models. PostgreSQL only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TERMINAL_STATES = ("succeeded", "failed", "cancelled")


class Base(DeclarativeBase):
    """Declarative base with explicit constraint names, so that migrations can name what they drop."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this class attribute
        datetime: DateTime(timezone=True),
        str: Text,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        bytes: LargeBinary,
    }


class Tenant(Base):
    """Who owns things."""

    __tablename__ = "tenant"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    limits: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    stored_at: Mapped[datetime | None]
    max_running_jobs: Mapped[int | None] = mapped_column(Integer)  # None: the service's own limit
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApiKey(Base):
    """A key: its public id and the sha256 of its secret."""

    __tablename__ = "api_key"
    __table_args__ = (Index("ix_api_key_list", "tenant_id", text("created_at DESC"), text("id DESC")),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str] = mapped_column(server_default="")
    secret_sha256: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_by: Mapped[str | None]
    rotated_to: Mapped[str | None]


class Model(Base):
    """A checked definition, and what is shown of it; the same content is the same row."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("tenant_id", "sha256"), Index("ix_model_list", "tenant_id", text("id DESC")))

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    sha256: Mapped[str]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    summary: Mapped[dict[str, Any]] = mapped_column(JSON)
    source: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Job(Base):
    """One row is the whole truth about a job."""

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued','starting','running','pausing','paused','cancelling','succeeded','failed','cancelled')",
            name="state",
        ),
        # The claim finds the head of each tenant's queue here: no scan and no count, however many jobs wait (P9).
        Index(
            "ix_job_queued",
            "tenant_id",
            "device",
            "format",
            text("priority DESC"),
            "created_at",
            "id",
            postgresql_where=text("state = 'queued' AND held_until IS NULL"),
        ),
        Index("ix_job_held", "held_until", postgresql_where=text("state = 'queued' AND held_until IS NOT NULL")),
        Index("ix_job_rung", "rung_at", postgresql_where=text("state = 'queued' AND held_until IS NULL")),
        # No seat is taken twice: that is what keeps a tenant's limit of running jobs, whoever claims at once.
        Index("ix_job_seat", "tenant_id", "seat", unique=True, postgresql_where=text("seat IS NOT NULL")),
        Index("ix_job_claimed", "tenant_id", "claimed_at", postgresql_where=text("claimed_at IS NOT NULL")),
        Index("ix_job_running", "tenant_id", postgresql_where=text("lease_expires_at IS NOT NULL")),
        Index("ix_job_leased", "lease_expires_at", postgresql_where=text("lease_expires_at IS NOT NULL")),
        # The jobs whose checkpoints are to go one day; what has none left is taken out.
        Index(
            "ix_job_checkpoint_days",
            "finished_at",
            postgresql_where=text("checkpoint_days IS NOT NULL AND finished_at IS NOT NULL"),
        ),
        Index("ix_job_tenant_list", "tenant_id", text("id DESC")),
        # Every submission counts them. Reports of a running job change neither column, so they stay cheap (HOT).
        Index("ix_job_unfinished", "tenant_id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_job_webhook", "webhook_id", postgresql_where=text("webhook_id IS NOT NULL")),
    )

    # JSON, not JSONB, where the order of members is the sender's and may matter (a ModuleDict's children).
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str | None]
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    state: Mapped[str] = mapped_column(server_default="queued")
    phase: Mapped[str | None]
    reason: Mapped[str | None]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    format: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    device: Mapped[str] = mapped_column(server_default="auto")
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    resolved: Mapped[dict[str, Any]] = mapped_column(JSON)
    definition_sha256: Mapped[str]
    preflight: Mapped[dict[str, Any]] = mapped_column(JSON)
    origin: Mapped[dict[str, Any] | None]
    estimate: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    transitions: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    error: Mapped[dict[str, Any] | None]
    resume: Mapped[str | None]
    execution: Mapped[dict[str, Any] | None]
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    crashes: Mapped[int] = mapped_column(Integer, server_default="0")
    barren_attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    last_write: Mapped[str | None]
    cancel_requested_at: Mapped[datetime | None]
    checkpoint_days: Mapped[int | None] = mapped_column(Integer)
    webhook_id: Mapped[str | None] = mapped_column(ForeignKey("webhook.id", ondelete="SET NULL"))
    webhook_events: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    traceparent: Mapped[str | None]
    rung_at: Mapped[datetime] = mapped_column(server_default=func.now())
    start_after: Mapped[datetime | None]
    held_until: Mapped[datetime | None]  # ``start_after`` while that lies ahead: nobody claims the job
    claimed_at: Mapped[datetime | None]
    seat: Mapped[int | None] = mapped_column(Integer)  # which of its tenant's places it runs on, if those are limited
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobEvent(Base):
    """What happened to a job, in order; written in the transaction that made it happen."""

    __tablename__ = "job_event"
    __table_args__ = (Index("ix_job_event_job", "job_id", "sequence"),)

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IdempotencyRecord(Base):
    """The answer that a repeated request gets again."""

    __tablename__ = "idempotency_record"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_sha256: Mapped[str]
    response: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MetricSegment(Base):
    """A run of points of one series: ``count`` little-endian int64 steps (none where they follow one another) and
    float64 values.

    ``low`` and ``high`` are its extremes (NaN where it has one), so that long series are drawn without their points;
    segments that were written before there were such columns have none.
    """

    __tablename__ = "metric_segment"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    first_step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_step: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(Integer)
    steps: Mapped[bytes]
    values: Mapped[bytes]
    low_step: Mapped[int | None] = mapped_column(BigInteger)
    low: Mapped[float | None] = mapped_column(Double)
    high_step: Mapped[int | None] = mapped_column(BigInteger)
    high: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Chunk(Base):
    """Up to 1 MiB of bytes, named by their tenant and sha256; they lie here, or in an object whose name ends so."""

    __tablename__ = "chunk"
    __table_args__ = (CheckConstraint("num_nonnulls(data, object) = 1", name="bytes"),)

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    sha256: Mapped[bytes] = mapped_column(primary_key=True)
    size_bytes: Mapped[int] = mapped_column(Integer)
    data: Mapped[bytes | None]
    object: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Checkpoint(Base):
    """The manifest of one checkpoint; its row is written last, so what is listed is whole."""

    __tablename__ = "checkpoint"
    __table_args__ = (Index("ix_checkpoint_job", "job_id", "step"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    step: Mapped[int] = mapped_column(BigInteger)
    epoch: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    final: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    best: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    pinned: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CheckpointChunk(Base):
    """Where each chunk of a checkpoint's files lies; the foreign key makes a race with the collector fail safe."""

    __tablename__ = "checkpoint_chunk"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "chunk_sha256"], ["chunk.tenant_id", "chunk.sha256"]),
        Index("ix_checkpoint_chunk_chunk", "tenant_id", "chunk_sha256"),
    )

    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoint.id", ondelete="CASCADE"), primary_key=True)
    file: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    tenant_id: Mapped[str]
    chunk_sha256: Mapped[bytes]
    offset_bytes: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(Integer)
