"""The queue as a tenant may see it: its own queued jobs in the order of the claim, and totals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, cast, func, select, tuple_
from sqlalchemy.orm import Session, defer

from services.db.models import Job
from services.errors import InvalidRequest
from services.identifiers import check_id
from services.jobs import repository
from services.jobs.line import Line
from services.jobs.places import Waiting, place
from services.pages import Page, invalid_cursor, timestamp

_never = cast("-infinity", DateTime(timezone=True))
_order = tuple_(func.coalesce(Job.held_until, _never), -Job.priority, Job.created_at, Job.id)
"""Those whose start time lies ahead come last; else as the claim takes them."""


def list_queue(session: Session, line: Line, *, tenant_id: str, limit: int = 20, after: str | None = None) -> Page:
    """Return a page of the tenant's queued jobs, the next one first, each with its place in ``line``.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    query = select(Job).where(Job.tenant_id == tenant_id, Job.state == "queued")
    if after is not None:
        last = select(*_order).where(Job.id == _cursor(session, tenant_id, after)).scalar_subquery()
        query = query.where(_order > last)
    documents = (defer(one, raiseload=True) for one in (Job.request, Job.resolved, Job.preflight, Job.transitions))
    rows = session.scalars(query.options(*documents).order_by(*_order).limit(limit + 1))
    return Page.of([_entry(line, job) for job in rows], limit=limit)


def newest(session: Session, *, tenant_id: str) -> datetime:
    """Return when the newest of the tenant's jobs was submitted: a line that is older does not have all of them."""
    last = select(Job.created_at).where(Job.tenant_id == tenant_id).order_by(Job.id.desc()).limit(1)
    return session.scalar(last) or datetime.min.replace(tzinfo=UTC)


def totals(line: Line, *, tenant_id: str) -> dict[str, Any]:
    """Return how much waits and runs, of the tenant and of the whole service."""
    standing = line.standings.get(tenant_id)
    return {
        "queued": line.queued(tenant_id),
        "scheduled": line.scheduled.get(tenant_id, 0),
        "running": standing.running if standing else 0,
        "max_running_jobs": standing.limit if standing else line.max_running_jobs,
        "service": {
            "queued": line.queued(),
            "running": len(line.running),
            "slots": sum(one.slots for one in line.capacities),
        },
        "as_of": timestamp(line.as_of),
    }


def _entry(line: Line, job: Job) -> dict[str, Any]:
    start = job.start_after if job.held_until is not None else None
    waiting = Waiting(job.id, job.tenant_id, job.device, job.priority, job.created_at, start)
    return {
        "id": job.id,
        "object": "queued_job",
        "name": job.name,
        "priority": job.priority,
        "device": job.device,
        "labels": job.labels,
        "created_at": timestamp(job.created_at),
        "start_after": timestamp(job.start_after),
        **place(line, waiting),
    }


def _cursor(session: Session, tenant_id: str, after: str) -> str:
    try:
        known = repository.find_version(session, tenant_id=tenant_id, job_id=check_id(after, "job"))
    except InvalidRequest:
        known = None
    if known is None:
        raise invalid_cursor()
    return after
