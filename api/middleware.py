"""Around every request: its id, its line in the log, and an answer even when everything below failed."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.deprecation import announcements
from api.errors import internal_error
from api.metering import rate_headers
from services.logging import about
from services.telemetry import tracing

access = logging.getLogger("api.access")
log = logging.getLogger(__name__)

_ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"modelwright-version", version("modelwright").encode("ascii")))
_ACCEPTABLE_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}\Z")


class RequestContext:
    """Gives each request an id (the client's own, if it sent a sane ``X-Request-Id``) and writes its access line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(_request_id(scope), send, scope.setdefault("state", {}))
        inner = _head_as_get(scope)
        with about(request_id=exchange.request_id), tracing.span("HTTP", parent=_traceparent(scope)) as span:
            try:
                await self._app(inner, receive, exchange.send)
            except Exception:
                log.exception("unhandled error")
                if exchange.status is None:
                    await internal_error()(scope, receive, exchange.send)
            finally:
                exchange.write_line(scope)
                route = scope["app"].state.http_metrics.observe(
                    inner, method=scope["method"], status=exchange.status, seconds=exchange.began_after_seconds
                )
                span.name(f"{scope['method']} {route}")
                span.note(**{"http.response.status_code": exchange.status, "request_id": exchange.request_id})


class _Exchange:
    """One request on its way: adds the headers that every answer has, and remembers what the log will say."""

    def __init__(self, request_id: str, send: Send, state: Mapping[str, Any]) -> None:
        self.request_id = request_id
        self._state = state
        self.status: int | None = None
        self.began_after_seconds: float | None = None
        self._send = send
        self._size_bytes = 0
        self._complete = False
        self._started_at = time.perf_counter()

    async def send(self, message: Message) -> None:
        """Pass one message of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.began_after_seconds = time.perf_counter() - self._started_at
            own = [(b"x-request-id", self.request_id.encode("ascii")), *_ALWAYS, *announcements(self._state)]
            own += rate_headers(self._state.get("allowance"))
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        else:
            self._size_bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        await self._send(message)

    def write_line(self, scope: Scope) -> None:
        """Write the access line; the query string and the headers, which may hold secrets, stay out of it."""
        line: dict[str, Any] = {
            "request_id": self.request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": self.status,
            "size_bytes": self._size_bytes,
            "duration_ms": round((time.perf_counter() - self._started_at) * 1e3, 2),
            "tenant_id": getattr(self._state.get("principal"), "tenant_id", None),
            "key_id": getattr(self._state.get("principal"), "key_id", None),
        }
        access.info("request" if self._complete else "request aborted", extra=line)


def _request_id(scope: Scope) -> str:
    """Return the client's id or a new one, for which nobody needs real randomness.

    The system's would release the interpreter's lock, and getting it back costs the event loop milliseconds when
    threads are busy.
    """
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE_ID.match(value):
            return str(value.decode("ascii"))
    return f"req_{time.time_ns() // 1_000_000:012x}{random.getrandbits(56):014x}"


def _traceparent(scope: Scope) -> str | None:
    """Return the trace that the client says its request belongs to."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)


def _head_as_get(scope: Scope) -> Scope:
    """HEAD is GET without content (RFC 9110 §9.3.2): routes see GET, the server drops the body, streams look here."""
    if scope["method"] != "HEAD":
        return scope
    return {**scope, "method": "GET", "extensions": {**scope.get("extensions", {}), "modelwright.head": {}}}
