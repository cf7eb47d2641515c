"""Job states: one table of what may follow what, and the one function that moves a job."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, insert
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, Job, JobEvent
from services.errors import Conflict
from services.identifiers import new_id
from services.webhooks.outbox import put_job_event

NEXT: dict[str, frozenset[str]] = {
    "queued": frozenset({"starting", "paused", "cancelled", "failed"}),
    "starting": frozenset({"running", "queued", "pausing", "cancelling", "cancelled", "failed"}),
    "running": frozenset({"queued", "pausing", "cancelling", "succeeded", "failed"}),
    "pausing": frozenset({"queued", "paused", "cancelling", "succeeded", "failed"}),
    "paused": frozenset({"queued", "cancelled"}),
    "cancelling": frozenset({"cancelled", "succeeded", "failed"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
STATES = tuple(NEXT)
LEASED_STATES = ("starting", "running", "pausing", "cancelling")

_INSERT_EVENT = insert(JobEvent)  # run without the ORM, which costs as much again: every step of every job comes here
_RFC3339 = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


class IllegalTransition(Conflict):
    """The job cannot go from its state to the one asked for."""

    code = "illegal_transition"


def transition(session: Session, job: Job, to: str, *, reason: str | None = None) -> None:
    """Move ``job``, whose row the caller has locked, to state ``to``, by the database's clock.

    Raises:
        IllegalTransition: the table does not allow it.
    """
    if to not in NEXT[job.state]:
        raise IllegalTransition(f"A job that is {job.state} cannot become {to}.")
    job.state = to
    job.reason = reason
    job.transitions = appended(transition_entry(to, reason, job.attempt))
    if to in TERMINAL_STATES:
        job.finished_at = func.now()
    if to not in LEASED_STATES:
        _release(job)
    touch(job)
    add_event(session, job, "job.state_changed", {"state": to, "reason": reason, "attempt": job.attempt})
    session.flush()


def transition_entry(to: str, reason: str | None, attempt: int | ColumnElement[int]) -> ColumnElement[list[Any]]:
    """Return, as SQL, one element of ``transitions``, stamped by the database's clock."""
    at = func.to_char(func.timezone("UTC", func.clock_timestamp()), _RFC3339)
    members: list[Any] = ["state", to, "at", at, "attempt", attempt]
    if reason is not None:
        members += ["reason", reason]
    return func.jsonb_build_array(func.jsonb_build_object(*members))


def appended(entry: ColumnElement[list[Any]]) -> ColumnElement[list[Any]]:
    """Return, as SQL, the job's ``transitions`` with ``entry`` at the end."""
    return func.jsonb_concat(Job.transitions, entry, type_=JSONB())


def touch(job: Job) -> None:
    """Mark the job as changed: pollers see a new version."""
    job.version = Job.version + 1
    job.updated_at = func.now()


def add_event(session: Session, job: Job, event_type: str, data: dict[str, Any]) -> None:
    """Record what happened, and put it into the outbox of webhooks, in the transaction that made it happen.

    The job's row is there, and locked by the caller or not yet seen by anybody else.
    """
    event_id = new_id("evt")
    session.connection().execute(_INSERT_EVENT, {"id": event_id, "job_id": job.id, "type": event_type, "data": data})
    put_job_event(session, job, event_id=event_id, event_type=event_type, state=data.get("state"))


def _release(job: Job) -> None:
    job.owner = None
    job.lease_expires_at = None
    job.seat = None
    job.phase = None
