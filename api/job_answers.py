"""A job as it is answered: what is known of its version, and, while it is queued, its place right now.

The entity tag of a queued job has two parts, ``"<job>.<place>"``: a place that changed is a new answer, yet whoever
waits for the next change of the job waits on, however the queue before it moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.dependencies import Parts
from api.known_jobs import KnownJob
from api.preconditions import require_settled, two_part_tag
from api.responses import encode, entity_tag
from services.errors import NotFound
from services.identifiers import check_id
from services.jobs import queries
from services.jobs.places import Waiting, place, waiting_of


async def look(parts: Parts, tenant_id: str, job_id: str) -> KnownJob:
    """Return the job's answer; where its version is known that costs a part of one short read.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``.
    """
    owned = await parts.looks.find(check_id(job_id, "job"))
    if owned is None or owned.tenant_id != tenant_id:
        raise NotFound()
    known = parts.known_jobs.find(tenant_id, job_id, owned.version)
    if known is None:
        known = await run_in_threadpool(_read, parts, tenant_id, job_id)
        parts.known_jobs.keep(tenant_id, job_id, known)
    return known if known.waiting is None else await _placed(parts, known, known.waiting)


def changed(parts: Parts, tenant_id: str, view: Mapping[str, Any]) -> KnownJob:
    """Return the answer of a job that was just changed, as ``view`` shows it."""
    known = _known(dict(view), tenant_id)
    if known.waiting is None:
        return known
    line = parts.board.line(since=known.waiting.created_at)
    return _with_place(known, encode(place(line, known.waiting)))


def knows(request: Request, job: KnownJob) -> bool:
    """Tell whether the client has the job as it is, wherever it stands in the queue (``If-None-Match``)."""
    header = request.headers.get("if-none-match", "")
    return header.strip() == "*" or job.tag.strip('"').partition(".")[0] in header


def require_job(request: Request, view: Mapping[str, Any], tenant_id: str) -> None:
    """Require that the client knows the job as ``view`` shows it, wherever it stands in the queue (``If-Match``).

    Raises:
        PreconditionFailed: it knows another version.
    """
    require_settled(request, _known(dict(view), tenant_id).tag)


def _read(parts: Parts, tenant_id: str, job_id: str) -> KnownJob:
    with parts.database.read_session() as session:
        return _known(queries.get_job(session, tenant_id=tenant_id, job_id=job_id), tenant_id)


def _known(view: dict[str, Any], tenant_id: str) -> KnownJob:
    waiting = waiting_of(view, tenant_id=tenant_id)
    body = encode({**view, "queue": None} if waiting is None else view)
    return KnownJob(view["version"], view["terminal"], body, entity_tag(body), waiting)


async def _placed(parts: Parts, known: KnownJob, waiting: Waiting) -> KnownJob:
    """Return the answer with the job's place in the queue."""
    line = parts.board.find_line(since=waiting.created_at)
    if line is None:
        line = await run_in_threadpool(parts.board.line, since=waiting.created_at)
    return _with_place(known, parts.known_places.find(line, waiting))


def _with_place(known: KnownJob, found: bytes) -> KnownJob:
    body = known.body[:-1] + b',"queue":' + found + b"}"
    return KnownJob(known.version, known.terminal, body, two_part_tag(known.tag, found), known.waiting)
