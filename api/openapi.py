"""The OpenAPI document: FastAPI lists routes and parameters, this adds bodies, answers, errors and the key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import (
    account_views,
    checkpoint_views,
    dataset_views,
    examples,
    graph_views,
    history_views,
    model_views,
    prediction_views,
    queue_views,
    sweep_views,
    views,
    webhook_views,
    worker_views,
)
from api.links import add_links
from api.responses import encode, entity_tag
from api.scopes import ANY_KEY, needed
from services.checkpoints.keeping import CheckpointChange
from services.datasets.schema import DatasetRequest
from services.graphs.schema import CaptureRequest, CompareRequest, GraphDiffRequest, GraphRequest
from services.jobs.again import ForkRequest
from services.jobs.changes import JobChange
from services.jobs.schema import JobRequest
from services.models.edits import EditRequest
from services.predictions.schema import PredictRequest
from services.sweeps.schema import SweepRequest
from services.tenants.granting import KeyRequest, RotateRequest
from services.webhooks.schema import WebhookChange, WebhookRequest

Responses = dict[int | str, dict[str, Any]]

_REF = "#/components/schemas/{model}"
_VIEWS = (
    views,
    account_views,
    checkpoint_views,
    dataset_views,
    graph_views,
    model_views,
    history_views,
    prediction_views,
    queue_views,
    sweep_views,
    webhook_views,
    worker_views,
)
_PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json"})
_OPERATORS = frozenset({"/metrics"})
"""For who runs the service: no key of a tenant opens these."""
_DESCRIPTION = """POST a model, get it trained.

Send a model as JSON (it becomes a `torch.nn.Module`), name its data and a plan; follow the job; download the weights as
safetensors. Authenticate with `Authorization: Bearer mw_…`. Errors are `application/problem+json` with a stable `code`.
"""
_MEANINGS = {
    400: "Not JSON, or JSON beyond the limits (`invalid_json`, `json_too_deep`, `json_duplicate_key`, …).",
    401: "No key, or one that is not good (`unauthenticated`, `key_expired`, `key_revoked`).",
    403: "The key lacks the scope (`insufficient_scope`).",
    404: "There is no such object of yours (`not_found`).",
    408: "The body did not arrive in time (`body_timeout`).",
    409: "The state does not allow it (`already_terminal`, `idempotency_in_progress`).",
    412: "It is no longer as your `If-Match` knows it (`precondition_failed`).",
    413: "The body is larger than the limit, 1 MiB for JSON (`body_too_large`).",
    415: "Not declared as JSON (`unsupported_media_type`); no format that is read here (`unsupported_format`).",
    416: "The range lies outside the content (`range_not_satisfiable`).",
    422: "Understood, and wrong: every problem is in `errors`, with a pointer.",
    429: "A quota is used up, or too many requests came: then with `Retry-After` (`quota_exceeded`).",
    503: "PostgreSQL is away; try again after `Retry-After` seconds (`unavailable`).",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`."}},
    416: {"Content-Range": {"schema": {"type": "string"}, "description": "`bytes */<size>`."}},
    429: {
        "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds, where waiting helps."},
        "RateLimit-Policy": {"schema": {"type": "string"}, "description": "On every answer: requests within a window."},
        "RateLimit": {"schema": {"type": "string"}, "description": "On every answer: what is left, and until when."},
    },
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def answer(
    status: int, model: type[BaseModel], description: str, *, beside: Mapping[str, Any] | None = None
) -> Responses:
    """Declare a JSON answer, and other media types ``beside`` it."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {status: {"description": description, "content": {"application/json": {"schema": schema}, **(beside or {})}}}


def content(description: str) -> dict[str, Any]:
    """Declare an answer of bytes."""
    return {"description": description, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}


def problems(*statuses: int) -> Responses:
    """Declare the errors that a route may answer."""
    schema = {"$ref": _REF.format(model=views.ProblemView.__name__)}
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {"application/problem+json": {"schema": schema, "example": examples.problem(status)}},
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status in statuses
    }


def json_request(
    model: str, shown: Mapping[str, Any] = examples.REQUESTS, *, beside: str | None = None
) -> dict[str, Any]:
    """Declare a JSON body with examples, or bytes of a type ``beside`` it; the routes read it by themselves."""
    media = {"schema": {"$ref": _REF.format(model=model)}, "examples": dict(shown)}
    content: dict[str, Any] = {"application/json": media}
    if beside is not None:
        content[beside] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


def bytes_request(description: str) -> dict[str, Any]:
    """Declare a body of bytes."""
    media = {"schema": {"type": "string", "format": "binary"}}
    return {
        "requestBody": {"required": True, "description": description, "content": {"application/octet-stream": media}}
    }


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` return the whole document, ``app.state.document()`` its bytes and tag; made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    @cache
    def encoded() -> tuple[bytes, str]:
        body = encode(document())
        return body, entity_tag(body)

    app.openapi = document  # type: ignore[method-assign]
    app.state.document = encoded


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **_schemas()}
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "bearerFormat": "mw_…"},
        "operator": {"type": "http", "scheme": "bearer", "description": "`MODELWRIGHT_METRICS_TOKEN`."},
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["security"] = [] if path in _PUBLIC else [{"operator" if path in _OPERATORS else "key": []}]
            if path not in _PUBLIC | _OPERATORS:
                operation["responses"] = _admission(operation["responses"], needed(f"{method.upper()} {path}"))
    add_links(document)
    return document


def _admission(responses: dict[str, Any], scope: str) -> dict[str, Any]:
    """Return responses with what the root router's dependency may answer: the scope by name, and too many requests."""
    added = {"429": problems(429)[429]}
    if scope != ANY_KEY:
        meaning = f"The key lacks the scope `{scope}` (`insufficient_scope`)."
        added["403"] = {**responses["403"], "description": meaning}
    return dict(sorted({**responses, **added}.items()))


def _schemas() -> dict[str, Any]:
    known = {name: one for module in _VIEWS for name, one in vars(module).items()}.values()
    shown = [view for view in known if isinstance(view, type) and issubclass(view, views.View)]
    requests: list[tuple[type[BaseModel], str]] = [
        (JobRequest, "validation"),
        (model_views.ModelDocument, "validation"),
        (EditRequest, "validation"),
        (ForkRequest, "validation"),
        (JobChange, "validation"),
        (CheckpointChange, "validation"),
        (DatasetRequest, "validation"),
        (GraphRequest, "validation"),
        (GraphDiffRequest, "validation"),
        (CaptureRequest, "validation"),
        (CompareRequest, "validation"),
        (PredictRequest, "validation"),
        (SweepRequest, "validation"),
        (WebhookRequest, "validation"),
        (WebhookChange, "validation"),
        (KeyRequest, "validation"),
        (RotateRequest, "validation"),
    ]
    pairs = [(model, "serialization") for model in shown] + requests
    _, definitions = models_json_schema(pairs, ref_template=_REF)  # type: ignore[arg-type]
    return dict(definitions["$defs"])
