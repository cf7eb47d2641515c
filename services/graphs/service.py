"""Graphs as clients ask for them: the request checked, the run recorded in a sandboxed child."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from services.config import Settings
from services.db.engine import Database
from services.definition import Definition
from services.errors import InvalidRequest
from services.graphs.schema import GradientsSection, GraphDiffRequest, GraphRequest, Runnable, Subject
from services.graphs.sources import find_definition, find_inputs, weights_file
from services.models.service import get_model
from services.preflight import Preflight
from services.training.problems import problems_from

GRAPH = "services.modules.graph.run:run"
DIFF = "services.modules.graph.diff:run"
_OWN_SHARE = 0.8
"""Of the time that a child has: by then it stops looking and writes its answer."""
_Request = TypeVar("_Request", bound=Runnable)


def make_graph(
    database: Database, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Run a definition once and return its graph (``graph/1``), with gradients where they are asked for.

    Raises:
        InvalidRequest: with every problem of the request, of the definition, of the inputs, or of the run.
        Unavailable: no child could be had.
        ChunkCorrupt: stored bytes of the checkpoint or the data set are missing or changed.
    """
    request = read_request(body, GraphRequest)
    with database.read_session() as session:
        definition, pointer = find_definition(session, tenant_id=tenant_id, subject=request)
        given = find_inputs(session, tenant_id=tenant_id, definition=definition, run=request)
    wanted = {**given, "gradients": _gradients(request.gradients)}
    with weights_file(database, tenant_id=tenant_id, checkpoint_id=request.checkpoint, settings=settings) as weights:
        payload = {**payload_of(request, definition, settings), **wanted, "weights": weights}
        report = preflight.visit(GRAPH, payload, pointer=pointer, seconds=settings.graph_timeout_seconds)
    return {"object": "graph", **said(request), **report}


def model_graph(
    database: Database,
    *,
    tenant_id: str,
    model_id: str,
    preflight: Preflight,
    settings: Settings,
    mode: str = "train",
    seed: int = 0,
    gradients: bool = False,
) -> dict[str, Any]:
    """Return the graph of a kept model, run on small samples of its declared inputs.

    Raises:
        NotFound: the tenant has no such model.
        InvalidRequest: ``invalid_id``; ``inputs_required`` when it declares none.
        Unavailable: no child could be had.
    """
    with database.read_session() as session:
        get_model(session, tenant_id=tenant_id, model_id=model_id)
    body = {"model": model_id, "mode": mode, "seed": seed, **({"gradients": {}} if gradients else {})}
    return make_graph(database, tenant_id=tenant_id, body=body, preflight=preflight, settings=settings)


def make_diff(
    database: Database, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Run a definition on several inputs and return in what the graphs differ.

    Raises:
        InvalidRequest, Unavailable, ChunkCorrupt: as `make_graph`.
    """
    request = read_request(body, GraphDiffRequest)
    with database.read_session() as session:
        definition, pointer = find_definition(session, tenant_id=tenant_id, subject=request)
        runs = [
            {
                "name": run.name or str(index),
                **find_inputs(session, tenant_id=tenant_id, definition=definition, run=run, pointer=f"/runs/{index}"),
            }
            for index, run in enumerate(request.runs)
        ]
    with weights_file(database, tenant_id=tenant_id, checkpoint_id=request.checkpoint, settings=settings) as weights:
        payload = {**payload_of(request, definition, settings), "runs": runs, "weights": weights}
        report = preflight.visit(DIFF, payload, pointer=pointer, seconds=settings.graph_timeout_seconds)
    return {"object": "graph_diff", **said(request), **report}


def read_request(body: dict[str, Any], kind: type[_Request]) -> _Request:
    """Return the request that a body says.

    Raises:
        InvalidRequest: with every problem.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, kind)) from None


def payload_of(request: Subject, definition: Definition, settings: Settings) -> dict[str, Any]:
    """Return what every child is told that records a run."""
    return {
        "document": definition.sent,
        "training": request.mode == "train",
        "seed": request.seed,
        "dtype": request.dtype,
        "operations": request.limits.operations,
        "values": request.limits.values,
        "seconds": _OWN_SHARE * settings.graph_timeout_seconds,
    }


def said(request: Runnable) -> dict[str, Any]:
    """Return what an answer repeats of its request."""
    return {"mode": request.mode, "seed": request.seed, "dtype": request.dtype}


def _gradients(wanted: GradientsSection | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    return {"output": wanted.output, "element": wanted.element, "of": wanted.of, "limit": wanted.paths.limit}
