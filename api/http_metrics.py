"""What this process counts of its own: requests by route and status, how long answers took to begin, open streams."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from starlette.types import Scope

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """One for each application. Labels are templates and known methods: no client can make more series."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._templates: dict[int, str] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "modelwright_http_requests_total",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "modelwright_http_request_seconds",
            "From the first byte of a request to the first byte of its answer; without requests that asked to wait.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("modelwright_http_streams_open", "Open streams of events.", registry=self.registry)

    def observe(self, scope: Scope, *, method: str, status: int | None, seconds: float | None) -> str:
        """Count a request that has ended, and return its route; ``seconds`` is when its answer began, if it did."""
        route = self._route(scope)
        method = method if method in _METHODS else "other"
        self.requests.labels(method, route, str(status or "aborted")).inc()
        if seconds is not None and not scope.get("state", {}).get("waited"):
            self.seconds.labels(method, route).observe(seconds)
        return route

    def _route(self, scope: Scope) -> str:
        """Return the template of the route that was chosen, as the OpenAPI document has it."""
        if not self._templates:
            self._templates = {id(one.original_route): one.path or "" for one in iter_route_contexts(self._app.routes)}
        return self._templates.get(id(scope.get("route")), _UNMATCHED)
