"""``/metrics``: numbers for Prometheus, for the operator alone: they are of all tenants together."""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse

from api.dependencies import ServiceParts, bearer
from api.http_metrics import HttpMetrics
from api.openapi import problems
from api.query import no_query
from services.errors import Unauthenticated
from services.telemetry import counters
from services.telemetry.gauges import Gauges, read_gauges

_COUNTERS = {
    "jobs_submitted": ("Jobs that were queued.", None),
    "jobs_ended": ("Jobs that have ended.", "outcome"),
    "jobs_failed": ("Jobs that failed, by the code of their error.", "code"),
    "attempts_started": ("Attempts: a job that is taken up twice has two.", None),
    "attempts_failed": ("Attempts that failed and were followed by another, by the code of the error.", "code"),
    "leases_lost": ("Leases that ran out: workers that died, or were cut off.", None),
    "checkpoints": ("Checkpoints that were written.", None),
    "webhook_tries": ("POSTs to receivers of webhooks.", "outcome"),
    "webhook_deliveries": ("Events that were delivered to a webhook, or given up.", "outcome"),
    "webhooks_disabled": ("Webhooks that were switched off because they failed.", "reason"),
}
_EXAMPLE = 'modelwright_jobs{state="queued"} 3.0\nmodelwright_jobs_ended_total{outcome="succeeded"} 120.0\n'


async def operator(request: Request, parts: ServiceParts) -> None:
    """Let the operator's token pass, and nothing else: no tenant's key, whatever its scopes.

    Raises:
        Unauthenticated: it is another one, or the operator has set none.
    """
    token = parts.settings.metrics_token
    offered = bearer(request.headers.get("authorization", ""))
    if not token or not hmac.compare_digest(token.encode(), offered.encode("utf-8", "surrogateescape")):
        raise Unauthenticated("Metrics need the operator's token, MODELWRIGHT_METRICS_TOKEN.")


router = APIRouter(tags=["service"], dependencies=[Depends(operator), Depends(no_query)])


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "Of all tenants together, from PostgreSQL; `modelwright_http_*` and `process_*` of this "
            "process.",
            "content": {"text/plain": {"example": _EXAMPLE}},
        },
        **problems(401, 422, 503),
    },
)
def prometheus(request: Request, parts: ServiceParts) -> Response:
    """Return counters, gauges and histograms in Prometheus' text format.

    The key is the operator's own: what `MODELWRIGHT_METRICS_TOKEN` is set to. Keys of tenants are refused.
    """
    with parts.database.read_session() as session:
        shared = _Shared(counters.read(session), read_gauges(session), counters.seen_seconds_ago(session))
    registry = CollectorRegistry()
    registry.register(shared)
    own: HttpMetrics = request.app.state.http_metrics
    text = generate_latest(registry) + generate_latest(own.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


class _Shared(Collector):
    """What all processes know together."""

    def __init__(self, counted: dict[counters.Key, int], gauges: Gauges, seen: dict[str, float]) -> None:
        self._counted = counted
        self._gauges = gauges
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Yield every family, those that nothing was counted in yet too."""
        for name, (text, label) in _COUNTERS.items():
            family = CounterMetricFamily(f"modelwright_{name}", text, labels=[label] if label else [])
            found = {of: value for (one, of), value in self._counted.items() if one == name}
            for of, value in found.items() if label else [("", found.get("", 0))]:
                family.add_metric([of] if label else [], value)
            yield family
        yield from self._gauge_families()

    def _gauge_families(self) -> Iterator[Metric]:
        now = self._gauges
        jobs = GaugeMetricFamily("modelwright_jobs", "Jobs that have not ended, but for paused ones.", labels=["state"])
        for state, count in now.jobs.items():
            jobs.add_metric([state], count)
        yield jobs
        for name, text, value in (
            ("queue_oldest_seconds", "Age of the oldest job in the queue.", now.oldest_queued_seconds),
            ("steps_per_second", "Steps per second of all jobs that train.", now.steps_per_second),
            ("webhook_pending", "Events that are to be delivered.", now.deliveries_pending),
            ("webhook_oldest_seconds", "Age of the oldest of those.", now.oldest_delivery_seconds),
        ):
            yield GaugeMetricFamily(f"modelwright_{name}", text, value=value)
        seen = GaugeMetricFamily(
            "modelwright_part_seen_seconds", "How long ago a part of the service was seen.", labels=["part"]
        )
        for part, seconds in self._seen.items():
            seen.add_metric([part], seconds)
        yield seen
