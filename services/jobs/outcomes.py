"""How an attempt ends: in success, in a final failure, or back in the queue."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, Job
from services.errors import Fenced, TrainingFailure
from services.estimates.record import Pace, record
from services.failpoints import hit
from services.jobs import repository
from services.jobs.claims import Claim, lock_claimed
from services.jobs.states import add_event, touch, transition

MAX_CRASHES = 5
MAX_BARREN_ATTEMPTS = 2
"""So many deaths in a row without a new checkpoint mean that the job itself kills its trainers."""


def mark_running(session: Session, claim: Claim, *, environment: dict[str, Any], resume: str | None) -> None:
    """Record that the trainer has begun. A cancel that came first keeps its state."""
    job = lock_claimed(session, claim)
    job.resume = resume
    touch(job)
    add_event(session, job, "job.started", {"attempt": claim.attempt, "environment": environment, "resume": resume})
    if job.state == "starting":
        transition(session, job, "running")


def finish_succeeded(session: Session, claim: Claim, *, reason: str | None, pace: Pace | None = None) -> None:
    """End the job in success; repeating it after a commit of unknown outcome changes nothing.

    ``pace`` is what the attempt was seen to take; only a first one tells what a job takes.
    """
    job = _owned_unless_ended(session, claim)
    if job is None:
        return
    transition(session, job, "succeeded", reason=reason)
    hit("in_outcome")
    if pace is not None and claim.attempt == 1:
        record(session, job_id=job.id, resolved=claim.resolved, pace=pace, whole=reason is None)


def finish_cancelled(session: Session, claim: Claim) -> None:
    """End the job as cancelled."""
    job = _owned_unless_ended(session, claim)
    if job is not None:
        _cancel(session, job)


def give_back(session: Session, claim: Claim, *, reason: str) -> None:
    """Let go of a job whose attempt ended without fault: it was told to pause, or its worker drains."""
    job = _owned_unless_ended(session, claim)
    if job is not None:
        _requeue(session, job, reason)


def release(session: Session, job: Job, *, reason: str) -> None:
    """Queue a job, whose row the caller has locked, again without blame: its worker is in another world."""
    _requeue(session, job, reason)


def finish_failed(session: Session, claim: Claim, failure: TrainingFailure) -> None:
    """End the attempt: a fault of the machine is retried within bounds, a fault of the request is final."""
    job = _owned_unless_ended(session, claim)
    if job is not None:
        _fail(session, job, failure)


def expire(session: Session, job: Job) -> None:
    """Take a job, whose row the caller has locked, from an owner that stopped renewing its lease."""
    add_event(session, job, "job.lease_expired", {"attempt": job.attempt, "owner": job.owner})
    _fail(
        session,
        job,
        TrainingFailure(
            "The worker that trained this job stopped answering.",
            code="worker_lost",
            failure_class="infrastructure",
            retryable=True,
            hint="Nothing to do: the job goes on from its last checkpoint.",
        ),
    )


def _owned_unless_ended(session: Session, claim: Claim) -> Job | None:
    """Return the claimed job; None where this very epoch has already ended it."""
    try:
        return lock_claimed(session, claim)
    except Fenced:
        job = repository.find_owned(session, job_id=claim.job_id, epoch=claim.epoch)
        if job is not None and (job.state in TERMINAL_STATES or job.state == "queued"):
            return None
        raise


def _fail(session: Session, job: Job, failure: TrainingFailure) -> None:
    if job.cancel_requested_at is not None:
        return _cancel(session, job)
    if not failure.retryable:
        return _end(session, job, failure)
    if failure.code == "storage_full":
        return _rest(session, job, failure)
    if failure.code == "stalled" and repository.has_failed_by(session, job_id=job.id, code=failure.code):
        return _end(session, job, _final(failure))
    job.crashes += 1
    job.barren_attempts += 1
    if job.crashes >= MAX_CRASHES or job.barren_attempts >= MAX_BARREN_ATTEMPTS:
        return _end(session, job, _gave_up(job, failure))
    add_event(session, job, "job.attempt_failed", {"attempt": job.attempt, "error": failure.to_dict()})
    return _requeue(session, job, failure.code)


def _rest(session: Session, job: Job, failure: TrainingFailure) -> None:
    """Pause a job that found no room to write: trying again would not make any, and is no crash of the job's."""
    add_event(session, job, "job.storage_full", {"attempt": job.attempt, "error": failure.to_dict()})
    if job.state != "pausing":
        transition(session, job, "pausing", reason=failure.code)
    transition(session, job, "paused", reason=failure.code)


def _final(failure: TrainingFailure) -> TrainingFailure:
    """Return the failure as the job's last."""
    return TrainingFailure.from_dict({**failure.to_dict(), "retryable": False})


def _gave_up(job: Job, last: TrainingFailure) -> TrainingFailure:
    return TrainingFailure(
        f"The trainer died {job.crashes} times, the last {job.barren_attempts} without a new checkpoint. "
        f"The last time: {last.detail}",
        code="worker_crashed_repeatedly",
        failure_class=last.failure_class,
        retryable=False,
        hint=last.hint or "Try a smaller model or batch, or checkpoint more often.",
    )


def _end(session: Session, job: Job, failure: TrainingFailure) -> None:
    job.error = failure.to_dict()
    transition(session, job, "failed", reason=failure.code)


def _cancel(session: Session, job: Job) -> None:
    """End the job as cancelled, for the reason that whoever asked for it gave."""
    reason = job.reason if job.state == "cancelling" else "cancel_requested"
    if job.state == "running":
        transition(session, job, "cancelling")
    transition(session, job, "cancelled", reason=reason)


def _requeue(session: Session, job: Job, reason: str) -> None:
    if job.cancel_requested_at is not None:
        return _cancel(session, job)
    if job.state == "pausing":  # it rests, however its attempt ended
        return transition(session, job, "paused", reason="pause_requested")
    return transition(session, job, "queued", reason=reason)
