"""Traces: nothing without an endpoint; with one, spans of one trace across processes, in the protocol itself."""

import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.config import Settings, load_settings
from services.telemetry import tracing

OFF = Settings("postgresql://unused", "redis://unused")


@contextmanager
def collecting():
    """Take spans as a collector does, and give its address and what came."""
    found = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                parts = [one.value.string_value for one in resource.resource.attributes if one.key == "service.part"]
                found.extend((parts, span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tracing_to(url):
    return load_settings({"DATABASE_URL": "x", "REDIS_URL": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": url})


def test_without_an_endpoint_nothing_is_traced():
    end = tracing.configure(OFF, part="api")
    with tracing.span("x", parent="00-" + "1" * 32 + "-" + "2" * 16 + "-01") as span:
        span.name("y")
        span.note(a=1)
        assert tracing.traceparent() is None
        assert tracing.trace_id() is None
    end()


def test_spans_join_the_trace_that_is_handed_over():
    with collecting() as (url, found):
        end = tracing.configure(tracing_to(url), part="api")
        with tracing.span("POST", parent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
            handed = tracing.traceparent()
            assert tracing.trace_id() == "a" * 32
        end()
        end = tracing.configure(tracing_to(url), part="worker")
        with tracing.span("attempt", parent=handed, job_id="job_1", missing=None):
            phases = tracing.Phases()
            phases.enter("loading")
            phases.enter("training")
            phases.tell("first step")
            phases.end(step=7)
            phases.end()
        end()
    spans = {span.name: span for _, span in found}
    assert {span.trace_id.hex() for span in spans.values()} == {"a" * 32}
    assert spans["POST"].parent_span_id.hex() == "b" * 16
    assert spans["attempt"].parent_span_id == spans["POST"].span_id
    assert {spans[name].parent_span_id for name in ("loading", "training")} == {spans["attempt"].span_id}
    assert [event.name for event in spans["training"].events] == ["first step"]
    assert [one.key for one in spans["attempt"].attributes] == ["job_id"]
    assert {span.name: parts for parts, span in found}["attempt"] == ["worker"]


def test_a_bad_context_begins_a_trace_of_its_own():
    with collecting() as (url, found):
        end = tracing.configure(tracing_to(url), part="api")
        for parent in ("", "x" * 5000, "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ä"):
            with tracing.span("POST", parent=parent):
                assert tracing.trace_id() not in (None, "0" * 32)
        end()
    assert len(found) == 4


def test_without_the_extra_the_service_says_so_and_runs(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    tracing.configure(tracing_to("http://127.0.0.1:9"), part="api")()
    assert "modelwright[telemetry]" in caplog.text
    with tracing.span("x"):
        assert tracing.traceparent() is None
