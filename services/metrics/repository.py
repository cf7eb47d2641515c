"""All SQL about metric segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from services.db.engine import BINARY
from services.db.models import MetricSegment

_STORED = (MetricSegment.name, MetricSegment.first_step, MetricSegment.steps, MetricSegment.values)


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes of one stored run of points."""

    name: str
    first_step: int
    steps: bytes
    values: bytes


@dataclass(frozen=True, slots=True)
class Outline:
    """A stored run of points without them; the extremes are None where they were not kept."""

    name: str
    first_step: int
    last_step: int
    count: int
    low_step: int | None
    low: float | None
    high_step: int | None
    high: float | None


def insert_segments(session: Session, rows: Sequence[dict[str, object]]) -> None:
    """Insert segments; one that is there already (a commit of unknown outcome was repeated) stays."""
    if rows:
        session.execute(insert(MetricSegment).on_conflict_do_nothing(), list(rows))


def take_after(session: Session, *, job_id: str, step: int) -> list[Segment]:
    """Delete the segments that reach beyond ``step``, and return those that begin before: they are to be cut."""
    reaching = (MetricSegment.job_id == job_id, MetricSegment.last_step > step)
    query = select(*_STORED).where(*reaching, MetricSegment.first_step <= step)
    straddling = [Segment(*row) for row in session.execute(query, execution_options=BINARY)]
    session.execute(delete(MetricSegment).where(*reaching).execution_options(synchronize_session=False))
    return straddling


def take_small(session: Session, *, job_id: str, count: int) -> list[Segment]:
    """Delete and return the segments at the end of each series that have fewer than ``count`` points, by name and step.

    Those at the end are the ones that follow the last larger one.
    """
    larger = aliased(MetricSegment)
    last = (
        select(func.coalesce(func.max(larger.first_step), -1))
        .where(larger.job_id == job_id, larger.name == MetricSegment.name, larger.count >= count)
        .scalar_subquery()
    )
    small = (MetricSegment.job_id == job_id, MetricSegment.count < count, MetricSegment.first_step > last)
    query = select(*_STORED)
    rows = session.execute(
        query.where(*small).order_by(MetricSegment.name, MetricSegment.first_step), execution_options=BINARY
    ).all()
    gone = tuple_(MetricSegment.name, MetricSegment.first_step).in_([(row.name, row.first_step) for row in rows])
    if rows:
        statement = delete(MetricSegment).where(MetricSegment.job_id == job_id, gone)
        session.execute(statement.execution_options(synchronize_session=False))
    return [Segment(*row) for row in rows]


def outlines(session: Session, *, job_id: str, names: Sequence[str] | None, after_step: int | None) -> list[Outline]:
    """Return what is known of a job's segments without their points, by name and step."""
    found = [getattr(MetricSegment, field.name) for field in fields(Outline)]
    query = select(*found).where(MetricSegment.job_id == job_id, *_among(names, after_step))
    return [Outline(*row) for row in session.execute(query.order_by(MetricSegment.name, MetricSegment.first_step))]


def segments(
    session: Session,
    *,
    job_id: str,
    names: Sequence[str] | None,
    after_step: int | None = None,
    first_steps: Sequence[int] | None = None,
) -> list[Segment]:
    """Return a job's segments by name and step; with ``first_steps`` only those that begin there."""
    query = select(*_STORED).where(MetricSegment.job_id == job_id, *_among(names, after_step))
    if first_steps is not None:
        query = query.where(MetricSegment.first_step.in_(first_steps))
    rows = session.execute(query.order_by(MetricSegment.name, MetricSegment.first_step), execution_options=BINARY)
    return [Segment(*row) for row in rows]


def _among(names: Sequence[str] | None, after_step: int | None) -> list[ColumnElement[bool]]:
    """Return what segments of these names, or with points after this step, fulfil."""
    found: list[ColumnElement[bool]] = []
    if names is not None:
        found.append(MetricSegment.name.in_(names))
    if after_step is not None:
        found.append(MetricSegment.last_step > after_step)
    return found


def newest_segments(session: Session, *, job_id: str, names: Sequence[str] | None) -> list[Segment]:
    """Return the last segment of each series."""
    last = (
        select(MetricSegment.name, func.max(MetricSegment.first_step).label("first_step"))
        .where(MetricSegment.job_id == job_id)
        .group_by(MetricSegment.name)
        .subquery()
    )
    query = (
        select(*_STORED)
        .join(last, (last.c.name == MetricSegment.name) & (last.c.first_step == MetricSegment.first_step))
        .where(MetricSegment.job_id == job_id)
    )
    if names is not None:
        query = query.where(MetricSegment.name.in_(names))
    return [Segment(*row) for row in session.execute(query.order_by(MetricSegment.name), execution_options=BINARY)]
