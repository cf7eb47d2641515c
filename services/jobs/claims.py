"""Ownership of a job: the claim, its lease, and the fence that every later write passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from services.db.models import Job
from services.errors import Fenced
from services.jobs import repository
from services.jobs.states import add_event, appended, transition_entry
from services.jobs.turns import next_turn

FORMAT = 1
"""The newest form of a resolved job that this version writes and can run. Raise it with the first job that an older
worker would run wrongly: during an upgrade that worker passes such jobs over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at one job: whoever holds the newest epoch owns it."""

    job_id: str
    tenant_id: str
    epoch: int
    attempt: int
    resolved: dict[str, Any]
    origin: dict[str, Any] | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """What the owner is asked to do, as read with each renewal."""

    cancel_requested: bool
    pause_requested: bool


def claim_next(
    session: Session, *, owner: str, devices: Sequence[str], lease_seconds: float, max_running_jobs: int | None = None
) -> Claim | None:
    """Claim the queued job whose turn it is among those that fit ``devices`` (``cpu``, ``cuda:2`` …); None if none is.

    One statement, so that two claimers never get one job and never wait for each other; the database's clock only.
    Whose turn it is, and how a limit is kept (``max_running_jobs`` for tenants that have none of their own), says
    `services.jobs.turns`.
    """
    turn = next_turn(devices=devices, newest_format=FORMAT, max_running_jobs=max_running_jobs)
    statement = (
        update(Job)
        .where(Job.id == turn.c.id)
        .values(
            state="starting",
            reason=None,
            owner=owner,
            seat=turn.c.seat,
            epoch=Job.epoch + 1,
            attempt=Job.attempt + 1,
            lease_expires_at=_after(lease_seconds),
            claimed_at=func.now(),
            started_at=func.coalesce(Job.started_at, func.now()),
            transitions=appended(transition_entry("starting", None, Job.attempt + 1)),
            version=Job.version + 1,
            updated_at=func.now(),
        )
        .returning(Job)
        .execution_options(synchronize_session=False)
    )
    job = _claimed(session, statement)
    if job is None:
        return None
    add_event(session, job, "job.state_changed", {"state": "starting", "reason": None, "attempt": job.attempt})
    return Claim(job.id, job.tenant_id, job.epoch, job.attempt, job.resolved, job.origin, job.traceparent)


def renew(session: Session, claim: Claim, *, lease_seconds: float) -> None:
    """Extend the lease.

    Raises:
        Fenced: a newer epoch owns the job, or it has ended.
    """
    renewed = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.epoch == claim.epoch, Job.lease_expires_at.is_not(None))
        .values(lease_expires_at=_after(lease_seconds))
        .execution_options(synchronize_session=False)
        .returning(Job.id)
    )
    if renewed.first() is None:
        raise Fenced()


def read_control(session: Session, claim: Claim) -> Control:
    """Read what the owner is asked to do.

    Raises:
        Fenced: a newer epoch owns the job, or it has ended.
    """
    row = session.execute(
        select(Job.cancel_requested_at, Job.state).where(
            Job.id == claim.job_id, Job.epoch == claim.epoch, Job.lease_expires_at.is_not(None)
        )
    ).first()
    if row is None:
        raise Fenced()
    return Control(row.cancel_requested_at is not None, pause_requested=row.state == "pausing")


def mark_written(session: Session, claim: Claim, mark: str) -> None:
    """Leave the mark of a write in the transaction that makes it."""
    marked = update(Job).where(Job.id == claim.job_id, Job.epoch == claim.epoch).values(last_write=mark)
    session.execute(marked.execution_options(synchronize_session=False))


def was_written(session: Session, claim: Claim, mark: str) -> bool:
    """Tell whether the write with this mark was committed; one that is about to be is waited for."""
    return session.scalar(select(Job.last_write).where(Job.id == claim.job_id).with_for_update()) == mark


def lock_claimed(session: Session, claim: Claim) -> Job:
    """Return the claimed job with its row locked, so that what follows in this transaction is fenced.

    Raises:
        Fenced: a newer epoch owns the job, or it has ended.
    """
    job = repository.find_owned(session, job_id=claim.job_id, epoch=claim.epoch)
    if job is None or job.lease_expires_at is None:
        raise Fenced()
    return job


def _claimed(session: Session, statement: ReturningUpdate[Job]) -> Job | None:
    """Run the claim; again where another claimer, unseen by its snapshot, took the same seat of a tenant."""
    while True:
        try:
            with session.begin_nested():
                return session.scalar(statement)
        except IntegrityError:
            continue


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.now() + literal(seconds) * text("interval '1 second'")
