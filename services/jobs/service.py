"""What clients bring: jobs, to queue or to check only (``steering`` stops them, ``queries`` looks at them)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from services.checkpoints.service import tensor_shapes
from services.config import Settings
from services.datasets.stored import OwnDatasets
from services.db.after_commit import after_commit
from services.db.clock import new_row_id
from services.db.models import Job
from services.estimates.service import Subject, estimate
from services.failpoints import hit
from services.idempotency import service as idempotency
from services.jobs import repository
from services.jobs.claims import FORMAT
from services.jobs.plan import FindDocument, Plan, make_plan
from services.jobs.queries import get_job, list_jobs
from services.jobs.schedule import held_until, read_time
from services.jobs.states import add_event, transition_entry
from services.jobs.views import job_view
from services.limits import quotas
from services.limits.storage import check_room, standing_of
from services.models.service import get_model
from services.preflight import Preflight
from services.queue import Doorbell
from services.telemetry.tracing import traceparent
from services.webhooks import service as webhooks

log = logging.getLogger(__name__)

__all__ = ["Submission", "get_job", "list_jobs", "submit", "validate"]


Placed = Callable[[dict[str, Any]], dict[str, Any]]
_FIRST_TRANSITION = transition_entry("queued", None, 0)


@dataclass(frozen=True, slots=True)
class Submission:
    """The answer to a submit: the job, and whether an earlier request with the same key made it."""

    job: dict[str, Any]
    replayed: bool


def submit(
    session: Session,
    *,
    tenant_id: str,
    body: dict[str, Any],
    preflight: Preflight,
    settings: Settings,
    doorbell: Doorbell,
    idempotency_key: str | None = None,
    origin: dict[str, Any] | None = None,
    placed: Placed = dict,
) -> Submission:
    """Check a request, queue its job and ring the workers once it is committed; ``origin`` names the job it is from.

    ``placed`` adds to the answer, which a repeated request gets again, where in the queue the job stands.

    Raises:
        InvalidRequest: with every problem of the request.
        QuotaExceeded: too many of the tenant's jobs have not ended, or it stores too much.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
        Unavailable: the definition could not be checked right now.
    """
    asked = body if origin is None else {"origin": origin, "body": body}  # a key belongs to one call
    if idempotency_key is not None:
        answer = idempotency.find_replay(session, tenant_id=tenant_id, key=idempotency_key, body=asked)
        if answer is not None:
            return Submission(answer, replayed=True)
    plan = plan_request(session, tenant_id=tenant_id, body=body, preflight=preflight)
    webhooks.check_job_webhook(session, tenant_id=tenant_id, wanted=plan.request.webhook, settings=settings)
    _check_quota(session, tenant_id, plan, settings)
    expected = estimate(session, _subject(tenant_id, plan), preflight=preflight, may_probe=False)
    job = _new_job(session, tenant_id=tenant_id, body=body, plan=plan, origin=origin, expected=expected)
    webhooks.attach(session, job, wanted=plan.request.webhook, settings=settings)
    session.flush()
    add_event(session, job, "job.state_changed", {"state": "queued", "reason": None, "attempt": 0})
    view = placed(job_view(job))
    if idempotency_key is not None:
        idempotency.remember(session, tenant_id=tenant_id, key=idempotency_key, body=asked, response=view)
        session.flush()
    hit("in_submit")
    if job.held_until is None:
        after_commit(session, partial(doorbell.ring, job.id, plan.device))
    after_commit(session, partial(log.info, "job queued", extra={"job_id": job.id, "tenant_id": tenant_id}))
    return Submission(view, replayed=False)


def validate(
    session: Session, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Check a request as `submit` does and return what would run: the resolved plan, the preflight report, an estimate.

    Raises:
        InvalidRequest: with every problem of the request.
        Unavailable: the definition could not be checked right now.
    """
    plan = plan_request(session, tenant_id=tenant_id, body=body, preflight=preflight)
    webhooks.check_job_webhook(session, tenant_id=tenant_id, wanted=plan.request.webhook, settings=settings)
    expected = estimate(session, _subject(tenant_id, plan), preflight=preflight, may_probe=True)
    found = {"resolved": plan.resolved, "preflight": plan.report, "estimate": expected}
    return {"object": "validation", "valid": True, **found}


def plan_request(session: Session, *, tenant_id: str, body: dict[str, Any], preflight: Preflight) -> Plan:
    """Make the plan of a request from what the tenant has.

    Raises:
        InvalidRequest: with every problem of the request.
        Unavailable: the definition could not be checked right now.
    """

    def find_weights(checkpoint_id: str) -> dict[str, list[int]]:
        return tensor_shapes(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)[1]

    return make_plan(
        body,
        preflight=preflight,
        find_document=_documents(session, tenant_id),
        find_weights=find_weights,
        datasets=OwnDatasets(session, tenant_id),
    )


def _subject(tenant_id: str, plan: Plan) -> Subject:
    return Subject(tenant_id, plan.definition_sha256, plan.resolved, plan.report)


def _documents(session: Session, tenant_id: str) -> FindDocument:
    return lambda model_id: get_model(session, tenant_id=tenant_id, model_id=model_id).document


def _new_job(
    session: Session,
    *,
    tenant_id: str,
    body: dict[str, Any],
    plan: Plan,
    origin: dict[str, Any] | None,
    expected: dict[str, Any],
) -> Job:
    start_after = read_time(plan.request.start_after) if plan.request.start_after else None
    job = Job(
        id=new_row_id(session, "job"),
        tenant_id=tenant_id,
        name=plan.request.name,
        labels=plan.request.labels,
        priority=plan.request.priority,
        format=FORMAT,
        device=plan.device,
        request=body,
        resolved=plan.resolved,
        definition_sha256=plan.definition_sha256,
        preflight=plan.report,
        origin=origin,
        estimate=expected,
        start_after=start_after,
        held_until=held_until(start_after),
        checkpoint_days=plan.request.checkpoints.keep_days,
        traceparent=traceparent(),
        progress=_no_progress(plan.resolved["training"]),
        transitions=_FIRST_TRANSITION,
    )
    session.add(job)
    return job


def _no_progress(training: dict[str, Any]) -> dict[str, Any]:
    totals = {"total_epochs": training["total_epochs"], "total_steps": training["total_steps"]}
    return {"epoch": 0, "step": 0, **totals, "percent": 0, "steps_per_second": None, "latest": {}}


def _check_quota(session: Session, tenant_id: str, plan: Plan, settings: Settings) -> None:
    standing = standing_of(session, tenant_id=tenant_id, settings=settings)
    quotas.check_parameters(standing.limits, plan.report, pointer="/model")
    limit = standing.limits["unfinished_jobs"]
    count = partial(repository.count_unfinished, session, tenant_id=tenant_id, at_most=limit)
    quotas.check(session, tenant_id=tenant_id, name="unfinished_jobs", limit=limit, count=count)
    check_room(session, tenant_id=tenant_id, standing=standing)
