"""``/v1/jobs``: submit, list, cancel, pause, resume, try again, fork (``job_polls`` looks at one)."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api import examples
from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import Reader, ServiceParts, SubmissionSlot, Writer, WriteSession
from api.idempotency import Acted, ActOnce, IdempotencyKey, made_answer
from api.openapi import answer, json_request, problems
from api.query import CreateJobQuery, JobsQuery, no_query
from api.responses import json_answer, list_answer
from api.views import JobList, JobView, ValidationView
from services.jobs import again, service, steering

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=AuditedRoute)

_STEER = (400, 401, 403, 404, 409, 422, 503)


@router.post(
    "",
    summary="Train a model",
    status_code=HTTPStatus.CREATED,
    responses={
        **answer(201, JobView, "The job is queued; `Location` is its address."),
        **answer(200, ValidationView, "With `validate_only=true`: what would run. Nothing was stored."),
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("JobRequest"),
)
def create_job(
    *,
    caller: Writer,
    query: Annotated[CreateJobQuery, Query()],
    body: JsonBody,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Check a model, its data and its plan, and queue the job.

    Every shape in the model is checked before anything runs; all problems are reported at once, each with a pointer
    into the request. A request repeated with the same `Idempotency-Key` gets the first one's job, marked
    `Idempotent-Replayed: true`.
    """
    if query.validate_only:
        report = service.validate(
            session, tenant_id=caller.tenant_id, body=body, preflight=parts.preflight, settings=parts.settings
        )
        return json_answer(report)
    made = service.submit(
        session,
        tenant_id=caller.tenant_id,
        body=body,
        preflight=parts.preflight,
        settings=parts.settings,
        doorbell=parts.doorbell,
        idempotency_key=idempotency_key,
        placed=partial(parts.board.placed, tenant_id=caller.tenant_id),
    )
    return _created(made)


@router.get(
    "",
    summary="List jobs",
    responses={**answer(200, JobList, "A page of your jobs, newest first."), **problems(401, 403, 422, 503)},
)
def list_jobs(query: Annotated[JobsQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of your jobs, newest first.

    `status` keeps those in these states, `created_after` what came later, `label.<name>=<value>` those with that label,
    which may be given for several names. Pass `last_id` as `after`
    for the next page while `has_more` is true.
    """
    labels = query.labels()
    with parts.database.read_session() as session:
        page = service.list_jobs(
            session,
            tenant_id=caller.tenant_id,
            limit=query.limit,
            after=query.after,
            states=query.status,
            labels=labels,
            created_after=query.created_after,
        )
    return list_answer(parts.board.placed_page(page, tenant_id=caller.tenant_id))


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    dependencies=[Depends(no_query)],
    responses={**answer(200, JobView, "The job, cancelled or about to be."), **problems(*_STEER)},
)
def cancel_job(job_id: str, session: WriteSession, parts: ServiceParts, caller: Writer, once: ActOnce) -> Response:
    """Cancel a job that waits, or stop one that runs; asking twice is asking once.

    A running job writes a last checkpoint and ends within seconds. One that has already ended answers 409
    `already_terminal` with its `state`.
    """

    def act() -> Acted:
        job = steering.request_cancel(session, tenant_id=caller.tenant_id, job_id=job_id)
        return parts.board.placed(job, tenant_id=caller.tenant_id), HTTPStatus.OK

    return once(act)


@router.post(
    "/{job_id}/pause",
    summary="Pause a job",
    dependencies=[Depends(no_query)],
    responses={**answer(200, JobView, "The job, paused or about to be."), **problems(*_STEER)},
)
def pause_job(job_id: str, session: WriteSession, parts: ServiceParts, caller: Writer, once: ActOnce) -> Response:
    """Keep a queued job from starting, or let a running one write a checkpoint and free its worker.

    It is `pausing`, then `paused`, until you resume or cancel it; asking twice is asking once. A job that has ended
    answers 409 `already_terminal`, one that is being cancelled 409 `already_cancelling`.
    """

    def act() -> Acted:
        job = steering.request_pause(session, tenant_id=caller.tenant_id, job_id=job_id)
        return parts.board.placed(job, tenant_id=caller.tenant_id), HTTPStatus.OK

    return once(act)


@router.post(
    "/{job_id}/resume",
    summary="Resume a paused job",
    dependencies=[Depends(no_query)],
    responses={**answer(200, JobView, "The job, in the queue again."), **problems(*_STEER)},
)
def resume_job(job_id: str, session: WriteSession, parts: ServiceParts, caller: Writer, once: ActOnce) -> Response:
    """Put a paused job back into the queue; it goes on from the very step at which it paused.

    A job that is queued or runs is left as it is. While it is still `pausing` the answer is 409 `still_pausing`.
    """

    def act() -> Acted:
        job = steering.resume(session, tenant_id=caller.tenant_id, job_id=job_id, doorbell=parts.doorbell)
        return parts.board.placed(job, tenant_id=caller.tenant_id), HTTPStatus.OK

    return once(act)


@router.post(
    "/{job_id}/retry",
    summary="Train a request once more",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, JobView, "The new job is queued; `Location` is its address, `origin` names the old one."),
        **problems(400, 401, 403, 404, 409, 422, 429, 503),
    },
)
def retry_job(
    *,
    job_id: str,
    caller: Writer,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue the request of a job that has ended as a new job; a seed that was left open is chosen anew."""
    made = again.retry(
        session,
        tenant_id=caller.tenant_id,
        job_id=job_id,
        preflight=parts.preflight,
        settings=parts.settings,
        doorbell=parts.doorbell,
        idempotency_key=idempotency_key,
        placed=partial(parts.board.placed, tenant_id=caller.tenant_id),
    )
    return _created(made)


@router.post(
    "/{job_id}/fork",
    summary="Train a request with changes",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, JobView, "The new job is queued; `Location` is its address, `origin` names the old one."),
        **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("ForkRequest", examples.FORKS),
)
def fork_job(
    *,
    job_id: str,
    caller: Writer,
    body: JsonBody,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a job's request with a JSON merge patch (RFC 7396) applied, as a new job.

    `from_checkpoint` lets it begin with the weights of a checkpoint. The old job is left as it is, running or not.
    """
    made = again.fork(
        session,
        tenant_id=caller.tenant_id,
        job_id=job_id,
        body=body,
        preflight=parts.preflight,
        settings=parts.settings,
        doorbell=parts.doorbell,
        idempotency_key=idempotency_key,
        placed=partial(parts.board.placed, tenant_id=caller.tenant_id),
    )
    return _created(made)


def _created(made: service.Submission) -> Response:
    return made_answer(made.job, f"/v1/jobs/{made.job['id']}", replayed=made.replayed)
