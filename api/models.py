"""``/v1/models``: definitions that are checked once and have an id."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import examples
from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import Parts, Reader, ServiceParts, SubmissionSlot, Writer, WriteSession
from api.idempotency import Acted, ActOnce
from api.model_views import EditView, ModelList, ModelSummaryView, ModelValidationView, ModelView
from api.openapi import Responses, answer, json_request, problems
from api.query import SummaryQuery, ThingsQuery, no_query
from api.responses import json_answer, list_answer, tagged_json, tagged_text
from services.db.models import Model
from services.models import edits, service
from services.tenants.service import Principal

router = APIRouter(prefix="/models", tags=["models"], route_class=AuditedRoute)

_LOOK = problems(401, 403, 404, 422, 503)
_UNCHANGED: Responses = {304: {"description": "It is as you know it (`If-None-Match`)."}}


@router.post(
    "",
    summary="Keep a model",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, ModelView, "The model is new; `Location` is its address."),
        **answer(200, ModelView, "You posted the same content before: this is that model."),
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("ModelDocument", examples.MODELS),
)
def create_model(
    *,
    caller: Writer,
    body: JsonBody,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    once: ActOnce,
) -> Response:
    """Check a definition and keep it under an id, which a job's `model` may name.

    The same content has the same id. With `inputs` in the document every shape is checked too.
    """

    def act() -> Acted:
        posted = service.create_model(session, tenant_id=caller.tenant_id, document=body, preflight=parts.preflight)
        return posted.model, HTTPStatus.CREATED if posted.created else HTTPStatus.OK

    return once(act, body=body, location=lambda model: str(model["links"]["self"]))


@router.post(
    "/validate",
    summary="Check a model",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, ModelValidationView, "It is sound: shapes, parameters, memory, operations."),
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=json_request("ModelDocument", examples.MODELS),
)
def validate_model(caller: Reader, body: JsonBody, _slot: SubmissionSlot, parts: ServiceParts) -> Response:
    """Check a definition and keep nothing. All problems come at once, each with a pointer, a column and a fix."""
    return json_answer(service.validate_model(document=body, preflight=parts.preflight))


@router.get(
    "",
    summary="List models",
    responses={**answer(200, ModelList, "A page of your models, newest first."), **problems(401, 403, 422, 503)},
)
def list_models(query: Annotated[ThingsQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of your models, newest first."""
    with parts.database.read_session() as session:
        page = service.list_models(
            session,
            tenant_id=caller.tenant_id,
            limit=query.limit,
            after=query.after,
            created_after=query.created_after,
        )
    return list_answer(page)


@router.get(
    "/{model_id}",
    summary="Look at a model",
    dependencies=[Depends(no_query)],
    responses={**answer(200, ModelView, "The model."), **_UNCHANGED, **_LOOK},
)
def get_model(model_id: str, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return a model: its definition and what the preflight found."""
    return tagged_json(request, service.view(_read(parts, caller, model_id)))


@router.get(
    "/{model_id}/source",
    summary="A model as PyTorch",
    dependencies=[Depends(no_query)],
    responses={
        200: {"description": "Python.", "content": {"text/x-python": {"schema": {"type": "string"}}}},
        **_UNCHANGED,
        **_LOOK,
    },
)
def get_source(model_id: str, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return plain PyTorch source: it runs alone, imports nothing of ours, and `build_model()` is the model.

    From the same seed it draws the same initial weights as a job does.
    """
    source = _read(parts, caller, model_id).source
    return tagged_text(request, source, media_type="text/x-python; charset=utf-8")


@router.get(
    "/{model_id}/summary",
    summary="A model as a tree",
    responses={
        **answer(
            200,
            ModelSummaryView,
            "The tree of modules.",
            beside={"text/plain": {"schema": {"type": "string"}}},
        ),
        **_UNCHANGED,
        **_LOOK,
    },
)
def get_summary(
    model_id: str,
    query: Annotated[SummaryQuery, Query()],
    request: Request,
    parts: ServiceParts,
    caller: Reader,
) -> Response:
    """Return the tree as `print(net)` draws it, with the shapes of each first call and the parameters of each part.

    `format=text` returns it as text for people.
    """
    model = _read(parts, caller, model_id)
    if query.format == "text":
        return tagged_text(request, model.summary["text"], media_type="text/plain; charset=utf-8")
    return tagged_json(request, {"object": "model_summary", "model_id": model.id, **model.summary})


@router.post(
    "/{model_id}/edit",
    summary="Add, remove, replace, rename or freeze layers",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, EditView, "The new model, and which weights carry over."),
        **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("EditRequest", examples.EDITS),
)
def edit_model(
    *,
    model_id: str,
    caller: Writer,
    body: JsonBody,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    once: ActOnce,
) -> Response:
    """Apply operations by path and keep the result as a model of its own; the old one stays as it is.

    The report says for every layer whether its weights carry over, and with a `checkpoint` of the old model, which of
    its tensors, under which names.
    """

    def act() -> Acted:
        made = edits.edit_model(
            session, tenant_id=caller.tenant_id, model_id=model_id, body=body, preflight=parts.preflight
        )
        return made, HTTPStatus.CREATED

    return once(act, body=body, location=lambda made: str(made["model"]["links"]["self"]))


def _read(parts: Parts, caller: Principal, model_id: str) -> Model:
    with parts.database.read_session() as session:
        return service.get_model(session, tenant_id=caller.tenant_id, model_id=model_id)
