"""``/v1/graphs``: a definition run once, and seen: data as nodes, operations as edges, gradients path by path."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api import examples
from api.body import JsonBody
from api.dependencies import GraphSlot, Reader, ServiceParts
from api.graph_views import GraphDiffView, GraphView
from api.openapi import answer, json_request, problems
from api.pictures import BESIDE, PictureQuery, picture_answer
from api.query import no_query
from api.responses import json_answer
from services.graphs import service

router = APIRouter(prefix="/graphs", tags=["graphs"])


@router.post(
    "",
    summary="See the computational graph of one run",
    responses={
        **answer(200, GraphView, "The graph, and the gradients that were asked for; or its picture.", beside=BESIDE),
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=json_request("GraphRequest", examples.GRAPHS),
)
def create_graph(
    *,
    query: Annotated[PictureQuery, Query()],
    request: Request,
    caller: Reader,
    body: JsonBody,
    _slot: GraphSlot,
    parts: ServiceParts,
) -> Response:
    """Run a definition once on the inputs given and return what it built: data as nodes, operations as edges.

    Loops are unrolled as they turned and branches are those that were taken. With `gradients` each leaf has its
    gradient by autograd and the contribution of every path from the output, whose sum it is; both are compared in
    float64 with finite differences. `format`, or `Accept`, asks for a picture instead. Nothing is stored.
    """
    made = service.make_graph(
        parts.database, tenant_id=caller.tenant_id, body=body, preflight=parts.preflight, settings=parts.settings
    )
    return picture_answer(request, made, query)


@router.post(
    "/diff",
    summary="See how data change the graph",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, GraphDiffView, "Each run's totals, and in what they differ."),
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=json_request("GraphDiffRequest", examples.GRAPH_DIFFS),
)
def compare_graphs(caller: Reader, body: JsonBody, _slot: GraphSlot, parts: ServiceParts) -> Response:
    """Run one definition on two or more inputs: turns of each loop, branches taken, operations that only some ran.

    All runs begin from the same weights and the same seed, so what differs is the data's doing.
    """
    made = service.make_diff(
        parts.database, tenant_id=caller.tenant_id, body=body, preflight=parts.preflight, settings=parts.settings
    )
    return json_answer(made)
