"""Traces by OpenTelemetry, where an endpoint is configured; elsewhere everything here does nothing, at no cost.

The only module that knows OpenTelemetry, which is an optional extra. A job carries the W3C trace context of the request
that made it, so that the spans of its attempts, in other processes and maybe days later, belong to the same trace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services.config import Settings

log = logging.getLogger(__name__)
_tracers: list[Any] = []
"""The one of this process, once it traces."""
_HEADER = "traceparent"


def configure(settings: Settings, *, part: str) -> Callable[[], None]:
    """Begin to trace, as ``part`` of the service, if it is configured; return what sends the rest and ends it.

    Call it in the process that traces and not before a fork: spans are sent by a thread.
    """
    if not settings.otlp_endpoint:
        return _nothing
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("no traces: install modelwright[telemetry]")
        return _nothing
    provider = TracerProvider(resource=Resource.create({"service.name": "modelwright", "service.part": part}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    tracer = provider.get_tracer("modelwright")
    _tracers.append(tracer)

    def end() -> None:
        _tracers.remove(tracer)
        provider.shutdown()

    return end


@contextmanager
def span(name: str, *, parent: str | None = None, **attributes: Any) -> Iterator[Span]:  # noqa: ANN401 - of any type
    """Trace the block as a span; ``parent`` is a trace context from elsewhere (W3C ``traceparent``)."""
    if not _tracers:
        yield _NO_SPAN
        return
    with _tracers[-1].start_as_current_span(name, context=_context(parent), attributes=_known(attributes)) as found:
        yield Span(found)


class Span:
    """A span that may be no span."""

    def __init__(self, inner: Any = None) -> None:  # noqa: ANN401 - OpenTelemetry is optional
        self._inner = inner

    def name(self, name: str) -> None:
        """Give it another name, once that is known."""
        if self._inner is not None:
            self._inner.update_name(name)

    def note(self, **attributes: Any) -> None:  # noqa: ANN401 - of any type
        """Add attributes; those that are None are left out."""
        if self._inner is not None:
            self._inner.set_attributes(_known(attributes))

    def tell(self, event: str, **attributes: Any) -> None:  # noqa: ANN401 - of any type
        """Add an event with the time of now."""
        if self._inner is not None:
            self._inner.add_event(event, _known(attributes))


class Phases:
    """Spans that follow one another, told by messages: entering one ends the one before."""

    def __init__(self) -> None:
        self._open: Any = None

    def enter(self, name: str) -> None:
        """End the last phase and begin the next, below the span of the caller."""
        self.end()
        if _tracers:
            self._open = _tracers[-1].start_span(name)

    def tell(self, event: str) -> None:
        """Add an event to the phase that goes on."""
        if self._open is not None:
            self._open.add_event(event)

    def end(self, **attributes: Any) -> None:  # noqa: ANN401 - of any type
        """End the phase that goes on."""
        if self._open is not None:
            self._open.set_attributes(_known(attributes))
            self._open.end()
            self._open = None


def traceparent() -> str | None:
    """Return the context of the span that goes on, to be handed to another process."""
    if not _tracers:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER)


def trace_id() -> str | None:
    """Return the id of the trace that goes on, as log lines name it."""
    found = traceparent()
    return found.split("-")[1] if found else None


def _context(parent: str | None) -> Any:  # noqa: ANN401 - OpenTelemetry is optional
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract({_HEADER: parent})


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nothing() -> None:
    """End what was never begun."""


_NO_SPAN = Span()
