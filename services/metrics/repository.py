"""All SQL about metric segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.engine import BINARY
from services.db.models import MetricSegment


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes of one stored run of points."""

    name: str
    steps: bytes
    values: bytes


def insert_segments(session: Session, rows: Sequence[dict[str, object]]) -> None:
    """Insert segments; one that is there already (a commit of unknown outcome was repeated) stays."""
    if rows:
        session.execute(insert(MetricSegment).on_conflict_do_nothing(), list(rows))


def delete_after(session: Session, *, job_id: str, step: int) -> None:
    """Delete the segments that lie after ``step``; none straddles a checkpoint, so none is cut."""
    session.execute(
        delete(MetricSegment)
        .where(MetricSegment.job_id == job_id, MetricSegment.last_step > step)
        .execution_options(synchronize_session=False)
    )


def segments(session: Session, *, job_id: str, names: Sequence[str] | None, after_step: int | None) -> list[Segment]:
    """Return a job's segments by name and step."""
    query = select(MetricSegment.name, MetricSegment.steps, MetricSegment.values).where(MetricSegment.job_id == job_id)
    if names is not None:
        query = query.where(MetricSegment.name.in_(names))
    if after_step is not None:
        query = query.where(MetricSegment.last_step > after_step)
    rows = session.execute(query.order_by(MetricSegment.name, MetricSegment.first_step), execution_options=BINARY)
    return [Segment(*row) for row in rows]


def newest_segments(session: Session, *, job_id: str, names: Sequence[str] | None) -> list[Segment]:
    """Return the last segment of each series."""
    last = (
        select(MetricSegment.name, func.max(MetricSegment.first_step).label("first_step"))
        .where(MetricSegment.job_id == job_id)
        .group_by(MetricSegment.name)
        .subquery()
    )
    query = (
        select(MetricSegment.name, MetricSegment.steps, MetricSegment.values)
        .join(last, (last.c.name == MetricSegment.name) & (last.c.first_step == MetricSegment.first_step))
        .where(MetricSegment.job_id == job_id)
    )
    if names is not None:
        query = query.where(MetricSegment.name.in_(names))
    return [Segment(*row) for row in session.execute(query.order_by(MetricSegment.name), execution_options=BINARY)]
