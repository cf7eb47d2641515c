"""``/v1/jobs/{id}/events``: what happened to a job, as a list or as a stream that goes on until the job has ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from api.dependencies import Parts, Reader, ServiceParts, authenticated
from api.history_views import EventList
from api.http_metrics import HttpMetrics
from api.openapi import answer, problems
from api.query import PageQuery
from api.responses import accepted, list_answer
from api.watching import Watcher
from services.errors import ModelwrightError
from services.jobs import events
from services.jobs.events import News
from services.tenants.service import Principal

KEEP_ALIVE_SECONDS = 15.0
RETRY_MILLISECONDS = 1_000
"""How long a browser waits before it connects again."""

router = APIRouter(prefix="/jobs/{job_id}/events", tags=["jobs"])

_EXAMPLE = """event: job.state_changed
data: {"id":"evt_01m83xeszjt60983ses6fh2mav","type":"job.state_changed","data":{"state":"running","attempt":1}}
id: evt_01m83xeszjt60983ses6fh2mav

event: job.progress
data: {"epoch":2,"total_epochs":40,"step":90,"percent":5.0}

"""
_STREAM = {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=64, description="The last event that a stream brought.")
]


@router.get(
    "",
    summary="Read or follow what happens to a job",
    responses={
        **answer(200, EventList, "Events, oldest first.", beside=_STREAM),
        204: {"description": "The end of a stream: the job has ended and its last event is known."},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def list_events(  # noqa: PLR0917 - each argument is a header, a parameter or a part
    job_id: str,
    query: Annotated[PageQuery, Query()],
    request: Request,
    parts: ServiceParts,
    caller: Reader,
    last_event_id: LastEventId = None,
) -> Response:
    """Return the events of a job: states, attempts, checkpoints, what was found out on the way.

    `Accept: text/event-stream` gets them as server-sent events: first what has happened, then what happens, until the
    job has ended. A connection that breaks is taken up by `Last-Event-ID` without gap or double. Between them come
    `job.progress` messages, which have no id and are not repeated. `limit` is for lists alone.
    """
    after = last_event_id or query.after
    if not _wants_stream(request.headers.get("accept", "")):
        return await run_in_threadpool(_page, parts, caller, job_id, after, query.limit)
    news = await run_in_threadpool(_begin, parts, caller, job_id, after)
    if news.complete and not news.events and after is not None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return _Stream(_follow(request, parts, caller, job_id, news), request, parts.watcher, caller)


class _Stream(StreamingResponse):
    """Messages that count as one of the tenant's streams while they are sent; one too many is refused instead."""

    def __init__(self, messages: AsyncIterator[bytes], request: Request, watcher: Watcher, caller: Principal) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would keep events back otherwise
        super().__init__(messages, media_type="text/event-stream", headers=headers)
        self._metrics: HttpMetrics = request.app.state.http_metrics
        self._watcher = watcher
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the messages.

        Raises:
            TooManyStreams: the tenant has as many as it may have.
        """
        with self._watcher.stream(self._caller.tenant_id), self._metrics.streams.track_inprogress():
            await super().__call__(scope, receive, send)


async def _follow(request: Request, parts: Parts, caller: Principal, job_id: str, news: News) -> AsyncIterator[bytes]:
    """Yield messages until the job has ended, the key is no longer good, or the service cannot look."""
    yield format_sse_event(retry=RETRY_MILLISECONDS)
    shown = None
    while True:
        for event in news.events:
            yield format_sse_event(data_str=_json(event), event=event["type"], id=event["id"])
        if news.progress != shown and not news.complete:
            shown = news.progress
            yield format_sse_event(data_str=_json(shown), event="job.progress")
        if news.complete:
            return
        try:
            while not await parts.watcher.changed(job_id, news.version, timeout_seconds=KEEP_ALIVE_SECONDS):
                await authenticated(request)
                yield KEEPALIVE_COMMENT
            await authenticated(request)
            news = await run_in_threadpool(_read, parts, caller, job_id, news.sequence)
        except (ModelwrightError, SQLAlchemyError):
            return  # the client connects again and is told


def _page(parts: Parts, caller: Principal, job_id: str, after: str | None, limit: int) -> Response:
    with parts.database.read_session() as session:
        page = events.list_events(session, tenant_id=caller.tenant_id, job_id=job_id, limit=limit, after=after)
    return list_answer(page)


def _begin(parts: Parts, caller: Principal, job_id: str, after: str | None) -> News:
    with parts.database.read_session() as session:
        place = events.find_place(session, tenant_id=caller.tenant_id, job_id=job_id, event_id=after)
        return events.read_news(session, tenant_id=caller.tenant_id, job_id=job_id, after=place)


def _read(parts: Parts, caller: Principal, job_id: str, sequence: int) -> News:
    with parts.database.read_session() as session:
        return events.read_news(session, tenant_id=caller.tenant_id, job_id=job_id, after=sequence)


def _wants_stream(accept: str) -> bool:
    return accepted(accept).get("text/event-stream", 0.0) > 0


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
