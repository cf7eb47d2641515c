"""``/v1/checkpoints`` and a job's list of them: what training leaves behind, to look at and to download."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import examples
from api.audited import AuditedRoute
from api.body import JsonBody
from api.checkpoint_views import CheckpointExportView, CheckpointList, CheckpointModelView, CheckpointView
from api.content import Content, content_answer
from api.dependencies import Parts, Reader, ServiceParts, SubmissionSlot, Writer, WriteSession, submission_slot
from api.openapi import answer, content, json_request, problems
from api.preconditions import IfMatch
from api.query import ContentQuery, ThingsQuery, no_query
from api.responses import encode, entity_tag, json_answer, list_answer, tagged_json
from api.streaming import Read, in_turn
from services.checkpoints import exports, keeping, service
from services.checkpoints.exports import Format, iter_file, make_export
from services.errors import InvalidRequest, Problem

router = APIRouter(tags=["checkpoints"], route_class=AuditedRoute)


async def conversion_slot(request: Request) -> AsyncIterator[None]:
    """Hold a place while a checkpoint is converted; what is stored as it is sent needs none."""
    if request.query_params.get("format", "safetensors") == "safetensors":
        yield
        return
    async for _ in submission_slot(request):
        yield


ConversionSlot = Annotated[None, Depends(conversion_slot, scope="function")]


@router.get(
    "/jobs/{job_id}/checkpoints",
    summary="List a job's checkpoints",
    responses={
        **answer(200, CheckpointList, "A page of checkpoints, newest first."),
        **problems(401, 403, 404, 422, 503),
    },
)
def list_checkpoints(
    job_id: str, query: Annotated[ThingsQuery, Query()], parts: ServiceParts, caller: Reader
) -> Response:
    """Return a page of a job's checkpoints, newest first; only whole ones are listed."""
    with parts.database.read_session() as session:
        page = service.list_checkpoints(
            session,
            tenant_id=caller.tenant_id,
            job_id=job_id,
            limit=query.limit,
            after=query.after,
            created_after=query.created_after,
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


@router.patch(
    "/checkpoints/{checkpoint_id}",
    summary="Pin a checkpoint",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CheckpointView, "The checkpoint as it is now."),
        **problems(400, 401, 403, 404, 408, 412, 413, 415, 422, 503),
    },
    openapi_extra=json_request("CheckpointChange", examples.CHECKPOINT_CHANGES),
)
def change_checkpoint(
    checkpoint_id: str, caller: Writer, body: JsonBody, still_so: IfMatch, session: WriteSession
) -> Response:
    """Pin a checkpoint, so that it is kept whatever comes after it, or unpin it (`{"pinned": false}`)."""
    changed = keeping.change_checkpoint(
        session, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id, body=body, still_so=still_so
    )
    return json_answer(changed, headers={"ETag": entity_tag(encode(changed))})


@router.delete(
    "/checkpoints/{checkpoint_id}",
    summary="Delete a checkpoint",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(no_query)],
    responses={204: {"description": "It is gone."}, **problems(401, 403, 404, 409, 412, 422, 503)},
)
def delete_checkpoint(
    checkpoint_id: str, caller: Writer, still_so: IfMatch, session: WriteSession, parts: ServiceParts
) -> Response:
    """Delete a checkpoint, pinned or not. The newest one of a job that has not ended is needed: 409."""
    keeping.delete_checkpoint(
        session,
        tenant_id=caller.tenant_id,
        checkpoint_id=checkpoint_id,
        settings=parts.settings,
        still_so=still_so,
    )
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.get(
    "/checkpoints/{checkpoint_id}/content",
    summary="Download a checkpoint",
    responses={
        200: content("The whole file, with its sha256 as `ETag` and as `Repr-Digest`."),
        206: content("The range asked for (`Range: bytes=first-last`)."),
        304: {"description": "You have it (`If-None-Match`)."},
        307: {
            "description": "Where the operator chose so: a copy is in the object store. Ask there, without your key.",
            "headers": {
                "Location": {"schema": {"type": "string"}, "description": "A signed address, good for a minute."}
            },
        },
        **problems(401, 403, 404, 416, 422, 503),
    },
)
def get_content(
    *,
    checkpoint_id: str,
    query: Annotated[ContentQuery, Query()],
    request: Request,
    caller: Reader,
    _slot: ConversionSlot,
    parts: ServiceParts,
) -> Response:
    """Return the weights as a safetensors file whose keys are those of the module's `state_dict`.

    `format=torch` is the same as a file for `torch.load(…, weights_only=True)`; `onnx` and `torch-export` are the model
    itself in eval mode, converted on the first ask: `/exports/{format}` says how far its outputs are from eager's.
    `part=state` is what else decides how training goes on (optimizer, averages), as tensors; `state-json` the rest.

    One byte range is honoured; `If-Range` with the `ETag` makes resuming safe. Each block is verified before it is
    sent; should one be damaged, the connection is cut: a complete answer is a correct one. HEAD works too.

    A service with an object store may send you there (307) for large files: follow without `Authorization`, with the
    same `Range`, and compare the sha256.
    """
    if query.format != "safetensors":
        if query.part != "weights":
            detail = "Only the weights can be had in another format."
            raise InvalidRequest([Problem("conflict", detail, "", "Leave out `format` or `part`.")])
        exported = _exported(parts, caller.tenant_id, checkpoint_id, query.format)
        return content_answer(request, exported, copies=parts.copies, tenant_id=caller.tenant_id)
    with parts.database.read_session() as session:
        file = service.get_file(session, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id, part=query.part)

    def reads(start: int, end: int) -> Sequence[Read]:
        return service.content_reads(
            parts.database,
            tenant_id=caller.tenant_id,
            checkpoint_id=checkpoint_id,
            start=start,
            end=end,
            file=file.name,
        )

    name = f"{checkpoint_id}{file.suffix}"
    found = Content(name, file.sha256, file.size_bytes, reads, file.media_type)
    return content_answer(request, found, copies=parts.copies, tenant_id=caller.tenant_id)


@router.get(
    "/checkpoints/{checkpoint_id}/exports/{format}",
    summary="Convert a checkpoint, and see how exact the conversion is",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CheckpointExportView, "What was written, and how far its outputs are from eager's."),
        **problems(401, 403, 404, 422, 503),
    },
)
def get_export(
    *, checkpoint_id: str, format: Format, caller: Reader, _slot: SubmissionSlot, parts: ServiceParts
) -> Response:
    """Convert the trained model to `torch`, `onnx` or `torch-export`, once, and say what came out.

    The batch, and each size that the model leaves free, stays free where the exporter can keep it so (`free_sizes`).
    `difference` is the largest difference to eager PyTorch over random batches of two sizes, absolute and relative.
    """
    made = make_export(
        parts.database,
        tenant_id=caller.tenant_id,
        checkpoint_id=checkpoint_id,
        format=format,
        preflight=parts.preflight,
        settings=parts.settings,
    )
    return json_answer(made.report)


@router.get(
    "/checkpoints/{checkpoint_id}/model",
    summary="Get all that rebuilds the model of a checkpoint",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CheckpointModelView, "Definition, Python source, inputs, preprocessing, weights."),
        **problems(401, 403, 404, 422, 503),
    },
)
def get_model(
    *, checkpoint_id: str, request: Request, caller: Reader, _slot: SubmissionSlot, parts: ServiceParts
) -> Response:
    """Return the JSON that belongs beside a safetensors file: with both, the model can be built anywhere.

    `source` is plain PyTorch that needs nothing of ours; `data` says which columns feed which inputs and how they are
    prepared.
    """
    sidecar = exports.describe_model(
        parts.database, tenant_id=caller.tenant_id, checkpoint_id=checkpoint_id, preflight=parts.preflight
    )
    return tagged_json(request, sidecar)


def _exported(parts: Parts, tenant_id: str, checkpoint_id: str, format: Format) -> Content:
    made = make_export(
        parts.database,
        tenant_id=tenant_id,
        checkpoint_id=checkpoint_id,
        format=format,
        preflight=parts.preflight,
        settings=parts.settings,
    )
    report = made.report

    def reads(start: int, end: int) -> Iterator[Read]:
        return in_turn(iter_file(made.path, start, end))

    return Content(report["file_name"], report["sha256"], report["size_bytes"], reads, read_ahead=1)
