"""What of a job may be changed after it was submitted: its labels and its priority."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, Job
from services.errors import AlreadyTerminal, InvalidRequest, NotFound, Problem
from services.identifiers import check_id
from services.jobs import repository
from services.jobs.schema import MAX_LABELS, LabelValue, Priority, check_labels
from services.jobs.states import add_event, touch
from services.jobs.views import job_view
from services.preconditions import StillSo, in_any_case
from services.training.model import Section
from services.training.problems import problems_from


class JobChange(Section):
    """A JSON merge patch (RFC 7396) of a job: what is left out stays as it is."""

    labels: Annotated[dict[str, LabelValue | None], Field(max_length=MAX_LABELS), AfterValidator(check_labels)] = Field(
        default_factory=dict, description="Labels to set; null takes one away."
    )
    priority: Priority | None = Field(None, description="Higher goes first. Only of a job that has not ended.")


def change_job(
    session: Session, *, tenant_id: str, job_id: str, body: dict[str, Any], still_so: StillSo = in_any_case
) -> dict[str, Any]:
    """Change labels and priority of a job and return it; a change to what is so already is none.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        NotFound: the tenant has no such job.
        AlreadyTerminal: the priority of one that has ended.
        InvalidRequest: ``invalid_id``, or with every problem of the body.
    """
    change = _read(body)
    job = repository.find_locked(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if job is None:
        raise NotFound()
    still_so(job_view(job))
    if changed := {**_labels(job, change), **_priority(job, change)}:
        touch(job)
        add_event(session, job, "job.changed", changed)
        session.flush()
        session.refresh(job)
    return job_view(job)


def _labels(job: Job, change: JobChange) -> dict[str, Any]:
    """Set the labels; return them if that changed any."""
    merged = {name: value for name, value in {**job.labels, **change.labels}.items() if value is not None}
    if len(merged) > MAX_LABELS:
        detail = f"The job would have {len(merged)} labels; {MAX_LABELS} is the most."
        raise InvalidRequest([Problem("out_of_range", detail, "/labels", "Take some away: null removes one.")])
    if merged == job.labels:
        return {}
    job.labels = merged
    return {"labels": merged}


def _priority(job: Job, change: JobChange) -> dict[str, Any]:
    """Set the priority; return it if that changed it."""
    if change.priority is None or change.priority == job.priority:
        return {}
    if job.state in TERMINAL_STATES:
        raise AlreadyTerminal(job.state)
    job.priority = change.priority
    return {"priority": change.priority}


def _read(body: dict[str, Any]) -> JobChange:
    if "priority" in body and body["priority"] is None:
        raise InvalidRequest([Problem("int_type", "This must be an integer, not null.", "/priority")])
    try:
        return JobChange.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, JobChange)) from None
