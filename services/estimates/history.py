"""All SQL about how long jobs took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.estimates.work import Work

_INSERT = text(
    """
    INSERT INTO job_timing (job_id, tenant_id, definition_sha256, device, setup, batch_size, operations_per_sample,
                            batches, training_seconds, total_seconds, whole, estimated_seconds, basis)
    SELECT id, tenant_id, definition_sha256, :device, CAST(:setup AS jsonb), :batch_size,
           CAST(preflight->>'operations_per_sample' AS bigint), :batches, :training_seconds,
           extract(epoch FROM now() - started_at), :whole,
           CAST(estimate->>'likely_seconds' AS double precision), estimate->>'basis'
    FROM job WHERE id = :job_id
    ON CONFLICT (job_id) DO NOTHING
    """
)
_COLUMNS = "device, setup, batch_size, operations_per_sample, batches, training_seconds, total_seconds"
_OWN = text(
    f"SELECT {_COLUMNS} FROM job_timing WHERE tenant_id = :tenant AND definition_sha256 = :sha256 "  # noqa: S608
    "ORDER BY created_at DESC LIMIT 30"
)
# Of the newest jobs alone: a submission must not look through a history in which nothing fits.
_NEWEST = "(SELECT * FROM job_timing WHERE device = :device ORDER BY created_at DESC LIMIT 1000) AS newest"
_ALIKE = text(
    f"SELECT {_COLUMNS} FROM {_NEWEST} WHERE setup = CAST(:setup AS jsonb) "  # noqa: S608 - constants
    "ORDER BY created_at DESC LIMIT 50"
)
_ERROR = text(
    f"""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(total_seconds / estimated_seconds - 1)) AS median,
           percentile_disc(0.9) WITHIN GROUP (ORDER BY abs(total_seconds / estimated_seconds - 1)) AS p90,
           count(*) AS n
    FROM {_NEWEST} WHERE basis = :basis AND whole AND estimated_seconds > 0
    """  # noqa: S608 - constants
)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one past job took; seconds."""

    device: str
    setup: dict[str, Any]
    batch_size: int
    operations_per_sample: int | None
    batches: float
    training_seconds: float
    total_seconds: float

    @property
    def overhead_seconds(self) -> float:
        """From the claim to the first step, and from the last one to the end."""
        return max(0.0, self.total_seconds - self.training_seconds)


def own(session: Session, *, tenant_id: str, definition_sha256: str) -> list[Timing]:
    """Return what a tenant's jobs of one definition took, newest first."""
    return _timings(session.connection().execute(_OWN, {"tenant": tenant_id, "sha256": definition_sha256}))


def alike(session: Session, *, device: str, setup: str) -> list[Timing]:
    """Return what jobs took on this kind of device, whosever they are: how fast this service is, and no more."""
    return _timings(session.connection().execute(_ALIKE, {"device": device, "setup": setup}))


def error(session: Session, *, device: str, basis: str) -> dict[str, Any] | None:
    """Return how wrong estimates of this kind were: median and 90th percentile of |actual ÷ estimated − 1|."""
    row = session.connection().execute(_ERROR, {"device": device, "basis": basis}).one()
    return {"median": round(row.median, 3), "p90": round(row.p90, 3), "n": row.n} if row.n else None


def insert(session: Session, *, job_id: str, device: str, work: Work, seconds: float, setup: str, whole: bool) -> None:
    """Keep what a job took that has ended now, ``seconds`` of it in training; a second time changes nothing."""
    values = {"batch_size": work.batch_size, "batches": work.batches, "setup": setup, "whole": whole}
    session.execute(_INSERT, {"job_id": job_id, "device": device, "training_seconds": seconds, **values})


def _timings(rows: Iterable[Row[Any]]) -> list[Timing]:
    return [Timing(**row._mapping) for row in rows]
