"""``/v1/checkpoints`` and a job's list of them: what training leaves behind, to look at and to download."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.dependencies import Reader, ServiceParts
from api.openapi import answer, content, problems
from api.query import ContentQuery, PageQuery, no_query
from api.ranges import Span, is_unchanged, parse_range, range_applies
from api.responses import list_answer, tagged_json
from api.streaming import ContentResponse
from api.views import CheckpointList, CheckpointView
from services.checkpoints import service

router = APIRouter(tags=["checkpoints"])


@router.get(
    "/jobs/{job_id}/checkpoints",
    summary="List a job's checkpoints",
    responses={
        **answer(200, CheckpointList, "A page of checkpoints, newest first."),
        **problems(401, 403, 404, 422, 503),
    },
)
def list_checkpoints(
    job_id: str, query: Annotated[PageQuery, Query()], parts: ServiceParts, caller: Reader
) -> Response:
    """Return a page of a job's checkpoints, newest first; only whole ones are listed."""
    with parts.database.read_session() as session:
        page = service.list_checkpoints(
            session, tenant_id=caller.tenant_id, job_id=job_id, limit=query.limit, after=query.after
        )
    return list_answer(page)


@router.get(
    "/checkpoints/{checkpoint_id}",
    summary="Look at a checkpoint",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CheckpointView, "The checkpoint."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_checkpoint(checkpoint_id: str, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return where in the training a checkpoint was made, its metrics, size and sha256."""
    with parts.database.read_session() as session:
        view = service.get_checkpoint(session, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id)
    return tagged_json(request, view)


@router.get(
    "/checkpoints/{checkpoint_id}/content",
    summary="Download a checkpoint",
    responses={
        200: content("The whole file, with its sha256 as `ETag` and as `Repr-Digest`."),
        206: content("The range asked for (`Range: bytes=first-last`)."),
        304: {"description": "You have it (`If-None-Match`)."},
        **problems(401, 403, 404, 416, 422, 503),
    },
)
def get_content(
    *,
    checkpoint_id: str,
    query: Annotated[ContentQuery, Query()],
    request: Request,
    caller: Reader,
    parts: ServiceParts,
) -> Response:
    """Return the weights as a safetensors file whose keys are those of the module's `state_dict`.

    One byte range is honoured; `If-Range` with the `ETag` makes resuming safe. Each block is verified before it is
    sent; should one be damaged, the connection is cut: a complete answer is a correct one. HEAD works too.
    """
    with parts.database.read_session() as session:
        view = service.get_checkpoint(session, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id)
    headers = _content_headers(view)
    if is_unchanged(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    span = _span(request, etag=headers["ETag"], size=view["size_bytes"])
    start, end = (span.start, span.end) if span else (0, view["size_bytes"])
    if span:
        headers["Content-Range"] = span.content_range
    headers["Content-Length"] = str(end - start)
    chunks = service.iter_content(
        parts.database, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id, start=start, end=end
    )
    return ContentResponse(chunks, status_code=HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK, headers=headers)


def _span(request: Request, *, etag: str, size: int) -> Span | None:
    """Return the one range to send; a range on HEAD, or of another version (`If-Range`), is the whole."""
    if "modelwright.head" in request.scope.get("extensions", {}):
        return None
    if not range_applies(request.headers.get("if-range"), etag):
        return None
    return parse_range(request.headers.get("range"), size)


def _content_headers(view: dict[str, Any]) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(view["sha256"])).decode("ascii")
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{view["id"]}.safetensors"',
        "ETag": f'"{view["sha256"]}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }
