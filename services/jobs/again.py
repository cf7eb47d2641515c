"""A new job from an old one: the same request once more, or with changes, from where a checkpoint left off."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.models import TERMINAL_STATES, Job
from services.errors import Conflict, InvalidRequest, NotFound, Problem
from services.identifiers import check_id
from services.jobs import repository
from services.jobs.service import Placed, Submission, submit
from services.preflight import Preflight
from services.queue import Doorbell
from services.training.model import Section
from services.training.problems import problems_from


class NotTerminal(Conflict):
    """The job has not ended yet."""

    code = "not_terminal"


class ForkRequest(Section):
    """What is to differ from the job's request, and the weights to begin with."""

    changes: dict[str, Any] = Field(
        default_factory=dict,
        description="A JSON merge patch (RFC 7396) of the request: members replace their namesakes, null removes.",
    )
    from_checkpoint: str | None = Field(None, description="Short for `init_from` in the changes: `ckpt_…`.")


def retry(
    session: Session,
    *,
    tenant_id: str,
    job_id: str,
    preflight: Preflight,
    settings: Settings,
    doorbell: Doorbell,
    idempotency_key: str | None = None,
    placed: Placed = dict,
) -> Submission:
    """Queue a job's request once more, as a job of its own.

    Raises:
        NotFound: the tenant has no such job.
        NotTerminal: it has not ended.
        InvalidRequest: ``invalid_id``, or the request no longer holds: what it names is gone.
        QuotaExceeded, Unavailable, …: as `services.jobs.service.submit`.
    """
    job = _find(session, tenant_id, job_id)
    if job.state not in TERMINAL_STATES:
        raise NotTerminal(f"The job is {job.state}; only one that has ended can be tried again.")
    return submit(
        session,
        tenant_id=tenant_id,
        body=job.request,
        preflight=preflight,
        settings=settings,
        doorbell=doorbell,
        idempotency_key=idempotency_key,
        origin={"kind": "retry", "job_id": job.id},
        placed=placed,
    )


def fork(
    session: Session,
    *,
    tenant_id: str,
    job_id: str,
    body: dict[str, Any],
    preflight: Preflight,
    settings: Settings,
    doorbell: Doorbell,
    idempotency_key: str | None = None,
    placed: Placed = dict,
) -> Submission:
    """Queue a job's request with changes, as a job of its own; the old one may still run.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: with every problem of the body, or of the request with its changes (pointers below
            ``/changes``).
        QuotaExceeded, Unavailable, …: as `services.jobs.service.submit`.
    """
    changes = _read(body)
    job = _find(session, tenant_id, job_id)
    try:
        return submit(
            session,
            tenant_id=tenant_id,
            body=merged(job.request, changes),
            preflight=preflight,
            settings=settings,
            doorbell=doorbell,
            idempotency_key=idempotency_key,
            origin={"kind": "fork", "job_id": job.id},
            placed=placed,
        )
    except InvalidRequest as error:
        if error.code == "idempotency_mismatch":
            raise
        raise InvalidRequest([problem.below("/changes") for problem in error.problems]) from None


def merged(document: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON document with a merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    members = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = merged(members.get(name), value)
    return members


def _read(body: dict[str, Any]) -> dict[str, Any]:
    try:
        request = ForkRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, ForkRequest)) from None
    if request.from_checkpoint is None:
        return request.changes
    if "init_from" in request.changes:
        detail = "from_checkpoint and changes/init_from both say where to begin."
        raise InvalidRequest([Problem("conflict", detail, "/from_checkpoint", "Leave one of them out.")])
    return {**request.changes, "init_from": request.from_checkpoint}


def _find(session: Session, tenant_id: str, job_id: str) -> Job:
    job = repository.find(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if job is None:
        raise NotFound()
    return job
