"""Graphs as clients ask for them: the request checked, the run recorded in a sandboxed child."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.config import Settings
from services.definition import Definition, check
from services.errors import InvalidRequest, NotFound, Problem
from services.graphs.inputs import check_inputs
from services.graphs.schema import GraphRequest
from services.models.service import get_model
from services.preflight import Preflight
from services.training.problems import problems_from

TARGET = "services.modules.graph:run"


def make_graph(
    session: Session, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Run a definition once and return its graph (``graph/1``), with gradients where they are asked for.

    Raises:
        InvalidRequest: with every problem of the request, of the definition, of the inputs, or of the run.
        Unavailable: no child could be had.
    """
    request = _read(body)
    definition = _definition(session, tenant_id, request)
    inputs = None if request.inputs is None else check_inputs(definition, request.inputs)
    if inputs is None:
        _check_declared(definition)
    seconds = settings.graph_timeout_seconds
    payload = {
        "document": definition.sent,
        "inputs": inputs,
        "weights": None,
        "training": request.mode == "train",
        "seed": request.seed,
        "dtype": request.dtype,
        "gradients": _gradients(request),
        "operations": request.limits.operations,
        "values": request.limits.values,
        "seconds": 0.8 * seconds,
    }
    report = preflight.visit(TARGET, payload, pointer="/model", seconds=seconds)
    return {"object": "graph", "mode": request.mode, "seed": request.seed, "dtype": request.dtype, **report}


def _read(body: dict[str, Any]) -> GraphRequest:
    try:
        return GraphRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, GraphRequest)) from None


def _definition(session: Session, tenant_id: str, request: GraphRequest) -> Definition:
    """Return what is run, checked; its problems have their place below ``/model``."""
    model = request.model
    if isinstance(model, str) and model.startswith("mdl_"):
        try:
            model = get_model(session, tenant_id=tenant_id, model_id=model).document
        except NotFound:
            detail = f"There is no model {str(request.model)[:80]!r}."
            raise InvalidRequest([Problem("unknown_model", detail, "/model", "GET /v1/models lists yours.")]) from None
    return check(model, pointer="/model")


def _check_declared(definition: Definition) -> None:
    """Without inputs in the request, those of the document are sampled: they must have shapes."""
    missing = [one.name for one in definition.inputs if one.shape is None and not one.optional]
    if definition.inputs and not missing:
        return
    names = missing or list(definition.arguments)
    example = ", ".join(f'{{"name": "{name}", "dtype": "float32", "shape": ["B", 20]}}' for name in names)
    detail = f"The shape of {', '.join(names)} is not known, so nothing can be run."
    hint = f'Send "inputs", or declare them in the definition: "inputs": [{example}].'
    raise InvalidRequest([Problem("inputs_required", detail, "/inputs", hint)])


def _gradients(request: GraphRequest) -> dict[str, Any] | None:
    wanted = request.gradients
    if wanted is None:
        return None
    return {"output": wanted.output, "element": wanted.element, "of": wanted.of, "limit": wanted.paths.limit}
