"""``/v1/workers``: who is there to train, with what, and doing what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.dependencies import Reader, ServiceParts
from api.openapi import answer, problems
from api.query import PageQuery, no_query
from api.responses import json_answer, list_answer
from api.worker_views import WorkerList, WorkerView
from services.workers import queries

router = APIRouter(prefix="/workers", tags=["queue"])


@router.get(
    "",
    summary="List workers",
    responses={**answer(200, WorkerList, "A page of workers, the oldest first."), **problems(401, 403, 422, 503)},
)
def list_workers(query: Annotated[PageQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return the workers of the service: slots, devices, versions, what they run, when they were last seen.

    Of the jobs that run the ids of your own are told; those of others are `null`. A worker that was silent for 30
    seconds is `lost`, and forgotten after ten minutes.
    """
    with parts.database.read_session() as session:
        page = queries.list_workers(session, tenant_id=caller.tenant_id, limit=query.limit, after=query.after)
    return list_answer(page)


@router.get(
    "/{worker_id}",
    summary="Look at a worker",
    dependencies=[Depends(no_query)],
    responses={**answer(200, WorkerView, "The worker as it was last heard of."), **problems(401, 403, 404, 422, 503)},
)
def get_worker(worker_id: str, parts: ServiceParts, caller: Reader) -> Response:
    """Return one worker."""
    with parts.database.read_session() as session:
        return json_answer(queries.get_worker(session, tenant_id=caller.tenant_id, worker_id=worker_id))
