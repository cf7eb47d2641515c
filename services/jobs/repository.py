"""All SQL about jobs, but for the claim (``claims.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select, text, update
from sqlalchemy.orm import Session, defer

from services.db.models import Job, JobEvent

_jobs = Job.__table__
HELD_SECONDS = 20.0
"""So long at most does a process that froze, the API's too, keep the row of a job: as long as a lease."""
_OWNED_VERSIONS = text("SELECT id, tenant_id, version FROM job WHERE id = ANY(:job_ids)")
_UNFINISHED = text(
    "SELECT count(*) FROM (SELECT FROM job WHERE tenant_id = :tenant_id AND finished_at IS NULL LIMIT :at_most) AS one"
)
_DOCUMENTS = (Job.request, Job.resolved, Job.preflight, Job.transitions)


def find(session: Session, *, tenant_id: str, job_id: str) -> Job | None:
    """Return the tenant's job, unlocked."""
    return session.scalar(select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id))


def find_version(session: Session, *, tenant_id: str, job_id: str) -> int | None:
    """Return the version of the tenant's job: one column, by primary key, without the ORM."""
    statement = select(_jobs.c.version).where(_jobs.c.id == job_id, _jobs.c.tenant_id == tenant_id)
    return session.connection().scalar(statement)


def find_owned_versions(session: Session, *, job_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return tenant and version of each job there is. This is what polls cost, those together that come together."""
    rows = session.connection().execute(_OWNED_VERSIONS, {"job_ids": [*job_ids]})
    return {job_id: (tenant_id, version) for job_id, tenant_id, version in rows}


def find_locked(session: Session, *, tenant_id: str, job_id: str) -> Job | None:
    """Return the tenant's job with its row locked until the transaction ends, or is idle for `HELD_SECONDS`."""
    found: Job | None = session.scalar(
        select(Job, _held())
        .where(Job.id == job_id, Job.tenant_id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found


def hold_briefly(session: Session) -> None:
    """End the transaction, which is about to lock rows of jobs, when it is idle for `HELD_SECONDS`."""
    session.execute(select(_held()))


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
    session: Session,
    *,
    tenant_id: str,
    limit: int,
    after: str | None,
    states: Sequence[str],
    labels: Mapping[str, str],
    created_after: datetime | None,
) -> list[Job]:
    """Return up to ``limit`` jobs, newest first, older than ``after``."""
    query = _filtered(tenant_id, after, states, labels)
    if created_after is not None:
        query = query.where(Job.created_at > created_after)
    return list(session.scalars(query.order_by(Job.id.desc()).limit(limit)))


def lock_expired(session: Session, *, without: Sequence[str], grace_seconds: float) -> Job | None:
    """Return a job whose lease ran out, locked, and none ``without``; those that another sweeper holds are skipped.

    None within ``grace_seconds`` of PostgreSQL's start: nobody could renew while it was away, and its owners are on
    their way back.
    """
    expired = select(Job).where(Job.lease_expires_at < func.now())
    returned = func.pg_postmaster_start_time() < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, grace_seconds)
    found = expired.where(returned, Job.id.not_in(without)).order_by(Job.lease_expires_at).limit(1)
    return session.scalar(found.with_for_update(skip_locked=True))


def lock_due(session: Session, *, without: Sequence[str]) -> Job | None:
    """Return a queued job whose start time has come and that is still held, locked, and none ``without``.

    Those that others hold are skipped.
    """
    return session.scalar(
        select(Job)
        .where(Job.state == "queued", Job.held_until <= func.now(), Job.id.not_in(without))
        .order_by(Job.held_until)
        .limit(1)
        .options(*(defer(document, raiseload=True) for document in _DOCUMENTS))
        .with_for_update(skip_locked=True)
    )


def unanswered(session: Session, *, seconds: float, limit: int) -> list[tuple[str, str]]:
    """Return (id, device) of queued jobs whose doorbell was rung over ``seconds`` ago, and count it as rung now."""
    waiting = (
        select(Job.id)
        .where(
            Job.state == "queued",
            Job.held_until.is_(None),
            Job.rung_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds),
        )
        .order_by(Job.rung_at)
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
    counted = session.connection().scalar(_UNFINISHED, {"tenant_id": tenant_id, "at_most": at_most})
    return counted or 0


def events(session: Session, *, job_id: str, after: int = 0, limit: int | None = None) -> list[JobEvent]:
    """Return a job's events in order, those of a later sequence than ``after``.

    A job's events are written with its row locked, so their sequence is the order in which they were committed.
    """
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.sequence > after)
    return list(session.scalars(query.order_by(JobEvent.sequence).limit(limit)))


def has_failed_by(session: Session, *, job_id: str, code: str) -> bool:
    """Return whether an attempt at the job has ended with this failure, and another was made."""
    failed = select(JobEvent.sequence).where(JobEvent.job_id == job_id, JobEvent.type == "job.attempt_failed")
    return session.scalar(select(failed.where(JobEvent.data["error"]["code"].astext == code).exists())) or False


def event_sequence(session: Session, *, job_id: str, event_id: str) -> int | None:
    """Return where an event stands in its job's history."""
    return session.scalar(select(JobEvent.sequence).where(JobEvent.id == event_id, JobEvent.job_id == job_id))


def find_standing(session: Session, *, tenant_id: str, job_id: str) -> Row[tuple[int, str, dict[str, Any]]] | None:
    """Return version, state and progress of the tenant's job, without its documents."""
    return session.execute(
        select(Job.version, Job.state, Job.progress).where(Job.id == job_id, Job.tenant_id == tenant_id)
    ).first()


def versions(session: Session, *, job_ids: Sequence[str]) -> dict[str, int]:
    """Return the version of each job; it grows with every change that clients see."""
    rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids)))
    return {job_id: version for job_id, version in rows}  # noqa: C416 - rows are no pairs to a type checker


def _held() -> ColumnElement[str]:
    return func.set_config("idle_in_transaction_session_timeout", f"{HELD_SECONDS * 1000:.0f}ms", True)


def _filtered(tenant_id: str, after: str | None, states: Sequence[str], labels: Mapping[str, str]) -> Select[Job]:
    query = select(Job).where(Job.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Job.id < after)
    if states:
        query = query.where(Job.state.in_(states))
    if labels:
        query = query.where(Job.labels.contains(dict(labels)))
    return query
