"""Job logs: lines written by the owner of a job, read by its tenant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.log_models import JobLogLine
from services.jobs.queries import get_version
from services.pages import Page, invalid_cursor, timestamp

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error")
_CURSOR = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an attempt; ``number`` counts from 1."""

    number: int
    level: Level
    message: str


def write_lines(session: Session, *, job_id: str, attempt: int, lines: Sequence[Line]) -> None:
    """Write lines; those that are there already stay. The caller has passed the fence in this transaction."""
    rows = [
        {"job_id": job_id, "attempt": attempt, "line": one.number, "level": one.level, "message": one.message}
        for one in lines
    ]
    if rows:
        session.execute(insert(JobLogLine).on_conflict_do_nothing(), rows)


def list_lines(
    session: Session,
    *,
    tenant_id: str,
    job_id: str,
    limit: int = 20,
    after: str | None = None,
    levels: Sequence[str] = (),
) -> Page:
    """Return a page of a job's lines, oldest first; ``after`` is the id of the last one that is known.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``, ``invalid_cursor``.
    """
    get_version(session, tenant_id=tenant_id, job_id=job_id)  # there is such a job
    query = _later(select(JobLogLine).where(JobLogLine.job_id == job_id), after)
    if levels:
        query = query.where(JobLogLine.level.in_(levels))
    rows = session.scalars(query.order_by(JobLogLine.attempt, JobLogLine.line).limit(limit + 1))
    return Page.of([_view(row) for row in rows], limit=limit)


def _later(query: Select[JobLogLine], after: str | None) -> Select[JobLogLine]:
    if after is None:
        return query
    place = _CURSOR.fullmatch(after)
    if place is None:
        raise invalid_cursor()
    return query.where(tuple_(JobLogLine.attempt, JobLogLine.line) > (int(place[1]), int(place[2])))


def _view(row: JobLogLine) -> dict[str, Any]:
    return {
        "id": f"{row.attempt}.{row.line}",
        "object": "log_line",
        "attempt": row.attempt,
        "level": row.level,
        "message": row.message,
        "created_at": timestamp(row.created_at),
    }
