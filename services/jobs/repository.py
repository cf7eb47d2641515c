"""All SQL about jobs, but for the claim (``claims.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session, defer

from services.db.models import Job, JobEvent

_DOCUMENTS = (Job.request, Job.resolved, Job.preflight, Job.transitions)


def find(session: Session, *, tenant_id: str, job_id: str) -> Job | None:
    """Return the tenant's job, unlocked."""
    return session.scalar(select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id))


def find_locked(session: Session, *, tenant_id: str, job_id: str) -> Job | None:
    """Return the tenant's job with its row locked until the transaction ends."""
    return session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.tenant_id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def find_owned(session: Session, *, job_id: str, epoch: int) -> Job | None:
    """Return the job, locked, if ``epoch`` still owns it; every fenced write begins here.

    Without its documents, which no write of a worker looks at.
    """
    return session.scalar(
        select(Job)
        .where(Job.id == job_id, Job.epoch == epoch)
        .options(*(defer(document, raiseload=True) for document in _DOCUMENTS))
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def page(
    session: Session, *, tenant_id: str, limit: int, after: str | None, states: Sequence[str], labels: Mapping[str, str]
) -> list[Job]:
    """Return up to ``limit`` jobs, newest first, older than ``after``."""
    return list(session.scalars(_filtered(tenant_id, after, states, labels).order_by(Job.id.desc()).limit(limit)))


def lock_expired(session: Session, *, limit: int) -> list[Job]:
    """Return jobs whose lease ran out, locked; those that another sweeper holds are skipped."""
    return list(
        session.scalars(
            select(Job).where(Job.lease_expires_at < func.now()).limit(limit).with_for_update(skip_locked=True)
        )
    )


def unanswered(session: Session, *, seconds: float, limit: int) -> list[tuple[str, str]]:
    """Return (id, device) of queued jobs whose doorbell was rung over ``seconds`` ago, and count it as rung now."""
    waiting = (
        select(Job.id)
        .where(Job.state == "queued", Job.rung_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds))
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(waiting.scalar_subquery()))
        .values(rung_at=func.now())
        .returning(Job.id, Job.device)
    )
    return [(job_id, device) for job_id, device in rows]


def count_unfinished(session: Session, *, tenant_id: str, at_most: int) -> int:
    """Return how many of the tenant's jobs have not ended, counting no further than ``at_most``."""
    unfinished = select(Job.id).where(Job.tenant_id == tenant_id, Job.finished_at.is_(None)).limit(at_most)
    return session.scalar(select(func.count()).select_from(unfinished.subquery())) or 0


def events(session: Session, *, job_id: str) -> list[JobEvent]:
    """Return a job's events in order."""
    return list(session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.sequence)))


def _filtered(tenant_id: str, after: str | None, states: Sequence[str], labels: Mapping[str, str]) -> Select[Job]:
    query = select(Job).where(Job.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Job.id < after)
    if states:
        query = query.where(Job.state.in_(states))
    if labels:
        query = query.where(Job.labels.contains(dict(labels)))
    return query
