"""``/v1/jobs/{id}/logs``: what a job wrote down while it trained, as JSON or as plain lines."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import Reader, ServiceParts
from api.history_views import LogLineList
from api.openapi import answer, problems
from api.query import LogsQuery
from api.responses import accepted, list_answer
from services.logs import service
from services.pages import Page

router = APIRouter(prefix="/jobs/{job_id}/logs", tags=["jobs"])

_EXAMPLE = """2026-11-23T04:30:01.204813Z info    Attempt 1: torch 2.13.0 on cpu.
2026-11-23T04:30:03.004120Z info    Step 69/920, epoch 3/40: train/loss 0.5211, validation/accuracy 0.8715.
"""
_TEXT = {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}


@router.get(
    "",
    summary="Read the log",
    responses={**answer(200, LogLineList, "Lines, oldest first.", beside=_TEXT), **problems(401, 403, 404, 422, 503)},
)
def list_log_lines(
    job_id: str, query: Annotated[LogsQuery, Query()], request: Request, parts: ServiceParts, caller: Reader
) -> Response:
    """Return the log of a job: where each attempt trains, evaluations, checkpoints, warnings of torch, how it ended.

    `Accept: text/plain` gets lines as a terminal shows them. To follow a running job pass the last id seen as `after`.
    """
    with parts.database.read_session() as session:
        page = service.list_lines(
            session,
            tenant_id=caller.tenant_id,
            job_id=job_id,
            limit=query.limit,
            after=query.after,
            levels=query.level,
        )
    if accepted(request.headers.get("accept", "")).get("text/plain", 0.0) > 0:
        return Response(_lines(page), media_type="text/plain; charset=utf-8", headers={"Vary": "Accept"})
    return list_answer(page)


def _lines(page: Page) -> str:
    return "".join(f"{one['created_at']} {one['level']:7} {one['message']}\n" for one in page.data)
