"""``/v1/usage`` and ``/v1/audit``: what a tenant has used and may use, and who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.account_views import AuditList, UsageView
from api.dependencies import Reader, ServiceParts
from api.openapi import answer, problems
from api.query import Moment, ThingsQuery, no_query
from api.responses import json_answer, list_answer
from services.audit.service import Wanted, list_entries
from services.usage.service import get_usage

router = APIRouter(tags=["account"])


class AuditQuery(ThingsQuery):
    """``GET /v1/audit``."""

    key_id: str | None = Field(None, max_length=80, description="Only what this key did.")
    object_id: str | None = Field(None, max_length=80, description="Only what was done to this job, model, key, ….")
    status: int | None = Field(None, ge=100, le=599, description="Only calls that got this status.")
    created_before: Moment | None = Field(None, description="Only what was made earlier.")

    def wanted(self) -> Wanted:
        """Return the filters."""
        return Wanted(self.key_id, self.object_id, self.status, self.created_after, self.created_before)


@router.get(
    "/usage",
    summary="See what you have used and may use",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, UsageView, "Jobs, training time, storage, requests, limits."),
        **problems(401, 403, 422, 503),
    },
)
def show_usage(request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return how many jobs your tenant has in each state, how long they trained, what is stored, and every limit.

    Requests of the day lag by some seconds. What a limit counts is in its `counts`; `remaining` is what is left.
    """
    allowance = request.state.allowance
    with parts.database.read_session() as session:
        usage = get_usage(
            session,
            tenant_id=caller.tenant_id,
            settings=parts.settings,
            rate_used=allowance.limit - allowance.remaining,
        )
    return json_answer(usage)


@router.get(
    "/audit",
    summary="See who did what",
    responses={**answer(200, AuditList, "A page of entries, newest first."), **problems(401, 403, 422, 503)},
)
def list_audit(query: Annotated[AuditQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return the calls of your tenant's keys that changed something, and those that were refused, newest first.

    Each has the key, the route, what it made or changed, its status, and the `request_id` that its answer had. Calls
    that only look, and requests beyond the rate, are not in it. Entries are kept for a year unless the operator chose
    otherwise; nobody can change or delete one over HTTP.
    """
    with parts.database.read_session() as session:
        page = list_entries(
            session, tenant_id=caller.tenant_id, wanted=query.wanted(), limit=query.limit, after=query.after
        )
    return list_answer(page)
