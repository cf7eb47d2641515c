"""``GET /v1/jobs/{id}``: look at a job, or wait for its next change. Of all routes this one is asked most."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from api.dependencies import Parts, Reader, ServiceParts, admitted, authenticated
from api.job_answers import knows, look
from api.openapi import answer, problems
from api.query import JobQuery
from api.responses import tagged_bytes
from api.views import JobView


class PolledRoute(APIRoute):
    """Answers requests without a query straight away: walking the tree of dependencies would be a third of their cost.

    Only where that tree asks for nothing but `admitted`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers: FastAPI's handler, but for plain polls."""
        handle = super().get_route_handler()
        if [one.dependency for one in self.dependencies] != [admitted]:
            return handle

        async def poll(request: Request) -> Response:
            if request.scope["query_string"]:
                return await handle(request)
            await admitted(request)
            opened: Parts = request.app.state.parts
            job = await look(opened, request.state.principal.tenant_id, request.path_params["job_id"])
            return tagged_bytes(request, job.body, job.tag)

        return poll


router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=PolledRoute)


@router.get(
    "/{job_id}",
    summary="Look at a job, or wait for its next change",
    responses={
        **answer(200, JobView, "The job as it is now."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
async def get_job(
    job_id: str, query: Annotated[JobQuery, Query()], request: Request, parts: ServiceParts, caller: Reader
) -> Response:
    """Return a job: its state, progress, resolved plan, and error if it failed.

    To poll cheaply send the last `ETag` as `If-None-Match`: an unchanged job is answered 304 without a body. With
    `wait=30` the answer comes at the next change, or after 30 seconds as if you had not waited; at once if the job has
    ended, or is no longer as your `If-None-Match` knows it. While it is queued, `queue` says where it stands: a place
    that changed is a new answer (another `ETag`), but nothing that `wait` waits for.
    """
    job = await look(parts, caller.tenant_id, job_id)
    now = tagged_bytes(request, job.body, job.tag)
    known = request.headers.get("if-none-match") is None or knows(request, job)
    if query.wait == 0 or job.terminal or not known:
        return now
    request.state.waited = True
    if await parts.watcher.changed(job_id, job.version, timeout_seconds=query.wait):
        await authenticated(request)  # the key may have been revoked meanwhile
        job = await look(parts, caller.tenant_id, job_id)
    return tagged_bytes(request, job.body, job.tag)
