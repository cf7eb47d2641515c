"""``/v1/models/{id}/graph``: the computational graph of a kept model, on small samples of its declared inputs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import GraphSlot, Reader, ServiceParts
from api.graph_views import GraphView
from api.openapi import answer, problems
from api.pictures import BESIDE, ModelGraphQuery, tagged_picture
from services.graphs import service

router = APIRouter(prefix="/models", tags=["graphs"])


@router.get(
    "/{model_id}/graph",
    summary="A model as a graph",
    responses={
        **answer(200, GraphView, "The graph of one run, or its picture.", beside=BESIDE),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_model_graph(
    *,
    model_id: str,
    query: Annotated[ModelGraphQuery, Query()],
    request: Request,
    _slot: GraphSlot,
    parts: ServiceParts,
    caller: Reader,
) -> Response:
    """Run the model once on small samples of its declared inputs and return the graph, or draw it.

    Free sizes become small ones; drawn weights and inputs follow `seed`. `POST /v1/graphs` takes inputs of your own.
    """
    graph = service.model_graph(
        parts.database,
        tenant_id=caller.tenant_id,
        model_id=model_id,
        preflight=parts.preflight,
        settings=parts.settings,
        mode=query.mode,
        seed=query.seed,
        gradients=query.gradients,
    )
    return tagged_picture(request, graph, query)
