"""``PATCH /v1/jobs/{id}``: what of a job may be changed."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Depends, Request, Response

from api import queue_examples
from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import ServiceParts, Writer, WriteSession
from api.job_answers import changed, require_job
from api.openapi import answer, json_request, problems
from api.query import no_query
from api.views import JobView
from services.jobs.changes import change_job

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=AuditedRoute)


@router.patch(
    "/{job_id}",
    summary="Change a job's labels or priority",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, JobView, "The job as it is now."),
        **problems(400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503),
    },
    openapi_extra=json_request("JobChange", queue_examples.CHANGES),
)
def patch_job(
    *, job_id: str, request: Request, body: JsonBody, session: WriteSession, parts: ServiceParts, caller: Writer
) -> Response:
    """Change what is named in a JSON merge patch (RFC 7396); what is left out stays as it is.

    A label is set, or taken away with `null`; labels may be changed at any time. The priority of a job that has ended
    cannot be: 409 `already_terminal`. Of a running one it counts when the job comes back into the queue.
    """
    still_so = partial(require_job, request, tenant_id=caller.tenant_id)
    job = change_job(session, tenant_id=caller.tenant_id, job_id=job_id, body=body, still_so=still_so)
    known = changed(parts, caller.tenant_id, job)
    return Response(known.body, media_type="application/json", headers={"ETag": known.tag})
