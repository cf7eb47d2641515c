"""``/v1/datasets``: built-in and own data: uploads in parts, the columns, a look at the rows."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from api import examples
from api.audited import AuditedRoute
from api.dataset_views import DatasetList, DatasetPartList, DatasetPartView, DatasetPreviewView, DatasetView
from api.dependencies import PreparationSlot, Reader, ServiceParts, Writer, WriteSession
from api.idempotency import Acted, ActOnce, IdempotencyKey, made_answer
from api.openapi import Responses, answer, bytes_request, json_request, problems
from api.preconditions import IfMatch
from api.query import DATASET_STATES, CompleteQuery, DatasetsQuery, PreviewQuery, no_query, unknown_states
from api.responses import json_answer, list_answer, tagged_json
from api.upload import ArrivalSlot, NewDatasetBody, PartBody
from services.datasets import arrivals, preparation, service, uploads
from services.pages import Page

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=AuditedRoute)

_UNCHANGED: Responses = {304: {"description": "It is as you know it (`If-None-Match`)."}}
_BODY = (400, 401, 403, 408, 413, 415, 422, 429, 503)
DatasetId = Annotated[str, Path(description="An id of yours, or the name of a built-in data set.")]


@router.post(
    "",
    summary="Begin an upload, or send a small file or tiny data",
    status_code=HTTPStatus.CREATED,
    responses={
        **answer(201, DatasetView, "The data set: `uploading` or `fetching` when its bytes are to come, else `ready`."),
        **answer(200, DatasetView, "You have sent the same bytes, or begun to: this is that data set."),
        **problems(*sorted({*_BODY, 409})),
    },
    openapi_extra=json_request("DatasetRequest", examples.DATASETS, beside="application/octet-stream"),
)
def create_dataset(
    *,
    body: NewDatasetBody,
    caller: Writer,
    _slot: ArrivalSlot,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Begin an upload with a JSON body that names the `format`; then `PUT` the parts and `POST …/complete`.

    A file of up to 64 MiB can be the body itself: `?format=csv`. Tiny data can be in the JSON body: `columns` or
    `rows`. These two are ready, or refused with every problem, at once. With a `url` beside the `format` (https, or
    `s3://bucket/key`) the service fetches the file itself, if its operator allows the host or the bucket (else 422
    `url_not_allowed`): look until it is `ready`. An object that you have named before, and that is as it was, is 200.
    The same bytes are the same data set; an upload that begins with an `Idempotency-Key` begins once.
    """
    made = arrivals.arrive(
        parts.database,
        tenant_id=caller.tenant_id,
        request=body.request,
        file=body.file,
        reader=parts.reader,
        settings=parts.settings,
        idempotency_key=idempotency_key,
    )
    status = HTTPStatus.CREATED if made.created else HTTPStatus.OK
    return made_answer(made.dataset, made.dataset["links"]["self"], replayed=made.replayed, status=status)


@router.get(
    "",
    summary="List data sets",
    responses={
        **answer(200, DatasetList, "A page: yours, newest first, then the built-in ones."),
        **problems(401, 403, 422, 503),
    },
)
def list_datasets(query: Annotated[DatasetsQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of data sets: your own, newest first, then those that come with the service."""
    unknown_states(query.status, DATASET_STATES)
    with parts.database.read_session() as session:
        page = service.list_datasets(
            session,
            tenant_id=caller.tenant_id,
            limit=query.limit,
            after=query.after,
            owner=query.owner,
            states=query.status,
            created_after=query.created_after,
        )
    return list_answer(page)


@router.get(
    "/{dataset_id}",
    summary="Look at a data set",
    dependencies=[Depends(no_query)],
    responses={**answer(200, DatasetView, "The data set."), **_UNCHANGED, **problems(401, 403, 404, 422, 503)},
)
def get_dataset(dataset_id: DatasetId, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return a data set: its state, its columns with dtype and shape, and the problems if it could not be read."""
    with parts.database.read_session() as session:
        found = service.get_dataset(session, tenant_id=caller.tenant_id, dataset_id=dataset_id)
    return tagged_json(request, found)


@router.delete(
    "/{dataset_id}",
    summary="Delete a data set",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(no_query)],
    responses={204: {"description": "It is gone."}, **problems(401, 403, 404, 409, 412, 422, 503)},
)
def delete_dataset(dataset_id: DatasetId, caller: Writer, still_so: IfMatch, session: WriteSession) -> Response:
    """Delete a data set, or an upload that is under way. While a job that has not ended trains on it: 409."""
    service.delete_dataset(session, tenant_id=caller.tenant_id, dataset_id=dataset_id, still_so=still_so)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.put(
    "/{dataset_id}/parts/{number}",
    summary="Send a part of a file",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, DatasetPartView, "The part has arrived."),
        **answer(200, DatasetPartView, "It has arrived, in place of one with the same number."),
        **problems(*sorted({*_BODY, 404, 409})),
    },
    openapi_extra=bytes_request("Up to 64 MiB of the file."),
)
def put_part(
    *, dataset_id: DatasetId, number: int, written: PartBody, caller: Writer, session: WriteSession, parts: ServiceParts
) -> Response:
    """Send part `number`, 1 to 10 000, of up to 64 MiB. Sending it again replaces it, so a repeat is harmless.

    With `Content-Digest: sha-256=:<base64>:` the bytes are verified before the part counts.
    """
    part, created = uploads.put_part(
        session,
        tenant_id=caller.tenant_id,
        dataset_id=dataset_id,
        number=number,
        written=written,
        settings=parts.settings,
    )
    return json_answer(part, status=HTTPStatus.CREATED if created else HTTPStatus.OK)


@router.get(
    "/{dataset_id}/parts",
    summary="List the parts that have arrived",
    dependencies=[Depends(no_query)],
    responses={**answer(200, DatasetPartList, "All parts, in order."), **problems(401, 403, 404, 422, 503)},
)
def list_parts(dataset_id: DatasetId, parts: ServiceParts, caller: Reader) -> Response:
    """Return the parts of an upload with their sha256: after a cut, send only what is not there."""
    with parts.database.read_session() as session:
        found = uploads.list_parts(session, tenant_id=caller.tenant_id, dataset_id=dataset_id)
    return list_answer(Page(found, has_more=False, last_id=None))


@router.post(
    "/{dataset_id}/complete",
    summary="Complete an upload",
    responses={
        **answer(200, DatasetView, "It is ready."),
        **problems(400, 401, 403, 404, 409, 415, 422, 503),
    },
)
def complete_upload(
    *,
    dataset_id: DatasetId,
    query: Annotated[CompleteQuery, Query()],
    caller: Writer,
    _slot: PreparationSlot,
    parts: ServiceParts,
    once: ActOnce,
) -> Response:
    """Put the parts together, verify the whole, and read it: `ready`, or `failed` with every problem as 422.

    A missing part or a wrong checksum leaves the upload open. Completing twice is completing once.
    """

    def act() -> Acted:
        done = preparation.complete(
            parts.database,
            tenant_id=caller.tenant_id,
            dataset_id=dataset_id,
            reader=parts.reader,
            settings=parts.settings,
            sha256=query.sha256,
        )
        return done, HTTPStatus.OK

    return once(act, body={"sha256": query.sha256})


@router.get(
    "/{dataset_id}/preview",
    summary="Look at rows and statistics",
    responses={
        **answer(200, DatasetPreviewView, "The first rows, and statistics of each column."),
        **_UNCHANGED,
        **problems(401, 403, 404, 409, 422, 503),
    },
)
def get_preview(
    *,
    dataset_id: DatasetId,
    query: Annotated[PreviewQuery, Query()],
    request: Request,
    parts: ServiceParts,
    caller: Reader,
) -> Response:
    """Return the first rows and, for each column, minimum, maximum, mean, deviation, missing and distinct values.

    Of rows with many values (images) the first 64 are shown; of categories the rows a class has.
    """
    found = preparation.get_preview(
        parts.database, tenant_id=caller.tenant_id, dataset_id=dataset_id, rows=query.rows, reader=parts.reader
    )
    return tagged_json(request, found)
