"""``/v1/graphs/capture`` and ``/v1/graphs/compare``: a definition as a static graph, beside its dynamic form."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from api import examples
from api.body import JsonBody
from api.dependencies import Reader, ServiceParts, StaticSlot
from api.graph_views import CaptureView, ComparisonView
from api.openapi import answer, json_request, problems
from api.query import no_query
from api.responses import json_answer
from services.graphs import static

router = APIRouter(prefix="/graphs", tags=["graphs"])


@router.post(
    "/capture",
    summary="Capture a definition as one static graph",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, CaptureView, "How the capture went, and the graph."),
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=json_request("CaptureRequest", examples.CAPTURES),
)
def capture_graph(caller: Reader, body: JsonBody, _slot: StaticSlot, parts: ServiceParts) -> Response:
    """Capture forward once with `torch.compile(fullgraph=True)` and `torch.export` and say how that went.

    Branches and loops that depend on data become `torch.cond` and `torch.while_loop`, where both ways give values of
    equal shape and dtype. Where the capture breaks, each place has a pointer, the source line, the reason and a fix.
    The captured graph is run on a second batch and on one of another size and compared with the dynamic model.
    One capture or comparison runs at a time; others wait, and are told to come back after ten seconds.
    """
    made = static.make_capture(
        parts.database, tenant_id=caller.tenant_id, body=body, preflight=parts.static, settings=parts.settings
    )
    return json_answer(made)


@router.post(
    "/compare",
    summary="Measure dynamic against static",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, ComparisonView, "The numbers of this very run, and a picture."),
        **problems(400, 401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra=json_request("CompareRequest", examples.COMPARISONS),
)
def compare_forms(caller: Reader, body: JsonBody, _slot: StaticSlot, parts: ServiceParts) -> Response:
    """Make training steps with both forms of a model in turns, on the service's processor, and return the numbers.

    Building cost, seconds a step after warming up (median and quartiles), the number of steps after which the static
    graph has earned its building, memory, and three changes that were really tried: a batch of another size, another
    branch, one more layer. A definition that cannot be captured is `not_capturable`, with place and reason.
    """
    made = static.make_comparison(
        parts.database, tenant_id=caller.tenant_id, body=body, preflight=parts.static, settings=parts.settings
    )
    return json_answer(made)
