"""What clients tell a job that is under way: cancel, pause, resume. Each asked twice is asked once."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from services.db.after_commit import after_commit
from services.db.models import TERMINAL_STATES, Job
from services.errors import AlreadyTerminal, Conflict, NotFound
from services.identifiers import check_id
from services.jobs import repository
from services.jobs.states import transition
from services.jobs.views import job_view
from services.queue import Doorbell


class AlreadyCancelling(Conflict):
    """The job is being cancelled: it cannot be paused or resumed any more."""

    code = "already_cancelling"


class StillPausing(Conflict):
    """The job has not come to rest yet; resume it once it is paused."""

    code = "still_pausing"


def request_cancel(
    session: Session, *, tenant_id: str, job_id: str, reason: str = "cancel_requested"
) -> dict[str, Any]:
    """Cancel a waiting job, or ask the owner of a running one to stop.

    ``reason`` becomes that of the job: who asked first.

    Raises:
        NotFound: the tenant has no such job.
        AlreadyTerminal: it has ended.
        InvalidRequest: ``invalid_id``.
    """
    job = _locked(session, tenant_id, job_id)
    if job.cancel_requested_at is None:
        job.cancel_requested_at = func.now()
        to = "cancelled" if job.state in ("queued", "paused") else "cancelling"
        transition(session, job, to, reason=reason)
        session.refresh(job)
    return job_view(job)


def request_pause(session: Session, *, tenant_id: str, job_id: str) -> dict[str, Any]:
    """Keep a waiting job from starting, or ask the owner of a running one to checkpoint and let go of its worker.

    Raises:
        NotFound: the tenant has no such job.
        AlreadyTerminal: it has ended.
        AlreadyCancelling: it is being cancelled.
        InvalidRequest: ``invalid_id``.
    """
    job = _locked(session, tenant_id, job_id)
    _refuse_cancelling(job)
    if job.state not in ("pausing", "paused"):
        transition(session, job, "paused" if job.state == "queued" else "pausing", reason="pause_requested")
        session.refresh(job)
    return job_view(job)


def resume(session: Session, *, tenant_id: str, job_id: str, doorbell: Doorbell) -> dict[str, Any]:
    """Put a paused job back into the queue; one that is queued or running already is left as it is.

    Raises:
        NotFound: the tenant has no such job.
        AlreadyTerminal: it has ended.
        AlreadyCancelling: it is being cancelled.
        StillPausing: its worker has not let go of it yet.
        InvalidRequest: ``invalid_id``.
    """
    job = _locked(session, tenant_id, job_id)
    _refuse_cancelling(job)
    if job.state == "pausing":
        raise StillPausing("The job is pausing.", hint="Wait until its state is paused, then resume it.")
    if job.state == "paused":
        job.rung_at = func.now()
        transition(session, job, "queued", reason="resume_requested")
        session.refresh(job)
        if job.held_until is None:
            after_commit(session, partial(doorbell.ring, job.id, job.device))
    return job_view(job)


def _locked(session: Session, tenant_id: str, job_id: str) -> Job:
    job = repository.find_locked(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if job is None:
        raise NotFound()
    if job.state in TERMINAL_STATES:
        raise AlreadyTerminal(job.state)
    return job


def _refuse_cancelling(job: Job) -> None:
    if job.cancel_requested_at is not None:
        raise AlreadyCancelling("The job is being cancelled.", hint="Retry it once it has ended, or fork it.")
