"""``/v1/queue``: what of the caller's jobs waits, in which order, for what and for how long."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import Reader, ServiceParts
from api.openapi import answer, problems
from api.query import PageQuery
from api.queue_views import QueueView
from api.responses import json_answer
from services.jobs import queue
from services.limits.quotas import effective

router = APIRouter(prefix="/queue", tags=["queue"])


@router.get(
    "",
    summary="Look at your queue",
    responses={
        **answer(200, QueueView, "A page of your queued jobs, the next one first."),
        **problems(401, 403, 422, 503),
    },
)
def list_queue(query: Annotated[PageQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return your queued jobs in the order in which they will be taken, then those whose start time lies ahead.

    `position` counts your own jobs, `ahead` those of everybody that will probably go first: the highest priority goes
    first, then whoever has fewest jobs running, then the oldest. `eta` is null where no estimate tells. `totals` are
    those of a moment ago (`as_of`).
    """
    limits = effective(caller.limits, parts.settings)
    with parts.database.read_session() as session:
        line = parts.board.line(since=queue.newest(session, tenant_id=caller.tenant_id))
        page = queue.list_queue(session, line, tenant_id=caller.tenant_id, limit=query.limit, after=query.after)
    totals = queue.totals(line, tenant_id=caller.tenant_id)
    return json_answer(
        {
            "object": "list",
            "data": page.data,
            "has_more": page.has_more,
            "last_id": page.last_id,
            "totals": {**totals, "max_queued_jobs": limits["unfinished_jobs"]},
        }
    )
