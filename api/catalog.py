"""``/v1/catalog``: everything that a request may name, and ``/v1/schema``: the same for an editor."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.dependencies import Reader
from api.openapi import answer, problems
from api.query import CatalogQuery, no_query
from api.responses import tagged_json, tagged_text
from api.views import CatalogEntryView, CatalogList
from services.catalog import service

router = APIRouter(tags=["catalog"])


@router.get(
    "/catalog",
    summary="List what a request may name",
    responses={
        **answer(200, CatalogList, "All entries of the kind; the list is never cut."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 422, 503),
    },
)
def list_catalog(query: Annotated[CatalogQuery, Query()], request: Request, caller: Reader) -> Response:
    """Return layers, losses, functions, initialisers, methods, optimizers, schedulers, metrics and data sets.

    A definition can use these names and no others. `kind` and `search` narrow the list.
    """
    data = service.list_catalog(kind=query.kind, search=query.search)
    last = data[-1]["name"] if data else None
    return tagged_json(request, {"object": "list", "data": data, "has_more": False, "last_id": last})


@router.get(
    "/catalog/{name}",
    summary="Look at one entry",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CatalogEntryView, "The entry with the JSON Schema of its arguments."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_entry(name: str, request: Request, caller: Reader) -> Response:
    """Return an entry by its name: `Linear`, `F.relu`, `torch.cat`, `Tensor.view`, `init.normal_`, `Adam`, `digits`."""
    return tagged_json(request, service.get_entry(name))


@router.get(
    "/schema/model.json",
    summary="The language as a JSON Schema",
    dependencies=[Depends(no_query)],
    responses={
        200: {"description": "A JSON Schema.", "content": {"application/schema+json": {"schema": {"type": "object"}}}},
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 422, 503),
    },
)
def get_schema(request: Request, caller: Reader) -> Response:
    """Return the JSON Schema (2020-12) of model documents: an editor completes layer names and arguments from it."""
    return tagged_text(request, service.schema_text(), media_type="application/schema+json")
