"""What a key must be allowed for each route: one table, so that nobody has to look for it in sixteen files.

A route that is not here wants ``*``: forgetting a line closes a door, and a test notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from services.tenants.scopes import EVERYTHING

ANY_KEY = "any key"
"""For what tells nothing of a tenant: every good key will do."""

ROUTES: Mapping[str, tuple[str, ...]] = {
    ANY_KEY: (
        "GET /v1/catalog",
        "GET /v1/catalog/{name}",
        "GET /v1/schema/model.json",
        "GET /v1/keys/self",
    ),
    "jobs:read": (
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /v1/jobs/{job_id}/events",
        "GET /v1/jobs/{job_id}/metrics",
        "GET /v1/jobs/{job_id}/logs",
        "GET /v1/queue",
        "GET /v1/workers",
        "GET /v1/workers/{worker_id}",
    ),
    "jobs:write": (
        "POST /v1/jobs",
        "PATCH /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/pause",
        "POST /v1/jobs/{job_id}/resume",
        "POST /v1/jobs/{job_id}/retry",
        "POST /v1/jobs/{job_id}/fork",
    ),
    "checkpoints:read": (
        "GET /v1/jobs/{job_id}/checkpoints",
        "GET /v1/checkpoints/{checkpoint_id}",
        "GET /v1/checkpoints/{checkpoint_id}/content",
        "GET /v1/checkpoints/{checkpoint_id}/exports/{format}",
        "GET /v1/checkpoints/{checkpoint_id}/model",
        "POST /v1/checkpoints/{checkpoint_id}/predict",
    ),
    "checkpoints:write": (
        "PATCH /v1/checkpoints/{checkpoint_id}",
        "DELETE /v1/checkpoints/{checkpoint_id}",
    ),
    "models:read": (
        "GET /v1/models",
        "GET /v1/models/{model_id}",
        "GET /v1/models/{model_id}/source",
        "GET /v1/models/{model_id}/summary",
        "GET /v1/models/{model_id}/graph",
        "POST /v1/models/validate",
        "POST /v1/graphs",
        "POST /v1/graphs/diff",
        "POST /v1/graphs/capture",
        "POST /v1/graphs/compare",
    ),
    "models:write": ("POST /v1/models", "POST /v1/models/{model_id}/edit"),
    "datasets:read": (
        "GET /v1/datasets",
        "GET /v1/datasets/{dataset_id}",
        "GET /v1/datasets/{dataset_id}/parts",
        "GET /v1/datasets/{dataset_id}/preview",
    ),
    "datasets:write": (
        "POST /v1/datasets",
        "DELETE /v1/datasets/{dataset_id}",
        "PUT /v1/datasets/{dataset_id}/parts/{number}",
        "POST /v1/datasets/{dataset_id}/complete",
    ),
    "sweeps:read": (
        "GET /v1/sweeps",
        "GET /v1/sweeps/{sweep_id}",
        "GET /v1/sweeps/{sweep_id}/trials",
        "GET /v1/sweeps/{sweep_id}/parallel-coordinates",
    ),
    "sweeps:write": ("POST /v1/sweeps", "POST /v1/sweeps/{sweep_id}/cancel"),
    "webhooks:read": (
        "GET /v1/webhooks",
        "GET /v1/webhooks/{webhook_id}",
        "GET /v1/webhooks/{webhook_id}/deliveries",
        "GET /v1/webhooks/{webhook_id}/deliveries/{event_id}",
    ),
    "webhooks:write": (
        "POST /v1/webhooks",
        "PATCH /v1/webhooks/{webhook_id}",
        "DELETE /v1/webhooks/{webhook_id}",
        "POST /v1/webhooks/{webhook_id}/rotate-secret",
        "POST /v1/webhooks/{webhook_id}/test",
        "POST /v1/webhooks/{webhook_id}/deliveries/{event_id}/redeliver",
    ),
    "keys:read": ("GET /v1/keys", "GET /v1/keys/{key_id}"),
    "keys:write": ("POST /v1/keys", "POST /v1/keys/{key_id}/rotate", "POST /v1/keys/{key_id}/revoke"),
    "usage:read": ("GET /v1/usage",),
    "audit:read": ("GET /v1/audit",),
}

NEEDED = {route: scope for scope, routes in ROUTES.items() for route in routes}
"""The scope for ``METHOD path``."""


def actions(app: FastAPI) -> dict[Callable[..., Any], str]:
    """Return ``METHOD path`` of each endpoint; each serves one route."""
    return {
        context.endpoint: f"{method} {context.path}"
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if context.endpoint is not None
    }


def needed(action: str) -> str:
    """Return the scope that a route wants."""
    return NEEDED.get(action, EVERYTHING)
