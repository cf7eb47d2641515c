"""Jobs that are to start at a time: the form of that time, and how such a job comes into the queue."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, case, func, literal, null
from sqlalchemy.orm import Session

from services.db.models import Job
from services.jobs.states import add_event, touch
from services.pages import timestamp
from services.training.model import problem

MAX_DAYS_AHEAD = 366
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
_FORM = "A time is written as RFC 3339 has it, with its offset from UTC."
_EXAMPLE = 'For example "2026-12-24T18:00:00Z".'


def check_time(value: str) -> str:
    """Return ``value`` if it is a time that a job can start after; a time that has passed means at once.

    Raises:
        PydanticCustomError: ``invalid_time``; ``out_of_range`` beyond `MAX_DAYS_AHEAD`.
    """
    try:
        moment = read_time(value) if _RFC3339.match(value) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise problem("invalid_time", f"{value[:80]!r} is no time. {_FORM}", hint=_EXAMPLE)
    if moment > datetime.now(UTC) + timedelta(days=MAX_DAYS_AHEAD):
        raise problem("out_of_range", f"The start lies more than {MAX_DAYS_AHEAD} days ahead.", hint="Submit it later.")
    return value


def read_time(value: str) -> datetime:
    """Return the moment that an RFC 3339 text names, in UTC."""
    return datetime.fromisoformat(value.upper()).astimezone(UTC)


def held_until(start_after: datetime | None) -> ColumnElement[datetime | None] | None:
    """Return, as SQL, until when nobody is to claim the job: the database's clock says what has passed."""
    if start_after is None:
        return None
    return case((literal(start_after) > func.now(), literal(start_after)), else_=null())


def release(session: Session, job: Job) -> None:
    """Put a job, whose row the caller has locked, where workers look for work."""
    job.held_until = None
    job.rung_at = func.now()
    touch(job)
    add_event(session, job, "job.due", {"start_after": timestamp(job.start_after)})
