"""Why a job is still in the queue, where it asks for more than every worker has, or for a newer one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from services.db.models import Job
from services.jobs.claims import FORMAT
from services.jobs.states import add_event, touch

WAITING = {"cuda": "waiting_for_gpus", "cpu": "waiting_for_processes"}
"""The ``reason`` of a job that several GPUs, or processes, are to train."""
UPGRADE = "waiting_for_upgrade"
"""The ``reason`` of a job that a newer version of this service queued."""


def note_waiting(session: Session, *, job_ids: Sequence[str]) -> int:
    """Say of those queued jobs that need several processes what they wait for; return of how many it is news."""
    unmet = or_(Job.device.like("%:%"), Job.format > FORMAT)
    waiting = select(Job).where(Job.id.in_(job_ids), Job.state == "queued", unmet)
    jobs = session.scalars(waiting.with_for_update(skip_locked=True)).all()
    return sum(_note(session, job) for job in jobs)


def _note(session: Session, job: Job) -> bool:
    device, _, count = job.device.partition(":")
    reason = UPGRADE if job.format > FORMAT else WAITING[device]
    if job.reason == reason:
        return False
    job.reason = reason
    add_event(session, job, "job.waiting", _newer() if reason == UPGRADE else _event(device, int(count)))
    touch(job)
    return True


def _newer() -> dict[str, Any]:
    detail = "The workers that are free are of an older version, which cannot run this job."
    return {"detail": detail, "hint": "Nothing to do: it starts once the workers are upgraded."}


def _event(device: str, count: int) -> dict[str, Any]:
    what = "GPUs" if device == "cuda" else "processes on its CPU"
    detail = f"No worker that trains with {count} {what} was free."
    hint = f"Start a worker with {count} {what}, or ask for fewer: cancel, and fork with other resources."
    return {"device": device, "processes": count, "detail": detail, "hint": hint}
